"""Storms: clients at work while their server is killed, or frozen and rescued, again and again; then the judge."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.torture import truth
from tests.torture.clients import PROVIDERS, Client, Door
from tests.torture.failpoints import DIED, POINTS
from tests.torture.history import History
from tests.torture.oracle import Verdict, judge
from tests.torture.world import World

SETTLED = 20.0
FOLD = 24 << 10
HOLD = "1.2"
DRAINS = 0.2
SQLITE = "sqlite:///{folder}/runs.db"
FILE = "file:///{folder}/runs"
BACKENDS = (SQLITE, FILE)
"""Storage URLs of the durable backends; `{folder}` is the storm's own."""


@dataclass
class Plan:
    """How a storm goes; all that is random comes from `seed`."""

    folder: Path
    seed: int
    storage: str = SQLITE
    clients: int = 8
    flags: Sequence[str] = ()
    providers: Sequence[str] = PROVIDERS
    pauses: Sequence[float] = (0, 0.001, 0.004, 0.02)

    @property
    def url(self) -> str:
        """The storm's store."""
        return self.storage.format(folder=self.folder)


def deaths(kills: int, seed: int, points: Sequence[str] = POINTS, share: float = 0.5) -> list[str]:
    """How each server of a crash storm ends: a share of them at failpoints in turn, the others ("") at any instant."""
    chance = random.Random(f"deaths {seed}")
    order, at_points = chance.sample(points, len(points)), round(kills * share)
    wanted = [at(order[number % len(order)], chance) for number in range(at_points)]
    wanted += [""] * (kills - at_points)
    chance.shuffle(wanted)
    return wanted


def at(point: str, chance: random.Random) -> str:
    """A failpoint, and which time; what happens once in a server's short life, the first time."""
    rare = point.endswith(("rescue", "cancel", "lease", "rename", "new-journal", "snapshot"))
    return f"{point}:{1 if rare else chance.randint(1, 3)}"


async def crash_storm(plan: Plan, ends: Sequence[str]) -> Verdict:
    """Kill the server as often as there are `ends`, each started again at once; what follows from it all."""
    chance = random.Random(f"storm {plan.seed}")
    verdict = Verdict()
    with World(plan.url, flags=[*plan.flags, "--fold", str(FOLD), "--hold", HOLD]) as world:
        async with _at_work(plan, [world.address]) as (history, clients):
            for end in ends:
                took = await world.start(*_how(end))
                verdict.figures["slowest start, ms"] = max(
                    verdict.figures["slowest start, ms"], int(took * 1_000)
                )
                await _end(world, end, chance, verdict)
            await world.start()
            await _busy_enough(clients, len(ends))
            await _finish(clients, verdict)
            await _judge(plan, world, history, verdict)
    return verdict


def _how(end: str) -> list[str]:
    """The flags of a server that ends like this; one that dies with its lease renews it often."""
    if not end:
        return []
    return ["--die", end, *(["--ttl", "1.2"] if "lease" in end else [])]


async def _busy_enough(clients: Sequence[Client], runs: int) -> None:
    """Let clients of a slow machine come to enough runs for the storm to prove something."""
    end = time.monotonic() + SETTLED
    while sum(client.ended for client in clients) < runs and time.monotonic() < end:
        await asyncio.sleep(0.05)


async def _end(world: World, end: str, chance: random.Random, verdict: Verdict) -> None:
    """Let the server live for a while and end it, or wait until it ends itself."""
    if end:
        if await world.died(2.0):
            reached = world.process.returncode == DIED
            verdict.figures["failpoints" if reached else "kills"] += 1
            verdict.figures[f"at {end.partition(':')[0]}"] += reached
        else:
            await world.kill()
            verdict.figures["kills"] += 1
    else:
        await asyncio.sleep(chance.random() * 0.6)
        if chance.random() < DRAINS:
            verdict.figures["drains"] += 1
            if await world.stop() != 0:
                verdict.say("P11", f"a server left in disorder: {''.join(world.errors[-5:])}")
        else:
            await world.kill()
            verdict.figures["kills"] += 1
    if await world.emptied() is None:
        verdict.say("hygiene", f"{len(world.left())} processes outlived a server by 2 s ({end or 'killed'})")


