"""A network that breaks: a TCP proxy that cuts connections after so many bytes, or at once."""

import asyncio
from collections import deque
from types import TracebackType
from typing import Self


class Proxy:
    """Forwards connections to `target`, a port of this machine; each new one is cut after the next of `limits`, in
    bytes from the server. Without a limit left it holds."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.limits: deque[int] = deque()
        self.connections = 0
        self.cuts = 0
        self.port = 0
        self.open = 0
        self._changed = asyncio.Condition()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Break all connections, in the middle of whatever they carry."""
        self.cuts += 1
        for writer in self._open:
            writer.transport.abort()

    async def until_open(self, number: int) -> None:
        """Return once so many connections are open."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.open == number)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        limit = self.limits.popleft() if self.limits else None
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, to_server}
        self._open |= both
        self.open += 1
        try:
            await asyncio.gather(self._pump(reader, to_server, None), self._pump(from_server, writer, limit))
        except OSError:
            pass
        finally:
            self._open -= both
            for each in both:
                each.transport.abort()
            self.open -= 1
            async with self._changed:
                self._changed.notify_all()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int | None
    ) -> None:
        """Carry bytes to the end, or to the limit, where the connection breaks."""
        carried = 0
        while data := await source.read(65536):
            room = len(data) if limit is None else limit - carried
            sink.write(data[:room])
            await sink.drain()
            carried += len(data)
            if limit is not None and carried >= limit:
                self.cuts += 1
                break
        raise ConnectionResetError
