"""`make seeded-bugs`: for each deliberate bug, runs the test that must catch it, without the bug and with it; prints the list."""

import argparse
import contextlib
import os
import re
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.engine import scripted
from tests.executor import recorder
from tests.torture import bugs
from tests.torture.bugs import BUGS, Bug

VARIABLE = "TORTURE_BUG"
"""The bug that servers started by the tests are to have as well."""
_CAUGHT = re.compile(r"^(?:FAILED|ERROR) \S+(?: - (.*))?$", re.MULTILINE)


def say(text: str) -> None:
    """A line or more, now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Trial:
    """Pytest on these tests, in a process of its own that has the bug; it begins at once."""

    def __init__(self, tests: Sequence[str], bug: Bug | None) -> None:
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed once it is read
        self._child = os.fork()
        if self._child == 0:
            _become(tests, bug, self._told.fileno())

    def outcome(self) -> tuple[int, str]:
        """Pytest's exit code and output, once it has ended."""
        _, status = os.waitpid(self._child, 0)
        with self._told:
            self._told.seek(0)
            return os.waitstatus_to_exitcode(status), self._told.read()


def _become(tests: Sequence[str], bug: Bug | None, output: int) -> None:
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ["COLUMNS"] = "200"
        scripted.PATIENCE = 1.0  # what a test waits for in vain takes no longer
        recorder.DEADLINE = 2
        scripted.within.__defaults__ = (1.0,)
        if bug is not None:
            os.environ[VARIABLE] = bug.name
            bug.apply(bugs.put_in)
        code = pytest.main([*tests, "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"])
        sys.stdout.flush()
        os._exit(code)
    finally:
        os._exit(99)


def caught(trial: Trial) -> str | None:
    """How the bug's test caught it; None where it did not."""
    code, told = trial.outcome()
    if code != pytest.ExitCode.TESTS_FAILED:
        return None
    found = _CAUGHT.search(told)
    return (found.group(1) if found and found.group(1) else "the test fails")[:120]


def trials(chosen: Sequence[Bug]) -> Iterator[tuple[Bug, Trial]]:
    """One trial for each bug, as many at once as there are processors."""
    waiting, going = deque(chosen), deque[tuple[Bug, Trial]]()
    while waiting or going:
        while waiting and len(going) < (os.cpu_count() or 1):
            bug = waiting.popleft()
            going.append((bug, Trial([bug.caught_by], bug)))
        yield going.popleft()


def is_quick(bug: Bug) -> bool:
    """Whether its test is one of those that need no storm."""
    return not bug.caught_by.startswith("tests/torture/") or "test_rivals" in bug.caught_by


def main() -> int:
    """0 where every bug was caught, and every test passes without one."""
    parser = argparse.ArgumentParser(prog="make seeded-bugs ARGS=…", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--list", action="store_true", help="print the list and run nothing")
    asked = parser.parse_args()
    chosen = [bugs.named(name) for name in asked.names] or BUGS
    if asked.list:
        for bug in chosen:
            say(f"{bug.name}: {bug.means}\n    {bug.caught_by}{f'; also a {bug.storm}' if bug.storm else ''}")
        return 0
    code, told = Trial(sorted({bug.caught_by for bug in chosen}), None).outcome()
    if code != 0:
        say(f"without any bug, the tests do not pass:\n{told[-3000:]}")
        return 1
    missed = 0
    for bug, trial in trials(chosen):
        how = caught(trial)
        missed += how is None
        say(
            f"{'CAUGHT' if how else 'MISSED'} {bug.name}: {bug.means}\n    by {bug.caught_by}\n    {how}",
        )
    say(f"{len(chosen) - missed} of {len(chosen)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        assert Path("tests/torture").is_dir(), "run it from the project's folder"
        sys.exit(main())
