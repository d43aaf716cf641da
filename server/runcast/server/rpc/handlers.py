"""Registers servicers from the contract's descriptors, with what every call needs done once, at registration."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from runcast.server.model.errors import FeatureOff, InvalidArgument, RuncastError
from runcast.server.rpc.status import DETAILS_KEY, status_of

log = logging.getLogger(__name__)
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def register(server: grpc.aio.Server, file: FileDescriptor, *servicers: object) -> list[str]:
    """Serve every RPC of the file's service by the method of that name that one of the servicers has; answers the names
    of those, as `runcast.v1.RunService/StartRun`. An RPC without a method answers UNIMPLEMENTED, FEATURE_OFF.

    A unary method is a coroutine function, a streaming one an async generator function; both take (request, context),
    raise errors of our tree, and may give messages or their bytes. Where the client streams, the request is an async
    iterator of messages, which ends in the same way when the client has said all and when it has gone.
    """
    on: list[str] = []
    for service in file.services_by_name.values():
        handlers = {}
        for method in service.methods:
            found = (getattr(servicer, method.name, None) for servicer in servicers)
            function = next(filter(None, found), None)
            name = f"{service.full_name}/{method.name}"
            if function is not None:
                on.append(name)
            handlers[method.name] = _handler(method, function or _switched_off(name, method.server_streaming))
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service.full_name, handlers)])
    return on


def _handler(method: MethodDescriptor, function: Callable[..., Any]) -> _Handler:
    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    make: Callable[..., _Handler] = kinds[method.client_streaming, method.server_streaming]
    read = _readable_each if method.client_streaming else _readable
    guarded = _streaming(function, read) if method.server_streaming else _unary(function, read)
    parse = _parser(GetMessageClass(method.input_type))
    return make(guarded, request_deserializer=parse, response_serializer=_bytes)


class _Unreadable:
    """What came instead of a request: gRPC would answer UNKNOWN with Python's words for it."""


def _parser(message: type[Message]) -> Callable[[bytes], Message | _Unreadable]:
    parse = message.FromString

    def read(data: bytes) -> Message | _Unreadable:
        try:
            return parse(data)
        except DecodeError:
            return _Unreadable()

    return read


def _readable(request: Any) -> Any:
    if type(request) is _Unreadable:
        expected = (
            "not a message of this call, text that is not UTF-8, or nested too deep: send JSON in `json`"
        )
        raise InvalidArgument.of("request", expected)
    return request


async def _readable_each(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _readable(request)


def _bytes(response: Message | bytes) -> bytes:
    return response if type(response) is bytes else response.SerializeToString()  # type: ignore[union-attr]


_Read = Callable[[Any], Any]


def _unary(function: Callable[..., Awaitable[object]], read: _Read) -> Callable[..., Awaitable[object]]:
    async def call(request: object, context: Context) -> object:
        try:
            return await function(read(request), context)
        except BaseException as error:  # noqa: BLE001 - every way out of a call ends in a status
            await _fail(context, error)
            return None

    return call


def _streaming(
    function: Callable[..., AsyncIterator[object]], read: _Read
) -> Callable[..., AsyncIterator[object]]:
    async def call(request: object, context: Context) -> AsyncIterator[object]:
        opened: list[Any] = []
        try:
            opened.append(read(request))
            opened.append(function(opened[0], context))
            async for frame in opened[-1]:
                yield frame
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            await _fail(context, error)
        finally:
            for generator in reversed(opened):
                if isinstance(generator, AsyncGenerator):
                    await generator.aclose()

    return call


async def _fail(context: Context, error: BaseException) -> None:
    """End the call with the error's status; a cancellation of this very call goes on, any other must not escape."""
    if isinstance(error, grpc.aio.AbortError | KeyboardInterrupt | SystemExit):
        raise error
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise error
        error = RuncastError("the server stopped what this call waited for")
    if not isinstance(error, RuncastError):
        log.error("a call failed in a way that it should not", exc_info=error)
        error = RuncastError("internal error; the server's log has it")
    status = status_of(error)
    trailers = ((DETAILS_KEY, status.SerializeToString()),)
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    await context.abort(code, status.message, trailers)


def _switched_off(name: str, streaming: bool) -> Callable[..., Any]:
    error = FeatureOff(f"{name} is not switched on here; GetServerInfo lists what is")

    async def unary(request: object, context: Context) -> object:
        raise error

    async def stream(request: object, context: Context) -> AsyncIterator[object]:
        nothing: tuple[object, ...] = ()
        for frame in nothing:
            yield frame
        raise error

    return stream if streaming else unary


def service_names(files: Sequence[FileDescriptor]) -> list[str]:
    """The full names of all services of these files."""
    return [service.full_name for file in files for service in file.services_by_name.values()]
