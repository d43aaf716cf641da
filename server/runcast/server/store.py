"""`python -m runcast.server.store`: back-up and check of a store, beside the server that runs on it."""

import argparse
import sys
from pathlib import Path

from runcast.server.model.errors import InvalidArgument, RuncastError
from runcast.server.repository.storage import repository_at
from runcast.server.repository.upkeep import Upkeep


def main(words: list[str] | None = None) -> int:
    """The exit code: 0 where all is well, 1 for problems, 2 for a wrong URL."""
    asked = _asked(words)
    try:
        upkeep = _upkeep(asked.store)
        if asked.command == "check":
            return _check(upkeep, asked.store)
        copied = upkeep.backup(Path(asked.destination), replace=asked.overwrite)
        sys.stdout.write(f"wrote {copied.path}: {copied.runs:,} runs, {copied.size:,} bytes\n")
        return 0
    except InvalidArgument as error:
        return _refuse(error, 2)
    except RuncastError as error:
        return _refuse(error, 1)


def _asked(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="runcast store", description="Look after a store.")
    commands = parser.add_subparsers(dest="command", required=True)
    backup = commands.add_parser("backup", help="write it, as it is now, to a file")
    backup.add_argument("store", metavar="STORE_URL")
    backup.add_argument("destination", metavar="DESTINATION")
    backup.add_argument("--overwrite", action="store_true")
    commands.add_parser("check", help="read all of it").add_argument("store", metavar="STORE_URL")
    return parser.parse_args(words)


def _upkeep(url: str) -> Upkeep:
    repository = repository_at(url)
    upkeep = repository.upkeep()
    if upkeep is None:
        raise InvalidArgument.of("storage", f"{repository.scheme}:// has neither back-up nor check")
    return upkeep


def _check(upkeep: Upkeep, url: str) -> int:
    report = upkeep.check()
    counted = ", ".join(f"{count:,} {what}" for what, count in report.counts.items())
    sys.stdout.write(f"read {counted}\n")
    for problem in report.problems:
        whose = f"run {problem.run}: " if problem.run else ""
        sys.stdout.write(f"{whose}{problem.what}\n    {problem.remedy}\n")
    more = report.found - len(report.problems)
    if more:
        sys.stdout.write(f"and {more:,} more\n")
    noun = "problem" if report.found == 1 else "problems"
    sys.stdout.write(f"{url}: {f'{report.found:,} {noun}' if report.found else 'all is well'}\n")
    return 1 if report.found else 0


def _refuse(error: RuncastError, code: int) -> int:
    sys.stderr.write(f"error: {error.message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
