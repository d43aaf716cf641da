"""`make torture`: the storms at length. One printed seed decides all that is random."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.oracle import Verdict
from tests.torture.storm import SQLITE, Plan, crash_storm, deaths, zombie_storm

_KILLS_AT_ONCE = 50
_FREEZES_AT_ONCE = 20


def main() -> int:
    """0 where nothing was violated."""
    parser = argparse.ArgumentParser(prog="make torture ARGS=…", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="of a crash storm; half of them at failpoints")
    parser.add_argument("--freezes", type=int, default=200, help="of a zombie storm")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument(
        "--storage", default=SQLITE, help="URL with {folder} where the storm's folder is to be"
    )
    parser.add_argument("--bug", action="append", default=[], help="with this deliberate bug: must be caught")
    asked = parser.parse_args()
    print(f"torture: seed {asked.seed}")
    good = True
    flags = [word for name in asked.bug for word in ("--bug", name)]
    for number, kills in enumerate(_portions(asked.kills, _KILLS_AT_ONCE)):
        seed = asked.seed + number
        storm = lambda plan, kills=kills: crash_storm(plan, deaths(kills, plan.seed))
        good &= _one(f"crash storm, {kills} deaths", asked.storage, seed, flags, storm)
    for number, freezes in enumerate(_portions(asked.freezes, _FREEZES_AT_ONCE)):
        seed = asked.seed + number
        storm = lambda plan, freezes=freezes: zombie_storm(plan, freezes)
        good &= _one(f"zombie storm, {freezes} freezes", asked.storage, seed, flags, storm)
    return 0 if good else 1


def _portions(total: int, most: int) -> list[int]:
    return [most] * (total // most) + [total % most] * (total % most > 0)


def _one(title, storage, seed, flags, storm) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        verdict: Verdict = asyncio.run(storm(Plan(Path(folder), seed, storage, flags=flags)))
    print(f"{title}, seed {seed}, {time.monotonic() - begin:.0f} s: {verdict}", flush=True)
    return bool(verdict)


if __name__ == "__main__":
    sys.exit(main())
