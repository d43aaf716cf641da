"""Any RPC of the contract by its name: `RunService/StartRun` with a plain dictionary."""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from runcast.v1 import (
    artifact_service_pb2,
    provider_service_pb2,
    queue_service_pb2,
    run_service_pb2,
    schedule_service_pb2,
    server_service_pb2,
    task_service_pb2,
)

PATIENCE = 20
_FILES = (
    artifact_service_pb2, provider_service_pb2, queue_service_pb2, run_service_pb2, schedule_service_pb2,
    server_service_pb2, task_service_pb2,
)  # fmt: skip

METHODS: dict[str, MethodDescriptor] = {
    f"{service.name}/{method.name}": method
    for file in _FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""Every RPC of the contract."""


class Door:
    """Calls over one channel; a streaming answer is read to its end."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def call(self, name: str, *requests: Mapping[str, Any] | bytes) -> list[Any]:
        """All answers to these requests, each in the words of JSON or as raw bytes; raises grpc.RpcError."""
        method = METHODS[name]
        make: Any = {
            (False, False): self._channel.unary_unary,
            (False, True): self._channel.unary_stream,
            (True, False): self._channel.stream_unary,
            (True, True): self._channel.stream_stream,
        }[method.client_streaming, method.server_streaming]
        stub = make(
            f"/{method.full_name.rpartition('.')[0]}/{method.name}",
            request_serializer=lambda request: _bytes(method, request),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        answer = stub(iter(requests) if method.client_streaming else requests[0], timeout=PATIENCE)
        return list(_each(answer)) if method.server_streaming else [answer]


def _each(answer: Iterable[Message]) -> Iterable[Message]:
    yield from answer


def _bytes(method: MethodDescriptor, request: Mapping[str, Any] | bytes) -> bytes:
    if isinstance(request, bytes):
        return request
    return ParseDict(dict(request), GetMessageClass(method.input_type)()).SerializeToString()
