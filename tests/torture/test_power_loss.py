"""What was acknowledged is on the disk, not in the kernel's memory: the power is lost behind each acknowledgement."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from runcast.server.model.run import Page, RunFilter
from runcast.server.repository.file import FileRepository
from tests.torture.power import CALLS, Disk
from tests.torture.world import ROOT

_LINES = 200
_PROGRAM = """
import sys, os
from tests.torture import bugs
if os.environ.get("TORTURE_BUG"): bugs.named(os.environ["TORTURE_BUG"]).apply(bugs.put_in)
import asyncio, pathlib
from tests.repository.storm import BACKENDS, storm
asyncio.run(storm(BACKENDS[sys.argv[1]](pathlib.Path(sys.argv[2]))))
"""


def strace() -> str:
    """The tracer, where there is one that may trace."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("needs strace, to see what is written and what is synced")
    if subprocess.run([found, "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody trace")
    return found


def traced(backend: str, store: Path) -> list[str]:
    """The system calls of a program that stores, up to some acknowledgements."""
    log, errors = store.with_name("trace"), store.with_name("errors")
    process = subprocess.Popen(
        [strace(), "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(log), sys.executable, "-c",
         _PROGRAM, backend, str(store)],
        stdout=subprocess.PIPE, stderr=os.open(errors, os.O_WRONLY | os.O_CREAT), text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for _ in range(_LINES):
            line = process.stdout.readline()
            assert line, errors.read_text()
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


async def versions(backend: str, path: Path) -> dict[str, int]:
    """The runs in a store, and their versions; nothing where it cannot be read."""
    if backend == "file":
        store = FileRepository(path)
        await store.open()
        runs = await store.list(RunFilter(), Page(1_000_000))
        await store.close()
        return {run.id: run.version for run in runs}
    try:
        with closing(sqlite3.connect(path)) as connection:
            return dict(connection.execute("SELECT id, version FROM runs"))
    except sqlite3.DatabaseError:
        return {}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("backend", ["sqlite", "file"])
async def test_what_was_acknowledged_survives_the_loss_of_power(tmp_path: Path, backend: str) -> None:
    store = tmp_path / "runs.db"
    disk, checked = Disk(), 0
    for line in traced(backend, store):
        before = disk.said
        disk.feed(line)
        if disk.said == before or disk.said.count("\n") % 10:
            continue
        for place in disk.restore(store, tmp_path / f"after-{checked}"):
            found = await versions(backend, place)
            for told in disk.said.splitlines():
                run_id, version = told.split()
                assert found.get(run_id, -1) >= int(version), f"{told} was acknowledged; in {place}: {found}"
            checked += 1
    assert checked >= 20, f"only {checked} losses were tried: nothing is proven"
    assert disk.folder_syncs >= (4 if backend == "file" else 1), f"{disk.folder_syncs} syncs of the folder"
