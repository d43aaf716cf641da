"""Calls in which the client streams: each message is read by itself, and what cannot be read is told as such."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from runcast.server.model.errors import InvalidArgument
from runcast.server.rpc.handlers import register
from runcast.v1 import artifact_service_pb2
from tests.rpc.calls import PATIENCE, refusal

pb: Any = artifact_service_pb2


class Writing:
    """Counts what comes in."""

    async def WriteArtifact(self, requests: AsyncIterator[Any], context: Any) -> object:  # noqa: N802
        """As many bytes as there were messages."""
        count = 0
        async for request in requests:
            assert isinstance(request, artifact_service_pb2.WriteArtifactRequest)
            count += 1
        if count > 2:
            raise InvalidArgument.of("requests", "too many")
        response = pb.WriteArtifactResponse()
        response.artifact.size_bytes = count
        return response


@pytest.fixture
async def write() -> AsyncIterator[Any]:
    """WriteArtifact with bytes for messages."""
    server = grpc.aio.server()
    assert register(server, artifact_service_pb2.DESCRIPTOR, Writing()) == [
        "runcast.v1.ArtifactService/WriteArtifact"
    ]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.stream_unary("/runcast.v1.ArtifactService/WriteArtifact")
    await server.stop(None)


async def test_each_message_of_a_stream_is_given_as_it_comes(write: Any) -> None:
    answer = await write(iter([b"", b""]), timeout=PATIENCE)
    assert pb.WriteArtifactResponse.FromString(answer).artifact.size_bytes == 2


@pytest.mark.parametrize("messages", [[b"\xff\xff"], [b"", b"\xff\xff"], [b"", b"", b""]])
async def test_what_is_wrong_with_a_message_is_the_calls_status(write: Any, messages: list[bytes]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await write(iter(messages), timeout=PATIENCE)
    code, reason, details = refusal(error.value)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert details["BadRequest"].field_violations[0].field in ("request", "requests")
