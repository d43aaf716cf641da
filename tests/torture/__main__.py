"""`make torture`: the storms at length. One printed seed decides all that is random."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

from tests.torture import bugs, rounds
from tests.torture.failpoints import points_of
from tests.torture.oracle import Verdict
from tests.torture.storm import SQLITE, Plan, crash_storm, deaths, zombie_storm

_AT_ONCE = 50
Storm = Callable[[Plan], Coroutine[None, None, Verdict]]


def main() -> int:
    """0 where nothing was violated, or, with bugs, where each was caught."""
    parser = argparse.ArgumentParser(prog="make torture ARGS=…", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="of crash storms; half of them at failpoints")
    parser.add_argument("--freezes", type=int, default=200, help="of zombie storms")
    parser.add_argument("--rounds", type=int, default=5, help="of each failpoint, one by one")
    parser.add_argument("--hygiene", type=int, default=60, help="kills of a server with trees of processes")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--storage", default=SQLITE, help="URL; {folder} stands for the storm's own")
    parser.add_argument("--bugs", action="store_true", help="let a storm find each bug that a storm finds")
    asked = parser.parse_args()
    say(f"torture: seed {asked.seed}, {asked.storage}")
    if asked.bugs:
        return find_bugs(asked.seed, asked.storage)
    results = [
        one(storm, Plan(Path(), asked.seed + number, asked.storage), what)
        for number, (what, storm) in enumerate(storms(asked))
    ]
    say(f"torture: {results.count(True)} of {len(results)} storms without a violation, seed {asked.seed}")
    return 0 if all(results) else 1


def storms(asked: argparse.Namespace) -> list[tuple[str, Storm]]:
    """What was asked for, in portions that each have a store of their own."""
    found: list[tuple[str, Storm]] = [
        (f"crash storm, {kills} deaths", partial(_crash, kills)) for kills in _portions(asked.kills)
    ]
    found += [(f"failpoints, round {turn + 1}", _each_point) for turn in range(asked.rounds)]
    if asked.storage.startswith("sqlite:"):
        found += [
            (f"zombie storm, {freezes} freezes", partial(zombie_storm, freezes=freezes))
            for freezes in _portions(asked.freezes)
        ]
    return found + [
        (f"hygiene, {kills} kills", partial(rounds.hygiene, kills=kills))
        for kills in _portions(asked.hygiene)
    ]


def _portions(total: int) -> list[int]:
    return [_AT_ONCE] * (total // _AT_ONCE) + [total % _AT_ONCE] * (total % _AT_ONCE > 0)


async def _crash(kills: int, plan: Plan) -> Verdict:
    verdict = await crash_storm(plan, deaths(kills, plan.seed, points_of(plan.storage)))
    verdict.require(acknowledged=kills, attempts=kills, lost=kills // 2, checkpoints=kills)
    return verdict


async def _each_point(plan: Plan) -> Verdict:
    points = points_of(plan.storage)
    return await crash_storm(plan, deaths(len(points), plan.seed, points, share=1.0))


def one(storm: Storm, plan: Plan, what: str) -> bool:
    """Whether a storm in a folder of its own found nothing."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        plan.folder = Path(folder)
        verdict = asyncio.run(storm(plan))
    say(f"{what}, seed {plan.seed}, {time.monotonic() - begin:.0f} s: {verdict}")
    return bool(verdict)


def find_bugs(seed: int, storage: str) -> int:
    """Let the storms find the deliberate bugs that they are said to find."""
    missed = []
    for bug in bugs.BUGS:
        storm = {bugs.CRASH: partial(_crash, 8), bugs.ZOMBIES: partial(zombie_storm, freezes=8)}.get(
            bug.storm
        )
        if storm is not None:
            plan = Plan(Path(), seed, storage, flags=["--bug", bug.name])
            if one(storm, plan, f"{bug.storm} with {bug.name}"):
                missed.append(bug.name)
    say(f"torture: missed {', '.join(missed) or 'none'}")
    return 1 if missed else 0


def say(text: str) -> None:
    """One line, now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
