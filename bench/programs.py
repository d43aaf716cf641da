"""Starts a server as a program of its own on loopback, learns its address from what it says, and ends it by its id."""

import asyncio
import os
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
_READY = re.compile(rb"listening on (127\.0\.0\.1:\d+)")
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LINES = 40


class ProgramError(Exception):
    """A server did not start, or ended by itself; the message has what it said last."""


@dataclass(frozen=True)
class Program:
    """What to start: a module and its arguments; `under` is a command that starts it in turn, such as a profiler's.

    `through` are words between the interpreter and the module, such as a profiler that is itself a module.
    """

    module: str
    arguments: Sequence[str] = ()
    under: Sequence[str] = ()
    through: Sequence[str] = ()

    @property
    def command(self) -> list[str]:
        """All of its words."""
        return [*self.under, sys.executable, *self.through, "-m", self.module, *self.arguments]


class Server:
    """A program that serves."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.address = ""
        self._process = process
        self._said: deque[bytes] = deque(maxlen=_LINES)
        self._ready = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        self._self: psutil.Process | None = None

    async def ready(self, program: Program) -> None:
        """Return once it listens. ProgramError where it ends or says nothing instead."""
        try:
            await asyncio.wait_for(self._ready.wait(), _START_SECONDS)
        except TimeoutError:
            raise ProgramError(f"{program.module} does not say where it listens:\n{self.said}") from None
        if not self.address:
            raise ProgramError(f"{program.module} ended at its start:\n{self.said}")
        self._self = _innermost(self._process.pid) if program.under else psutil.Process(self._process.pid)

    def cpu_seconds(self) -> float:
        """How long it has computed so far, in all its threads."""
        if self._self is None:
            return 0.0
        times = self._self.cpu_times()
        return times.user + times.system

    @property
    def said(self) -> str:
        """Its last lines."""
        return b"".join(self._said).decode(errors="replace")

    async def stop(self) -> None:
        """SIGTERM; SIGKILL to whatever is left of it when its time is up."""
        family = _family(self._process.pid) if self._process.returncode is None else []
        if family:
            _send(self._self or family[0], signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            print(
                f"bench: process {self._process.pid} did not stop and is killed:\n{self.said}",
                file=sys.stderr,
            )
        for process in family:
            _send(process, signal.SIGKILL)
        await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        while line := await output.readline():
            self._said.append(line)
            if not self.address and (found := _READY.search(line)):
                self.address = found[1].decode()
                self._ready.set()
        self._ready.set()


@asynccontextmanager
async def serving(program: Program) -> AsyncIterator[Server]:
    """The program, started and listening; ended on the way out."""
    process = await asyncio.create_subprocess_exec(
        *program.command,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1 << 20,
        start_new_session=True,  # Ctrl-C reaches us alone: we end it, and it stops in good order
    )
    server = Server(process)
    try:
        await server.ready(program)
        yield server
    except Exception as error:
        if not isinstance(error, ProgramError):
            error.add_note(f"{program.module} said last:\n{server.said}")
        raise
    finally:
        await server.stop()


def _innermost(pid: int) -> psutil.Process:
    """The Python that a profiler started: the child of whatever was started here."""
    process = psutil.Process(pid)
    children = process.children()
    return children[0] if children else process


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _send(process: psutil.Process, signal_number: signal.Signals) -> None:
    """To this very process: psutil sends nothing where the id has since been given to another."""
    try:
        process.send_signal(signal_number)
    except psutil.NoSuchProcess:
        return
