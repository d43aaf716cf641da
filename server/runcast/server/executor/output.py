"""What a process writes to its standard output and error past the provider's capture: log lines of its run."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from runcast.server.model.event import LogLine, Report, Severity

_CHUNK = 32_768
# A line that does not end is cut: an event has a limit, and a terminal's progress bar never sends a newline.
_LONGEST_LINE = 16_384


class RawOutput:
    """One pipe, read when there is something in it and as fast as `tell` takes the lines."""

    def __init__(
        self, pipe: int, logger: str, severity: Severity, tell: Callable[[Report], Awaitable[object]]
    ) -> None:
        self._pipe = pipe
        self._logger = logger
        self._severity = severity
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._task: asyncio.Task[None] | None = None
        self._last = False
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._readable)

    async def rest(self) -> None:
        """Take what is left, once nobody writes any more."""
        self._last = True
        self._loop.remove_reader(self._pipe)
        if self._task is not None:
            await self._task
        while data := self._take():
            await self._lines(data)
        await self._lines(b"\n" if self._rest else b"")

    def close(self) -> None:
        """Let go of the pipe."""
        if self._task is not None:
            self._task.cancel()
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)

    def _readable(self) -> None:
        self._loop.remove_reader(self._pipe)
        self._task = self._loop.create_task(self._pump())

    async def _pump(self) -> None:
        while data := self._take():
            await self._lines(data)
            await asyncio.sleep(0)  # as for reports: others want a turn
        if data is None and not self._last:
            self._loop.add_reader(self._pipe, self._readable)

    def _take(self) -> bytes | None:
        """Bytes; none at the end; None where there are none now."""
        try:
            return os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return None

    async def _lines(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) >= _LONGEST_LINE:
            lines.append(self._rest[:_LONGEST_LINE])
            self._rest = self._rest[_LONGEST_LINE:]
        for line in lines:
            for start in range(0, len(line) or 1, _LONGEST_LINE):
                text = line[start : start + _LONGEST_LINE].decode(errors="replace")
                await self._tell(LogLine(self._severity, text.rstrip("\r"), self._logger))
