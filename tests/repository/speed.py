"""How many changes a second a backend takes: `python -m tests.repository.speed [memory] [sqlite]`, a JSON line per figure.

A no-op run is two changes: created and claimed in one, with its request id; completed in the other, with its outcome.
Each size of group is measured on an idle event loop, and on one that a spinning task keeps busy all the time.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop
from uuid6 import uuid7

from runcast.server.model.change import Change, Group, Part, Saved
from runcast.server.model.run import Attempt, AttemptState, Outcome, Payload, State
from runcast.server.repository.abc import Repository
from tests.repository.builders import NOW, SECOND, a_request, a_run, change, following, group
from tests.repository.conftest import BACKENDS

BOOT = str(uuid7())
DURATION = 3.0


def created() -> Change:
    """A run that was created and claimed at once."""
    attempt = Attempt(1, AttemptState.RUNNING, BOOT, NOW)
    run = a_run(str(uuid7()), state=State.RUNNING, owner=BOOT, current=attempt, wake_time=NOW + 300 * SECOND)
    return change(run, events=3)


def completed(before: Change) -> Change:
    """The same run, at its end."""
    outcome = Outcome(output=Payload(json='{"ok": true}'))
    done = {"state": State.SUCCEEDED, "owner": "", "end_time": NOW, "wake_time": NOW + 86_400 * SECOND}
    return change(following(before.run, outcome=outcome, **done), events=2, parts=Part.OUTCOME)


async def spin() -> None:
    """A loop with always something to do, a fifth of a millisecond at a time."""
    while True:
        end = time.perf_counter() + 0.0002
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(0)


async def save(repository: Repository, groups: Sequence[Group]) -> float:
    """Save and answer how long it took, in milliseconds."""
    start = time.perf_counter()
    assert {*await repository.save(groups)} == {Saved()}
    return (time.perf_counter() - start) * 1000


async def measure(repository: Repository, size: int, busy: bool) -> dict[str, Any]:
    """Runs in groups of this size for a while; making them is not measured."""
    spinning = asyncio.ensure_future(spin()) if busy else None
    spent: list[float] = []
    until = time.perf_counter() + DURATION
    while time.perf_counter() < until:
        runs = [created() for _ in range(size)]
        starts = [group(one, request=a_request(str(uuid7()), one.run.id)) for one in runs]
        ends = [group(completed(one)) for one in runs]
        spent += [await save(repository, starts), await save(repository, ends)]
    if spinning:
        spinning.cancel()
    spent.sort()
    rate = round(size * len(spent) / sum(spent) * 1000)
    return {
        "changes_per_second": rate,
        "p50_ms": spent[len(spent) // 2],
        "p99_ms": spent[len(spent) * 99 // 100],
    }


async def main(backends: Sequence[str]) -> None:
    """All figures of these backends."""
    for name in backends or BACKENDS:
        for busy in (False, True):
            for size in (1, 10, 50, 200):
                with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                    repository = BACKENDS[name](Path(folder), lambda: time.monotonic_ns() // 1000)
                    await repository.open()
                    figures = await measure(repository, size, busy)
                    await repository.close()
                line = {"backend": name, "groups": size, "busy": busy, **figures}
                sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
