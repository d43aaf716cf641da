"""`python -m runcast.server`: reads the settings, assembles the server, serves until a signal, and drains."""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import argparse
import asyncio
import contextlib
import gc
import random
import signal
import sys
import threading
import time
from typing import Any

import uvloop

from runcast.provider import capture
from runcast.provider.loading import load
from runcast.server.engine.clock import Clock
from runcast.server.engine.engine import Engine
from runcast.server.executor.assembly import executors
from runcast.server.executor.boundary import make_task
from runcast.server.logs import set_up_logs
from runcast.server.model.errors import InvalidArgument, RuncastError
from runcast.server.notifier.local import LocalNotifier
from runcast.server.repository.storage import repository_at
from runcast.server.rpc.server import Server
from runcast.server.settings import Settings, read_settings

_PATIENCE = 2.0
_AT_LAST = 3.0
_CHANCE = (1 << 62) - 1


class SystemClock(Clock):
    """The machine's time, and chance."""

    def __init__(self) -> None:
        self._newest = 0

    def now(self) -> int:
        """Microseconds since 1970 UTC."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def dice(self) -> float:
        """From 0 to 1."""
        return random.random()  # noqa: S311 - spreads retries; guards nothing

    def new_id(self, prefix: str) -> str:
        """A UUIDv7 in hex: by time, in the order of the calls, then by chance."""
        # RFC 9562's method 3: 48 bits of milliseconds, 12 of their fraction, which a call too soon counts up.
        millis, nanos = divmod(time.time_ns(), 1_000_000)
        self._newest = newest = max(millis << 12 | nanos * 4096 // 1_000_000, self._newest + 1)
        chance = int.from_bytes(os.urandom(8)) & _CHANCE
        return f"{prefix}_{newest >> 12 << 80 | 7 << 76 | (newest & 0xFFF) << 64 | 2 << 62 | chance:032x}"


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once."""
    clock = SystemClock()
    repository = repository_at(settings.storage)
    registry = load(settings.providers)
    capture.install()
    engine = Engine(
        repository,
        LocalNotifier(),
        executors(registry, settings.providers, process_slots=settings.max_concurrent),
        registry,
        clock,
    )
    stop, closed = _on_signals(settings.drain_seconds + _AT_LAST)
    server = Server(engine, clock.now)
    try:
        await engine.open()
        port = await server.start(settings.listen)
        _calm_the_collector()
        _announce(settings, port, len(registry))
        await stop.wait()
        await server.drain(settings.drain_seconds)
    finally:
        await server.stop()
        await engine.close()
    closed.set()
    # A coroutine that swallows its cancellation would keep the loop from ending for ever; its run is settled.
    asyncio.get_running_loop().call_later(_PATIENCE, os._exit, 0)


def _calm_the_collector() -> None:
    """What is loaded stays, and a run in flight makes hundreds of objects and no cycles: the default thresholds would
    look through all of them several times a second (measured: a third of the engine's time)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _on_signals(at_last: float) -> tuple[asyncio.Event, threading.Event]:
    """What is set at the first signal, and what is to be set once all is stored: a second signal, or `at_last` seconds,
    end the process whatever it is at. Python's own handlers, for those of a loop wait for code that blocks it."""
    loop, stop, closed = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    asked: list[int] = []

    def leave() -> None:
        os._exit(0 if closed.is_set() else 1)

    def on_signal(number: int, _frame: object) -> None:
        asked.append(number)
        if len(asked) > 1:
            leave()
        last = threading.Timer(at_last, leave)
        last.daemon = True
        last.start()
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop, closed


def _announce(settings: Settings, port: int, providers: int) -> None:
    host = settings.listen.rpartition(":")[0]
    noun = "provider" if providers == 1 else "providers"
    sys.stdout.write(f"runcast: listening on {host}:{port}, {providers} {noun}, {settings.storage}\n")
    sys.stdout.flush()


def _flags() -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="runcast serve", description="Serve providers as durable runs, over gRPC."
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="default 127.0.0.1:7433; port 0 takes any free one"
    )
    parser.add_argument(
        "--insecure",
        action="store_const",
        const=True,
        help="let other machines in, without TLS and authentication",
    )
    parser.add_argument("--storage", metavar="URL", help="memory://, file:///PATH or sqlite:///PATH")
    parser.add_argument(
        "--providers", metavar="MODULE|FILE.py|examples", action="append", help="may be given several times"
    )
    parser.add_argument(
        "--max-concurrent", metavar="N", help="process attempts at once; default: the CPU count"
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR")
    return {name: value for name, value in vars(parser.parse_args()).items() if value is not None}


def main() -> int:
    """The exit code: 0 after a clean drain, 2 for wrong settings, 1 where the server cannot start."""
    flags = _flags()
    try:
        settings = read_settings(flags)
        set_up_logs(settings.log_level)
        with (
            contextlib.suppress(KeyboardInterrupt),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.get_loop().set_task_factory(make_task)  # type: ignore[arg-type]  # any coroutine
            runner.run(serve(settings))
    except (asyncio.CancelledError, SystemExit) as error:
        # What is committed is safe, and the next start takes back what ran here.
        what = (
            "cancelled the server's own tasks"
            if isinstance(error, asyncio.CancelledError)
            else "asked to exit"
        )
        sys.stderr.write(f'runcast: a provider\'s coroutine {what}; give it a process: execution="process"\n')
        return 1
    except InvalidArgument as error:
        for violation in error.violations:
            sys.stderr.write(f"runcast: {violation.field}: {violation.description}\n")
        return 2
    except RuncastError as error:
        sys.stderr.write(f"runcast: {error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
