"""RunService with less to write, and errors as their details."""

from collections.abc import Iterator
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from runcast.v1 import run_pb2, run_service_pb2, watch_pb2

PATIENCE = 20
pb: Any = run_service_pb2
"""RunService's messages, made from plain dictionaries."""


def stub_of(make: Any, channel: grpc.Channel) -> Any:
    """A blocking stub; the generated types know the asynchronous one only."""
    return make(channel)


class Runs:
    """The stub, with a deadline on every call."""

    def __init__(self, stub: Any) -> None:
        self.stub = stub

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.stub, name)
        return lambda request: method(request, timeout=PATIENCE)

    def start(self, provider: str, json: str = "{}", **fields: Any) -> run_pb2.Run:
        """A started run."""
        request = pb.StartRunRequest(provider=provider, input={"json": json}, **fields)
        run: run_pb2.Run = self.StartRun(request).run
        return run

    def finished(self, provider: str, json: str = "{}", **fields: Any) -> run_pb2.Run:
        """A run that has come to its end."""
        return self.start(provider, json, wait={"seconds": PATIENCE}, **fields)

    def wait(self, run_id: str) -> run_pb2.Run:
        """The run at its end."""
        run: run_pb2.Run = self.WaitRun(pb.WaitRunRequest(run_id=run_id, timeout={"seconds": PATIENCE})).run
        return run

    def watch(self, run_id: str, **fields: Any) -> Iterator[watch_pb2.WatchFrame]:
        """The frames of a watch."""
        for response in self.WatchRun(pb.WatchRunRequest(run_id=run_id, **fields)):
            yield response.frame

    def events(self, run_id: str, **fields: Any) -> list[bytes]:
        """All events of a watch to the end, as bytes."""
        frames = self.watch(run_id, **fields)
        return [event.SerializeToString() for frame in frames for event in frame.batch.events]


def refusal(error: Any) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    """An error's status, reason, and details by their type's name."""
    status = status_pb2.Status()
    trailers = dict(error.trailing_metadata() or ())
    raw = trailers["grpc-status-details-bin"]
    assert isinstance(raw, bytes)
    assert len(raw) < 6_144
    status.ParseFromString(raw)
    assert status.message == error.details()
    details: dict[str, Any] = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        details[name] = getattr(error_details_pb2, name).FromString(packed.value)
    info = details["ErrorInfo"]
    assert info.domain == "runcast.v1"
    return error.code(), info.reason, details
