"""The server's handle on the forkserver: starts it, orders processes from it, hears of their ends."""

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from runcast.server.executor import tree, wire
from runcast.server.model.errors import RuncastError

# The process has an empty `__main__`: what imports that of its parent again, as multiprocessing does, imports nothing.
_PROGRAM = "import sys; from runcast.server.executor.forking import main; main(*map(int, sys.argv[1:]))"
_LOADING, _ENDING = 60, 3
_LARGEST = 65_536


class ProvidersNotLoaded(RuncastError):
    """The forkserver could not import the providers; the message holds the traceback."""

    reason = "PROVIDERS_NOT_LOADED"


class Forkserver:
    """One process that has loaded the providers, and forks on demand. It has never held grpc, nor the server's sockets.

    It is a program of its own, not a fork: it can be started again at any time, and is when it was lost.
    """

    def __init__(self, loader: str, providers: Sequence[str]) -> None:
        self.pids: dict[int, int] = {}
        self._load = wire.Load(list(sys.path), loader, list(providers))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._control: socket.socket | None = None
        self._ready: asyncio.Future[str] | None = None
        self._gone: dict[int, asyncio.Future[wire.Gone]] = {}
        self._numbers = itertools.count(1)

    async def open(self) -> None:
        """Start it and wait until the providers are loaded."""
        self._start()
        assert self._ready is not None
        try:
            error = await asyncio.wait_for(self._ready, _LOADING)
        except TimeoutError:
            error = f"their modules were not imported within {_LOADING} s"
        if error:
            await self.close()
            raise ProvidersNotLoaded(f"the providers could not be loaded: {error}")

    def fork(self, descriptors: Sequence[int]) -> tuple[int, asyncio.Future[wire.Gone]]:
        """Order a process that is given these descriptors; its number here, and what becomes of it."""
        if self._control is None:
            self._start()
        assert self._control is not None
        number = next(self._numbers)
        socket.send_fds(self._control, [wire.encode(wire.Fork(number))], list(descriptors))
        gone = self._gone[number] = asyncio.get_running_loop().create_future()
        return number, gone

    def kill(self, number: int) -> None:
        """Order the end of a process and of all that it started."""
        if self._control is not None and number in self._gone:
            try:
                self._control.send(wire.encode(wire.Kill(number)))
            except BlockingIOError:
                asyncio.get_running_loop().call_later(0.01, self.kill, number)
            except OSError:
                self._lost()

    async def close(self) -> None:
        """End the forkserver, and with it whatever it has forked; idempotent."""
        self._disconnect("the forkserver was closed")
        for process in self._processes:
            await _wait(process)
        self._processes.clear()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # -P: the working folder is searched for providers, as the path says, not for the forkserver's own modules.
            command = [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno()), str(os.getpid())]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a module prints while it is imported is a diagnosis, not the server's output
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._processes.append(process)
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        self._control = ours
        ours.send(wire.encode(self._load))
        ours.setblocking(False)
        loop.add_reader(ours, self._hear)

    def _hear(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        message = wire.from_forkserver(data)
        match message:
            case wire.Ready(error):
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(error)
            case wire.Forked(number, pid):
                self.pids[number] = pid
            case wire.Gone(number):
                self._bury(number, message)

    def _bury(self, number: int, message: wire.Gone) -> None:
        self.pids.pop(number, None)
        gone = self._gone.pop(number, None)
        if gone is not None and not gone.done():
            gone.set_result(message)

    def _lost(self) -> None:
        """The forkserver ended unasked: its processes have died with it, what they started is killed from here."""
        why = "the forkserver was lost"
        if self._ready is not None and self._ready.done() and self._ready.result():
            why = self._ready.result()
        self._disconnect(why)

    def _disconnect(self, why: str) -> None:
        if self._control is None:
            return
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        self._control = None
        if self._ready is not None and not self._ready.done():
            self._ready.set_result("the forkserver ended while it imported their modules")
        for number in list(self._gone):
            if number in self.pids:
                tree.kill_group(self.pids[number])
            self._bury(number, wire.Gone(number, 0, why))


async def _wait(process: subprocess.Popen[bytes]) -> None:
    deadline = asyncio.get_running_loop().time() + _ENDING
    while process.poll() is None:
        if asyncio.get_running_loop().time() > deadline:
            process.kill()
        await asyncio.sleep(0.002)
