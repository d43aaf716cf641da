"""A server that answers each call with what the test has put there for it, whatever the call is."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from tests.client.scripted import Context, refuse

Script = Callable[[AsyncIterator[bytes]], AsyncIterator[Message]]
"""What one stream sends; a google.rpc.Status ends it."""


class Answering(grpc.GenericRpcHandler):
    """Answers by the name of the method, in order; each request is kept as it came."""

    def __init__(self) -> None:
        self.unary: dict[str, deque[Message]] = defaultdict(deque)
        self.streams: dict[str, deque[Script]] = defaultdict(deque)
        self.requests: dict[str, list[bytes]] = defaultdict(list)
        self.port = 0
        self.open_streams = 0
        self.changed = asyncio.Condition()

    def service(self, handler_call_details: Any) -> Any:
        """The handler of this method."""
        name = handler_call_details.method.rpartition("/")[2]

        async def unary(request: bytes, context: Context) -> bytes:
            return await self._answer(name, request, context)

        async def stream(request: bytes, context: Context) -> AsyncIterator[bytes]:
            async for answer in self._stream(name, _one(request), context):
                yield answer

        async def both(sent: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            async for answer in self._stream(name, sent, context):
                yield answer

        match name:
            case "AttachRun":
                return grpc.stream_stream_rpc_method_handler(both)
            case "WatchRuns":
                return grpc.unary_stream_rpc_method_handler(stream)
            case _:
                return grpc.unary_unary_rpc_method_handler(unary)

    async def _answer(self, name: str, request: bytes, context: Context) -> bytes:
        self.requests[name].append(request)
        answer = self.unary[name].popleft()
        if isinstance(answer, status_pb2.Status):
            await refuse(answer, context)
        written: bytes = answer.SerializeToString()
        return written

    async def _stream(self, name: str, sent: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        self.open_streams += 1
        try:
            async for answer in self.streams[name].popleft()(self._noted(name, sent)):
                if isinstance(answer, status_pb2.Status):
                    await refuse(answer, context)
                yield answer.SerializeToString()
        finally:
            self.open_streams -= 1
            async with self.changed:
                self.changed.notify_all()

    async def _noted(self, name: str, sent: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for request in sent:
            self.requests[name].append(request)
            yield request

    async def streams_end(self) -> None:
        """Return once no stream is open."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.open_streams == 0)


async def _one(request: bytes) -> AsyncIterator[bytes]:
    yield request


def says(*answers: Message, stays: bool = False) -> Script:
    """A stream that hears its first request and sends these, and stays open then, or ends."""

    async def script(sent: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        await anext(sent)
        for answer in answers:
            yield answer
        if stays:
            await asyncio.Event().wait()

    return script
