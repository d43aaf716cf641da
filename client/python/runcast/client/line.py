"""A stream that may break: read message by message, over as many calls as it takes."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import grpc
import grpc.aio

from runcast.client.connection import Connection, error_from
from runcast.client.errors import Details, ResourceExhausted, RpcError, Unavailable
from runcast.v1 import watch_pb2

Call = grpc.aio.UnaryStreamCall[Any, Any] | grpc.aio.StreamStreamCall[Any, Any]
Response = TypeVar("Response")

HEARTBEAT = 15.0
"""Seconds between two signs of life, where a stream does not ask for others."""
_SILENCE = 3
_FAREWELL = 1.0
_FROM_THE_NETWORK = frozenset({"INTERNAL", "UNKNOWN", "CANCELLED", "DEADLINE_EXCEEDED"})


class Line(Generic[Response]):
    """The line to one stream. `dial` makes a call that goes on where the last one ended; `hung_up` is told of each end
    of a call."""

    def __init__(
        self,
        connection: Connection,
        dial: Callable[[], Call],
        heartbeat: float | None = None,
        hung_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._dial = dial
        self._hung_up = hung_up
        self._silence = _SILENCE * (heartbeat or HEARTBEAT)
        self._call: Call | None = None
        self.patience = connection.patience()

    async def read(self) -> Response | None:
        """The next message of the call, which is made where there is none; None where the call ended well."""
        fresh = self._call is None
        if self._call is None:
            self._connection.raise_if_closed()
            self._call = self._dial()
        limit = self._connection.timeout if fresh else self._silence
        try:
            async with asyncio.timeout(limit):
                response = await self._call.read()
        except TimeoutError:
            raise Unavailable(f"the stream gave no sign of life for {limit:g} s") from None
        except grpc.aio.AioRpcError as failure:
            raise error_from(failure) from None
        except asyncio.CancelledError:
            # The call ended with the wait for it. Nothing is lost: the next one begins where the last message ended.
            self.drop()
            self._connection.raise_if_closed()
            raise
        return None if response is grpc.aio.EOF else cast(Response, response)

    async def recover(self, error: RpcError, *, known: bool) -> None:
        """Wait until the stream may be taken up again; raises the error where that is no use. `known` is whether the
        stream had begun."""
        self.drop()
        if not _is_disconnect(error, known):
            raise error
        await self._connection.pause(error, self.patience)

    async def finish(self) -> None:
        """Let the call end by itself, so that the server does not count it as broken off."""
        if self._call is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._call.code()
            self.drop()

    def drop(self) -> None:
        """End the call, which lives on otherwise, even where nobody refers to it any more."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
            self._hung_up()


def _is_disconnect(error: RpcError, known: bool) -> bool:
    """Whether to take the stream up again. Before its first message only a plain disconnect is one: whoever mistyped an
    address should hear of it at once."""
    if isinstance(error, Unavailable):
        return True
    if not known:
        return False
    crowded = isinstance(error, ResourceExhausted) and error.retry_after is not None
    return crowded or (not error.reason and error.code in _FROM_THE_NETWORK)


def going_away(frame: watch_pb2.WatchFrame.GoingAway) -> Unavailable:
    """What the server's farewell amounts to: a disconnect that says when to come back."""
    known = watch_pb2.WatchFrame.GoingAway.Reason.DESCRIPTOR.values_by_number.get(frame.reason)
    reason = known.name.removeprefix("REASON_") if known else "UNSPECIFIED"
    delay = frame.retry_after.ToNanoseconds() / 1e9
    return Unavailable(
        f"the server ends the stream: {reason}", details=Details(reason=reason, retry_after=delay)
    )