async def zombie_storm(plan: Plan, freezes: int, ttl: float = 0.9) -> Verdict:
    """Two servers on one store without its lock: each in turn stands still beyond its lease, and goes on as a zombie."""
    chance = random.Random(f"zombies {plan.seed}")
    verdict = Verdict()
    flags = [*plan.flags, "--unlocked", "--ttl", str(ttl), "--hold", HOLD]
    plan.pauses = (0.01, 0.04, 0.08)  # so that there is somebody to rescue
    with World(plan.url, flags=flags) as one, World(plan.url, flags=flags) as two:
        await one.start()  # which makes the store: what keeps two from doing so at once is left out
        await two.start()
        async with _at_work(plan, [one.address, two.address]) as (history, clients):
            await asyncio.sleep(0.5)
            for number in range(freezes):
                victim = (one, two)[number % 2]
                victim.freeze()
                await asyncio.sleep(ttl * 1.1 + (ttl + 0.6) * chance.random())
                victim.thaw()
                verdict.figures["freezes"] += 1
                await asyncio.sleep(ttl * chance.random())
            await _finish(clients, verdict)
            for world in (one, two):
                if world.process.poll() is not None:
                    verdict.say("P7", f"a frozen server ended: {''.join(world.errors[-5:])}")
            await two.stop()
            await _judge(plan, one, history, verdict)
    return verdict


@asynccontextmanager
async def _at_work(plan: Plan, addresses: Sequence[str]) -> AsyncIterator[tuple[History, list[Client]]]:
    """Clients that start to work; all of them have ended, one way or another, when this does."""
    history = History(plan.folder / "history.jsonl")
    doors = [Door(addresses, random.Random(f"{plan.seed} door {n}")) for n in range(plan.clients)]
    clients = [
        Client(
            f"c{n}", door, history, f"{plan.seed} client {n}", providers=plan.providers, pauses=plan.pauses
        )
        for n, door in enumerate(doors)
    ]
    tasks = [asyncio.create_task(client.work(), name=client.name) for client in clients]
    for client, task in zip(clients, tasks, strict=True):
        client.task = task
    async with AsyncExitStack() as stack:
        stack.callback(history.close)
        for door in doors:
            stack.push_async_callback(door.close)
        try:
            yield history, clients
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _finish(clients: Sequence[Client], verdict: Verdict) -> None:
    """Let every client come to the end of its run."""
    for client in clients:
        client.enough.set()
    tasks = [client.task for client in clients if client.task is not None]
    begin = time.monotonic()
    done, pending = await asyncio.wait(tasks, timeout=SETTLED)
    for task in done:
        if task.exception() is not None:
            verdict.say("client", f"{task.get_name()} failed: {task.exception()!r}")
    for task in pending:
        verdict.say("P3", f"client {task.get_name()} still waits for its run after {SETTLED:.0f} s")
    verdict.figures["settling, ms"] = int((time.monotonic() - begin) * 1_000)


async def _flaws(url: str) -> list[str]:
    """What is wrong with a store that no server has open."""
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite":
        return truth.flaws_of_sqlite(Path(path))
    return await truth.flaws_of_file(Path(path)) if scheme == "file" else []


async def _judge(plan: Plan, world: World, history: History, verdict: Verdict) -> None:
    """Look at the store by the server that is up, by the next one, and by itself."""
    chance = random.Random(plan.seed)
    door = Door([world.address], chance)
    try:
        stored = await truth.ask(door)
        if await world.stop() != 0:
            verdict.say("P11", f"the server left in disorder: {''.join(world.errors[-5:])}")
        await world.start()
        again = await truth.ask(door)
        changed = [run_id for run_id in stored if again.get(run_id) != stored[run_id]]
        if changed or again.keys() != stored.keys():
            verdict.say("P3", f"a restart changed {changed or 'which runs there are'}")
        await world.stop()
    finally:
        await door.close()
    if await world.emptied() is None:
        verdict.say("hygiene", f"{len(world.left())} processes outlived the last server")
    verdict.violations += [f"store: {flaw}" for flaw in await _flaws(plan.url)]
    found = judge(history.read(), stored)
    verdict.violations += found.violations
    verdict.figures.update(found.figures)
    loud = [line for line in world.errors if "Traceback" in line]
    if loud:
        verdict.say("log", f"servers logged {len(loud)} tracebacks: {''.join(world.errors)[-3_000:]}")
