"""A program that saves runs to a store (`sqlite` or `file`, and its path) as fast as it can, and says what was acknowledged, until it is killed."""

import asyncio
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

from runcast.server.model.change import Group, Part, Saved
from runcast.server.model.run import Definition, Outcome, Payload, State
from runcast.server.repository.abc import Repository
from runcast.server.repository.file import FileRepository
from runcast.server.repository.sqlite import SQLiteRepository
from tests.repository.builders import NOW, a_request, a_run, change, following, group

VERSIONS = 4
PADDING = "x" * 500


# A journal is folded many times a second: kills are to hit that too.
BACKENDS: dict[str, Callable[[Path], Repository]] = {
    "sqlite": SQLiteRepository,
    "file": lambda path: FileRepository(path, smallest=64 << 10),
}


async def storm(repository: Repository) -> None:
    """Eight writers; each line of the output is a run's id and the version that is durable from now on."""
    await repository.open()
    await asyncio.gather(*(write(repository, f"{writer}") for writer in range(8)))


async def write(repository: Repository, writer: str) -> None:
    """Pairs of runs that always move together, some new, some through all of their versions."""
    for n in itertools.count():
        of = Definition(provider="storm", input=Payload(json=PADDING))
        pair = [change(a_run(f"{writer}-{n}-{side}", of=of, create_time=NOW + n), events=2) for side in "ab"]
        request = a_request(f"{writer}-{n}", pair[0].run.id)
        await told(repository, group(*pair, request=request), pair[0].run.id, 0)
        for version in range(1, VERSIONS):
            outcome = Outcome(summary=f"{version}")
            pair = [
                change(
                    following(one.run, state=State.RUNNING, outcome=outcome),
                    events=version,
                    parts=Part.OUTCOME,
                )
                for one in pair
            ]
            await told(repository, group(*pair), pair[0].run.id, version)


async def told(repository: Repository, what: Group, run_id: str, version: int) -> None:
    """Save, and only then say so."""
    results = await repository.save([what])
    assert [*results] == [Saved()]
    sys.stdout.write(f"{run_id} {version}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(storm(BACKENDS[sys.argv[1]](Path(sys.argv[2]))))
