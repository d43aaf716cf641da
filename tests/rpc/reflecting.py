"""A client that knows nothing but reflection: what grpcurl does, in Python."""

from itertools import islice
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2


class ReflectingClient:
    """Calls by name with JSON, over `version` of the reflection service (`v1` or `v1alpha`)."""

    def __init__(self, channel: grpc.Channel, version: str) -> None:
        self._channel = channel
        self._ask = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        self._pool = descriptor_pool.DescriptorPool()
        self._known: set[str] = set()

    def services(self) -> list[str]:
        """The names of all services."""
        answer = self._one(reflection_pb2.ServerReflectionRequest(list_services=""))
        return [service.name for service in answer.list_services_response.service]

    def methods(self, service: str) -> list[MethodDescriptor]:
        """The methods of a service."""
        self._learn(reflection_pb2.ServerReflectionRequest(file_containing_symbol=service))
        return list(self._pool.FindServiceByName(service).methods)

    def call(self, path: str, json: str = "{}", most: int | None = None) -> list[dict[str, Any]]:
        """`package.Service/Method` with a JSON request; all its responses (or at `most` so many) as JSON values."""
        service, _, name = path.partition("/")
        method = next(method for method in self.methods(service) if method.name == name)
        # What an Any in the answer may hold: the details of errors, and an operation's own messages.
        for packed in ("google.rpc.ErrorInfo", "runcast.v1.RunOperationMetadata"):
            self._learn(reflection_pb2.ServerReflectionRequest(file_containing_symbol=packed))
        request = json_format.Parse(json, GetMessageClass(method.input_type)())
        response = GetMessageClass(method.output_type)
        make: Any = {
            (False, False): self._channel.unary_unary,
            (False, True): self._channel.unary_stream,
            (True, False): self._channel.stream_unary,
            (True, True): self._channel.stream_stream,
        }[method.client_streaming, method.server_streaming]
        answer: Any = make(
            f"/{path}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )(iter([request]) if method.client_streaming else request, timeout=20)
        answers = list(islice(answer, most)) if method.server_streaming else [answer]
        if most is not None and method.server_streaming:
            answer.cancel()
        return [json_format.MessageToDict(each, descriptor_pool=self._pool) for each in answers]

    def _one(
        self, request: reflection_pb2.ServerReflectionRequest
    ) -> reflection_pb2.ServerReflectionResponse:
        (answer,) = self._ask(iter([request]), timeout=20)
        assert not answer.HasField("error_response"), answer
        return answer

    def _learn(self, request: reflection_pb2.ServerReflectionRequest) -> None:
        for raw in self._one(request).file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(raw)
            if file.name in self._known:
                continue
            self._known.add(file.name)
            for needed in file.dependency:
                if needed not in self._known:
                    self._learn(reflection_pb2.ServerReflectionRequest(file_by_filename=needed))
            self._pool.Add(file)
