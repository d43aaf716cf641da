"""The server's end of an attempt's connection: a pipe each way."""

import asyncio
import itertools
import os

from runcast.server.executor import wire

_CHUNK = 32_768


class Connection:
    """Messages out, bytes in; each direction lives as long as it can, whatever becomes of the other."""

    def __init__(self, reading: int, writing: int) -> None:
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        self._reading = reading
        self._writing = writing
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._unsent = bytearray()
        self._hung_up = False
        self._readable: asyncio.Future[None] | None = None

    def tell(self, message: wire.ToProcess) -> None:
        """Send, now or as soon as there is room."""
        idle = not self._unsent
        for piece in wire.pieces(message, next(self._numbers)):
            self._unsent += piece
        if idle:
            self._send()
            if self._unsent:
                self._loop.add_writer(self._writing, self._resume)

    async def read(self) -> bytes:
        """What has come, nothing at the end. While this is not called, the process waits."""
        await asyncio.sleep(
            0
        )  # an endless producer always has something to read, and must not keep the loop to itself
        while True:
            try:
                return os.read(self._reading, _CHUNK)
            except BlockingIOError:
                if self._hung_up:
                    return b""
            self._readable = self._loop.create_future()
            self._loop.add_reader(self._reading, self._wake)
            try:
                await self._readable
            finally:
                self._loop.remove_reader(self._reading)

    def hang_up(self, _reason: object = None) -> None:
        """Let `read` end after what has come, although somebody may still hold the other end."""
        self._hung_up = True
        self._wake()

    def close(self) -> None:
        """Let go of the pipes."""
        self._loop.remove_writer(self._writing)
        os.close(self._writing)
        os.close(self._reading)

    def _wake(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    def _send(self) -> None:
        try:
            del self._unsent[: os.write(self._writing, self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # the process is gone; how it ended is heard from the other direction

    def _resume(self) -> None:
        self._send()
        if not self._unsent:
            self._loop.remove_writer(self._writing)
