"""What was acknowledged is on the disk, not in the kernel's memory: the power is lost behind each acknowledgement."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.torture.power import CALLS, Disk
from tests.torture.world import ROOT

_LINES = 60
_PROGRAM = """
import sys, os
from tests.torture import bugs
if os.environ.get("TORTURE_BUG"): bugs.named(os.environ["TORTURE_BUG"]).apply(setattr)
import asyncio, pathlib
from tests.repository.storm import storm
asyncio.run(storm(pathlib.Path(sys.argv[1])))
"""


def traced(store: Path) -> list[str]:
    """The system calls of a program that stores, up to some acknowledgements."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace, to see what is written and what is synced")
    log = store.with_name("trace")
    process = subprocess.Popen(
        [strace, "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(log), sys.executable, "-c",
         _PROGRAM, str(store)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for _ in range(_LINES):
            if not process.stdout.readline():
                pytest.skip("this machine lets nobody trace")
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
    return whole(log.read_text(errors="replace").splitlines())


def whole(lines: list[str]) -> list[str]:
    """The calls in the order in which they ended, those that were interrupted put together again."""
    begun: dict[str, str] = {}
    found = []
    for line in lines:
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>").rstrip()
        elif call.startswith("<... "):
            found.append(begun.pop(thread, "") + call.partition("resumed>")[2])
        else:
            found.append(call)
    return found


def versions(path: Path) -> dict[str, int]:
    """The runs in a store, and their versions; nothing where it cannot be read."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            return dict(connection.execute("SELECT id, version FROM runs"))
    except sqlite3.DatabaseError:
        return {}


@pytest.mark.timeout(120)
def test_what_was_acknowledged_survives_the_loss_of_power(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    disk, checked = Disk(), 0
    for line in traced(store):
        before = disk.said
        disk.feed(line)
        if disk.said == before or disk.said.count("\n") % 5:
            continue
        folder = tmp_path / f"after-{checked}"
        folder.mkdir()
        found = versions(disk.restore(store, folder))
        for told in disk.said.splitlines():
            run_id, version = told.split()
            assert found.get(run_id, -1) >= int(version), f"{told} was acknowledged; on the disk: {found}"
        checked += 1
    assert checked >= 5, f"only {checked} losses were tried: nothing is proven"
