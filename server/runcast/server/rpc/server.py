"""The gRPC server: settings, services, health, reflection, and the order in which it goes away."""

import asyncio
from collections.abc import Callable

import grpc
from google.longrunning import operations_proto_pb2
from google.protobuf.descriptor import FileDescriptor
from google.rpc import error_details_pb2  # noqa: F401 - reflection must know the details of our errors
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from runcast.server.engine.engine import Engine
from runcast.server.model.errors import StorageError
from runcast.server.rpc.about import MAX_REQUEST, ServerServicer
from runcast.server.rpc.attaching import AttachServicer
from runcast.server.rpc.boards import BoardServicer
from runcast.server.rpc.control import ControlServicer
from runcast.server.rpc.following import FollowServicer
from runcast.server.rpc.handlers import register, service_names
from runcast.server.rpc.operations import OperationServicer
from runcast.server.rpc.providers import ProviderServicer
from runcast.server.rpc.runs import RunServicer
from runcast.server.rpc.tasks import TaskServicer
from runcast.v1 import (
    artifact_service_pb2,
    provider_service_pb2,
    queue_service_pb2,
    run_service_pb2,
    schedule_service_pb2,
    server_service_pb2,
    task_service_pb2,
)

_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 10 * 60_000),
    ("grpc.max_concurrent_streams", 10_000),
]
_STREAMS_END = 2.0


class PortInUse(StorageError):
    """The address cannot be listened on."""

    reason = "ADDRESS"


class Server:
    """Serves an engine at one address."""

    def __init__(self, engine: Engine, now: Callable[[], int]) -> None:
        self._engine = engine
        self._server = grpc.aio.server(options=_OPTIONS)
        self._health = health.aio.HealthServicer()
        about = ServerServicer(engine, now)
        services: list[tuple[FileDescriptor, tuple[object, ...]]] = [
            (
                run_service_pb2.DESCRIPTOR,
                (
                    RunServicer(engine),
                    FollowServicer(engine, now),
                    BoardServicer(engine, now),
                    ControlServicer(engine),
                    AttachServicer(engine, now),
                ),
            ),
            (provider_service_pb2.DESCRIPTOR, (ProviderServicer(engine),)),
            (server_service_pb2.DESCRIPTOR, (about,)),
            (task_service_pb2.DESCRIPTOR, (TaskServicer(engine),)),
            (schedule_service_pb2.DESCRIPTOR, ()),
            (artifact_service_pb2.DESCRIPTOR, ()),
            (queue_service_pb2.DESCRIPTOR, ()),
            (operations_proto_pb2.DESCRIPTOR, (OperationServicer(engine),)),
        ]
        about.methods = sorted(
            name for file, servicers in services for name in register(self._server, file, *servicers)
        )
        self._names = service_names([file for file, _ in services])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._reflect()

    def _reflect(self) -> None:
        names = [
            *self._names,
            health.SERVICE_NAME,
            reflection.SERVICE_NAME,
            "grpc.reflection.v1.ServerReflection",
        ]
        reflection.enable_server_reflection(names, self._server)
        servicer = reflection.aio.ReflectionServicer(names)
        handler = grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        v1 = grpc.method_handlers_generic_handler(
            "grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": handler}
        )
        self._server.add_generic_rpc_handlers([v1])

    async def start(self, listen: str) -> int:
        """Bind and serve; answers the port. PortInUse where the address cannot be had."""
        try:
            port = self._server.add_insecure_port(listen)
        except RuntimeError:
            port = 0
        if port == 0:
            message = f"cannot listen on {listen}: in use, or not an address of this machine; try --listen 127.0.0.1:0"
            raise PortInUse(message)
        await self._server.start()
        await self._tell_health(serving=True)
        return port

    async def _tell_health(self, *, serving: bool) -> None:
        response = health_pb2.HealthCheckResponse
        status = response.SERVING if serving else response.NOT_SERVING
        for name in ("", *self._names):
            await self._health.set(name, status)

    async def drain(self, seconds: float) -> None:
        """Not serving, nothing new, streams told to go, attempts brought to a good place."""
        await self._tell_health(serving=False)
        await self._engine.drain(seconds)

    async def stop(self) -> None:
        """Take no more calls; those under way have a moment to end."""
        self._engine.announce_drain()
        await asyncio.wait_for(self._server.stop(_STREAMS_END), _STREAMS_END + 1)
