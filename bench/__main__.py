"""`python -m bench`: measures Runcast's figures beside their limits; `--help` says how."""

import os

os.environ.setdefault(
    "GRPC_ENABLE_FORK_SUPPORT", "0"
)  # servers are started beside open channels, and never forked

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import grpc
import uvloop

from bench import machine, report
from bench.calls import RunError
from bench.figures import Figure, Side, limit_line
from bench.load import Load
from bench.measure import measure, named
from bench.profiling import profile
from bench.programs import ROOT, ProgramError
from bench.rows import ROWS, Row
from bench.watching import WatchError

FOLDER = ROOT / ".runcast" / "bench"
_FAILURES = (ProgramError, RunError, WatchError, grpc.RpcError, OSError)


def main(words: Sequence[str] | None = None) -> int:
    """Measure what the arguments say. 0: every row was measured, whatever it came to; 1: one could not be."""
    options = _parser().parse_args(words)
    load = _load(options)
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=FOLDER))
    loop = uvloop.new_event_loop if options.client_loop == "uvloop" else asyncio.new_event_loop
    try:
        report.say(machine.facts(folder, load, loop=options.client_loop, quick=options.quick))
        with asyncio.Runner(loop_factory=loop) as runner:
            if options.profile:
                return runner.run(_profile(options, load, folder))
            return runner.run(_measure(options.rows, load, folder))
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(rows: Sequence[Row], load: Load, folder: Path) -> int:
    figures: list[Figure] = []
    beside: list[Side] = []
    for row in rows:
        print(f"bench: row {row.number}: {named(row.name, load)}", file=sys.stderr)
        place = folder / str(row.number)
        place.mkdir()
        try:
            figure, limits = await measure(row, load, place)
        except _FAILURES as error:
            _failed(row, load, error)
            continue
        finally:
            shutil.rmtree(place, ignore_errors=True)
        for side in limits:
            report.say(limit_line(row.number, side))
        report.say(figure.line())
        figures.append(figure)
        beside += limits
    if figures:
        print(f"\n{report.table(figures, beside)}", file=sys.stderr)
    return 0 if len(figures) == len(rows) else 1


async def _profile(options: argparse.Namespace, load: Load, folder: Path) -> int:
    (row,) = options.rows
    suffix = "pstats" if options.profile == "cprofile" else "folded"
    output: Path = options.output or FOLDER / f"row{row.number}.{suffix}"  # absolute: servers run elsewhere
    try:
        side = await profile(row, load, folder, options.profile, output)
    except _FAILURES as error:
        _failed(row, load, error)
        return 1
    report.say(
        {
            "kind": "profile",
            "row": row.number,
            **side.line(),
            "output": str(output),
            "summary": f"{output}.txt",
        }
    )
    return 0


def _failed(row: Row, load: Load, error: Exception) -> None:
    text = f"{error.code()}: {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else str(error)
    report.say({"kind": "error", "row": row.number, "name": named(row.name, load), "error": text})
    print(
        "\n".join([f"bench: row {row.number} failed: {text}", *getattr(error, "__notes__", [])]),
        file=sys.stderr,
    )


def _load(options: argparse.Namespace) -> Load:
    load = Load.quick() if options.quick else Load()
    given = {
        name: getattr(options, name)
        for name in ("rounds", "seconds", "watchers", "events", "batches_in_flight")
    }
    known = {name: value for name, value in given.items() if value is not None}
    return replace(load, request_ids=options.request_ids, **known)


def _path(text: str) -> Path:
    return Path(text).resolve()


def _rows(text: str) -> list[Row]:
    known = {str(row.number): row for row in ROWS}
    try:
        return [known[number.strip()] for number in text.split(",")]
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"there is no row {error}; there are 1 to {len(ROWS)}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Runcast's figures beside their limits."
    )
    listed = "; ".join(f"{row.number}: {row.name}" for row in ROWS)
    add = parser.add_argument
    add("--rows", type=_rows, default=list(ROWS), metavar="1,2", help=f"only these ({listed})")
    add("--rounds", type=int, help="how often each side is measured in turn (5)")
    add("--seconds", type=float, help="how long a round of single calls takes (2)")
    add("--watchers", type=int, help="how many streams watch a run (100)")
    add("--events", type=int, help="how many events a watched run emits (20,000)")
    add("--batches-in-flight", type=int, help="how many batches are under way at once (1)")
    add("--request-ids", action="store_true", help="give each start a request id, as the client library does")
    add("--quick", action="store_true", help="one tiny round: shows that it works, measures nothing")
    add(
        "--client-loop", choices=["asyncio", "uvloop"], default="asyncio", help="the loop of the load process"
    )
    add(
        "--profile",
        nargs="?",
        choices=["py-spy", "native", "cprofile"],
        const="py-spy",
        help="profile one row's server instead",
    )
    add("--output", type=_path, help="where the profile goes (.runcast/bench/)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
