"""One connection to a server: its channel, its credentials, and unary calls that are repeated where that is safe."""

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import Int32Value, StringValue
from google.rpc import status_pb2

from runcast.client.backoff import Backoff, Deadline, Patience
from runcast.client.errors import ClientClosed, RpcError, Unavailable, error_of, rpc_error
from runcast.v1 import (
    provider_service_pb2_grpc,
    run_service_pb2_grpc,
    server_service_pb2_grpc,
    task_service_pb2_grpc,
)

Request = TypeVar("Request")
Response = TypeVar("Response")
OnRetry = Callable[[RpcError, float], None]
"""Told of each failure that is about to be repeated, and in how many seconds."""

_HEALTH = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_OPTIONS: tuple[tuple[str, int | str], ...] = (
    # A dead peer is noticed in 40 s, also between two events; proxies need the heartbeats of a stream as well.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # The defaults leave a client waiting for two minutes after a server is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Without this, all clients of a process share one connection and its failures.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.primary_user_agent", "runcast-python"),
)


class Connection:
    """An open channel. Must be made in the event loop that uses it."""

    def __init__(
        self,
        target: str,
        *,
        token: str | None,
        tls: bool,
        root_certificates: bytes | None,
        timeout: float,
        patience: float | None,
        backoff: Backoff,
        on_retry: OnRetry | None,
        options: Sequence[tuple[str, int | str]],
    ) -> None:
        local = is_local(target)
        if token and not (tls or local):
            raise ValueError(f"a token would travel to {target} in clear text: use tls=True")
        proxy = (("grpc.enable_http_proxy", 0),) if local else ()
        chosen = [*_OPTIONS, *proxy, *options]
        if tls:
            credentials = grpc.ssl_channel_credentials(root_certificates)
            self.channel = grpc.aio.secure_channel(target, credentials, chosen)
        else:
            self.channel = grpc.aio.insecure_channel(target, chosen)
        self.runs = run_service_pb2_grpc.RunServiceStub(self.channel)
        self.providers = provider_service_pb2_grpc.ProviderServiceStub(self.channel)
        self.server = server_service_pb2_grpc.ServerServiceStub(self.channel)
        self.tasks = task_service_pb2_grpc.TaskServiceStub(self.channel)
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self.timeout = timeout
        self._patience = patience
        self._backoff = backoff
        self._on_retry = on_retry
        self.closed = False

    async def close(self) -> None:
        """End all calls; idempotent."""
        self.closed = True
        await self.channel.close()

    def patience(self) -> Patience:
        """A fresh patience, for one call or one stream."""
        return Patience(self._patience, self._backoff)

    async def pause(self, error: RpcError, patience: Patience, *, left: float | None = None) -> None:
        """Wait until the call that failed may be repeated; raises the error where patience or time end before."""
        wait = patience.wait(error.retry_after)
        if wait is None or (left is not None and wait >= left):
            raise error
        if self._on_retry is not None:
            self._on_retry(error, wait)
        await asyncio.sleep(wait)

    async def unary(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float | None = None,
    ) -> Response:
        """Make a call that is safe to repeat, and repeat it while the server is unavailable and time is left."""
        patience = self.patience()
        deadline = Deadline(self.timeout if timeout is None else timeout)
        repeated = False
        while True:
            try:
                return await self.once(method, request, timeout=deadline.left)
            except Unavailable as error:
                error.repeated, repeated = repeated, True
                await self.pause(error, patience, left=deadline.left)
            except RpcError as error:
                error.repeated = repeated
                raise

    async def once(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float,
    ) -> Response:
        """Make a call; raises an error of our tree where it fails."""
        self.raise_if_closed()
        try:
            return await method(request, timeout=timeout, metadata=self.metadata)
        except grpc.aio.AioRpcError as failure:
            raise error_from(failure) from None
        except asyncio.CancelledError:
            self.raise_if_closed()
            raise

    async def health(self, service: str) -> str:
        """What `grpc.health.v1` says of a service. Its two messages have one field each, on the wire the same as a
        wrapped string and a wrapped number: no package is needed to speak them."""
        check: grpc.aio.UnaryUnaryMultiCallable[StringValue, Int32Value] = self.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=StringValue.SerializeToString,
            response_deserializer=Int32Value.FromString,
        )
        answer = await self.once(check, StringValue(value=service), timeout=self.timeout)
        return _HEALTH[answer.value] if 0 <= answer.value < len(_HEALTH) else _HEALTH[0]

    def raise_if_closed(self) -> None:
        """Closing a channel cancels its calls, but not the tasks that wait for them: tell them apart."""
        task = asyncio.current_task()
        if self.closed and not (task and task.cancelling()):
            raise ClientClosed("the client is closed") from None


def error_from(failure: grpc.aio.AioRpcError) -> RpcError:
    """The error that a failed call stands for: by its status in full where the server sent one."""
    for key, value in failure.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return error_of(status_pb2.Status.FromString(value))
            except DecodeError:
                break
    return rpc_error(failure.code().name, failure.details() or "")


def is_local(target: str) -> bool:
    """Whether what is sent there stays on this machine, as far as its name tells."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    for scheme in ("dns:///", "dns:", "ipv4:", "ipv6:"):
        target = target.removeprefix(scheme)
    host = target.rpartition(":")[0] if target.count(":") == 1 or "]:" in target else target
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
