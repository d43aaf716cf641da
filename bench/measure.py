"""Measures a row: its limits and Runcast in turn, round by round, each server in a process of its own."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import grpc.aio

from bench.figures import Figure, Reading, Side
from bench.load import Load
from bench.programs import Program, Server, serving
from bench.rows import Round, Row

PROVIDERS = Path(__file__).with_name("providers.py")


def runcast(folder: Path) -> Program:
    """Runcast's server, as a person would start it, on a new store in this folder."""
    storage = f"sqlite:///{folder.resolve() / 'bench.db'}"
    listen = ("--listen", "127.0.0.1:0", "--storage", storage, "--providers", str(PROVIDERS))
    return Program("runcast.server", listen)


def bare(module: str, folder: Path) -> Program:
    """A limit program; the one that stores gets a new file in this folder."""
    storage = ("--storage", str(folder / "limit.db")) if module == "bench.limits.durable" else ()
    return Program(module, storage)


@dataclass
class _Subject:
    """A server under measurement: one channel to it, and what its rounds gave."""

    name: str
    unit: str
    round: Round
    server: Server
    channel: grpc.aio.Channel
    readings: list[Reading] = field(default_factory=list)

    async def measure(self, load: Load) -> Reading:
        """One round, with what each unit cost both processes in computing; that is steadier than time on a busy machine."""
        theirs, ours = self.server.cpu_seconds(), time.process_time()
        reading = await self.round(self.channel, load)
        theirs, ours = self.server.cpu_seconds() - theirs, time.process_time() - ours
        if reading.check is not None:
            reading = await reading.check()
        costs = {
            "server_cpu_us": theirs * 1e6 / reading.count,
            "client_cpu_us": ours * 1e6 / reading.count,
        }
        return replace(reading, details={**reading.details, **costs})

    @property
    def side(self) -> Side:
        """What its rounds gave."""
        return Side(self.name, self.unit, self.readings)


async def measure(row: Row, load: Load, folder: Path) -> tuple[Figure, Sequence[Side]]:
    """The figure, and all its limits. Limits go first in each round, so that a figure follows the limit it is divided by."""
    async with AsyncExitStack() as open_now:
        subjects = []
        for limit in row.limits:
            program = bare(limit.module, folder)
            opened = await open_now.enter_async_context(_open(program))
            subjects.append(_Subject(named(limit.name, load), limit.unit, limit.round, *opened))
        subjects.reverse()
        opened = await open_now.enter_async_context(_open(runcast(folder)))
        ours = _Subject(named(row.name, load), row.unit, row.round, *opened)
        for subject in (*subjects, ours):
            await subject.measure(load.warm_up())
        for _ in range(load.rounds):
            for subject in (*subjects, ours):
                subject.readings.append(await subject.measure(load))
        limits = [subject.side for subject in reversed(subjects)]
        return Figure(row.number, ours.side, limits[0], row.target), limits


async def run_alone(row: Row, load: Load, program: Program) -> Side:
    """The row's calls without a limit beside it: what a profiler looks at."""
    async with _open(program) as (server, channel):
        subject = _Subject(named(row.name, load), row.unit, row.round, server, channel)
        for _ in range(load.rounds):
            subject.readings.append(await subject.measure(load))
        return subject.side


def named(name: str, load: Load) -> str:
    """A name with the numbers that it holds, such as `{watchers}`."""
    return name.format(**asdict(load))


@asynccontextmanager
async def _open(program: Program) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    async with serving(program) as server, grpc.aio.insecure_channel(server.address) as channel:
        yield server, channel
