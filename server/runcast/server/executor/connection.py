"""The server's end of an attempt's connection."""

import asyncio
import contextlib
import socket

from runcast.server.executor import wire

_CHUNK = 65_536


class Connection:
    """Frames out, bytes in. What is read is read also when nothing can be written any more: the end comes last.

    That is why it is no asyncio transport, which throws away what it has not yet read when a write fails.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._unsent = bytearray()

    def tell(self, message: wire.ToProcess) -> None:
        """Send, now or as soon as there is room."""
        idle = not self._unsent
        self._unsent += wire.frame(message)
        if idle:
            self._send()
            if self._unsent:
                self._loop.add_writer(self._socket, self._resume)

    async def read(self) -> bytes:
        """What has come, nothing at the end. Not called, it lets the process wait."""
        try:
            return await self._loop.sock_recv(self._socket, _CHUNK)
        except OSError:
            return b""

    def hang_up(self, _reason: object = None) -> None:
        """Let `read` end after what has come, although somebody may still hold the other end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Let go of the socket."""
        self._loop.remove_writer(self._socket)
        self._socket.close()

    def _send(self) -> None:
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # the process is gone; how it ended is heard from the other direction

    def _resume(self) -> None:
        self._send()
        if not self._unsent:
            self._loop.remove_writer(self._socket)
