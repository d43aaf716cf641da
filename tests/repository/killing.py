"""A storm that is killed, and what must be left of it."""

import subprocess
import sys
import threading
from pathlib import Path

from runcast.server.model.change import Known, Saved, Stale
from runcast.server.model.run import Page, RunFilter
from runcast.server.repository.abc import Repository
from tests.repository.builders import a_request, following, save
from tests.repository.storm import VERSIONS


def killed(backend: str, path: Path, seconds: float) -> dict[str, int]:
    """Kill a storm this long after its first acknowledgement; answers each acknowledged run's version."""
    command = [sys.executable, "-m", "tests.repository.storm", backend, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        said = [child.stdout.readline()]
        killer = threading.Timer(seconds, child.kill)
        killer.start()
        said += child.stdout.readlines()
        killer.join()
    # A line that was cut says nothing.
    pairs = (line.split() for line in said if line.endswith("\n"))
    return {run_id: int(version) for run_id, version in pairs}


async def check_all(repository: Repository, acknowledged: dict[str, int], where: str) -> None:
    """All that was acknowledged is there, whole, and goes on."""
    runs = {run.id: run for run in await repository.list(RunFilter(), Page(1_000_000))}
    for run_id, version in acknowledged.items():
        assert runs[run_id].version >= version, f"{where}: {run_id} was lost"
    for run in runs.values():
        await check(repository, run.id, f"{where}: {run.id}")
        twin = run.id[:-1] + ("b" if run.id.endswith("a") else "a")
        assert runs[twin].version == run.version, f"{where}: half a group of {run.id}"
    first = runs[next(iter(acknowledged))]
    assert await save(repository, first) == Stale(first.id)
    assert await save(repository, following(first), following(runs[f"{first.id[:-1]}b"])) == Saved()


async def check(repository: Repository, run_id: str, where: str) -> None:
    """A run's parts and journal belong to its version."""
    run = await repository.get(run_id)
    assert 0 <= run.version < VERSIONS
    assert run.outcome.summary == (f"{run.version}" if run.version else ""), where
    events = await repository.events(run_id, 0, 100)
    assert [event.sequence for event in events] == [*range(1, run.last_sequence + 1)], where
    request = a_request("-".join(run_id.split("-")[:2]), "other")
    known = await save(repository, request=request)
    assert isinstance(known, Known)
    assert (known.run_id, known.digest) == (run_id[:-1] + "a", f"digest of {run_id[:-1]}a".encode()), where
