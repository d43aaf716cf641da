"""Ownership over the wire: a run that depends on whoever holds its stream."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from runcast.v1 import run_pb2
from tests.rpc.calls import Runs, pb

Ownership = pb.Ownership


def owned(**fields: Any) -> Any:
    """An ownership that cancels soon after its stream is gone."""
    message = pb.Ownership(policy=Ownership.DISCONNECT_POLICY_CANCEL, **fields)
    message.grace.FromMilliseconds(100)
    return message


def lasting(tmp_path: Path, **fields: Any) -> Any:
    """A start of something that lasts until a file is there."""
    start = pb.StartRunRequest(provider="until", request_id=str(uuid.uuid4()), **fields)
    start.input.json = f'{{"path": "{tmp_path / "end"}"}}'
    return start


def test_a_run_is_cancelled_when_the_stream_that_executes_it_is_gone(runs: Runs, tmp_path: Path) -> None:
    request = pb.ExecuteRunRequest(start=lasting(tmp_path), ownership=owned())
    call = runs.stub.ExecuteRun(request, timeout=60)
    run_id = next(call).frame.snapshot.run.id
    call.cancel()
    ended = runs.wait(run_id)
    assert ended.state == run_pb2.Run.STATE_CANCELLED
    assert ended.cancellation.initiator == run_pb2.Cancellation.INITIATOR_DISCONNECT


@pytest.mark.parametrize("how", ["execute", "attach"])
def test_a_run_whose_stream_goes_while_it_is_being_started_is_cancelled(
    runs: Runs, tmp_path: Path, how: str
) -> None:
    word = uuid.uuid4().hex
    for number in range(100):
        start = lasting(tmp_path, labels={"word": word})
        if how == "execute":
            call = runs.stub.ExecuteRun(pb.ExecuteRunRequest(start=start, ownership=owned()), timeout=60)
        else:
            opening = pb.AttachRunRequest(open=pb.AttachRunRequest.Open(start=start, ownership=owned()))
            call = runs.stub.AttachRun(iter([opening]), timeout=60)
        time.sleep(number % 10 / 2_000)  # at any moment of its start
        call.cancel()
    asked = pb.ListRunsRequest(filter=run_pb2.RunFilter(labels={"word": word}), page_size=1_000)
    found = runs.ListRuns(asked).runs
    assert found
    assert {runs.wait(run.id).state for run in found} == {run_pb2.Run.STATE_CANCELLED}


def test_without_an_ownership_it_goes_on(runs: Runs, tmp_path: Path) -> None:
    call = runs.stub.ExecuteRun(pb.ExecuteRunRequest(start=lasting(tmp_path)), timeout=60)
    run_id = next(call).frame.snapshot.run.id
    call.cancel()
    (tmp_path / "end").touch()
    assert runs.wait(run_id).state == run_pb2.Run.STATE_SUCCEEDED


def test_coming_back_under_the_same_id_keeps_it(runs: Runs, tmp_path: Path) -> None:
    start = lasting(tmp_path)
    ownership = owned(attachment_id="me")
    ownership.grace.FromSeconds(3)
    call = runs.stub.ExecuteRun(pb.ExecuteRunRequest(start=start, ownership=ownership), timeout=60)
    run_id = next(call).frame.snapshot.run.id
    call.cancel()
    again = runs.stub.ExecuteRun(pb.ExecuteRunRequest(start=start, ownership=ownership), timeout=60)
    assert next(again).frame.snapshot.run.id == run_id
    until = time.monotonic() + 4
    while time.monotonic() < until:  # longer than the grace: it is the time itself that is tested
        run = runs.GetRun(pb.GetRunRequest(run_id=run_id)).run
        assert run.state == run_pb2.Run.STATE_RUNNING
        time.sleep(0.2)
    (tmp_path / "end").touch()
    assert [response.frame.WhichOneof("frame") for response in again][-1] == "completed"
    assert runs.wait(run_id).state == run_pb2.Run.STATE_SUCCEEDED


class Attached:
    """An AttachRun of which a test holds both directions."""

    def __init__(self, runs: Runs, message: Any) -> None:
        self._more = [message]
        self._ended = False
        self.call = runs.stub.AttachRun(self._requests(), timeout=60)
        self.opened = next(self.call).opened

    def _requests(self) -> Iterator[Any]:
        while not self._ended or self._more:
            if self._more:
                yield self._more.pop(0)
            else:
                time.sleep(0.01)

    def send(self, message: Any) -> None:
        self._more.append(message)

    def close(self) -> None:
        self._ended = True


def test_only_an_explicit_detach_releases_an_attached_run(runs: Runs, tmp_path: Path) -> None:
    opening = pb.AttachRunRequest(open=pb.AttachRunRequest.Open(start=lasting(tmp_path), ownership=owned()))
    detaching = Attached(runs, opening)
    detaching.send(pb.AttachRunRequest(detach={}))
    list(detaching.call)
    assert detaching.call.code() is grpc.StatusCode.OK
    detaching.close()
    (tmp_path / "end").touch()
    assert runs.wait(detaching.opened.run.id).state == run_pb2.Run.STATE_SUCCEEDED


def test_an_attached_run_is_cancelled_when_its_client_goes(runs: Runs, tmp_path: Path) -> None:
    run = runs.start("until", f'{{"path": "{tmp_path / "end"}"}}')
    opening = pb.AttachRunRequest(open=pb.AttachRunRequest.Open(run_id=run.id, ownership=owned()))
    attached = Attached(runs, opening)
    assert attached.opened.attachment_id.startswith("attachment_")
    attached.call.cancel()
    attached.close()
    assert runs.wait(run.id).state == run_pb2.Run.STATE_CANCELLED


def test_half_closing_without_a_word_is_a_disconnect(runs: Runs, tmp_path: Path) -> None:
    opening = pb.AttachRunRequest(open=pb.AttachRunRequest.Open(start=lasting(tmp_path), ownership=owned()))
    attached = Attached(runs, opening)
    attached.close()
    ended = runs.wait(attached.opened.run.id)
    assert ended.cancellation.initiator == run_pb2.Cancellation.INITIATOR_DISCONNECT
    assert [answer.frame.WhichOneof("frame") for answer in attached.call][-1] == "completed"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"attachment_id": "x" * 129}, "ownership.attachment_id"),
        ({"grace": {"seconds": 24 * 3600 + 1}}, "ownership.grace"),
        ({"grace": {"seconds": -1}}, "ownership.grace"),
    ],
)
def test_a_field_of_the_ownership_that_is_wrong_is_named(runs: Runs, fields: Any, field: str) -> None:
    request = pb.ExecuteRunRequest(start={"provider": "nothing"}, ownership={"policy": 2, **fields})
    with pytest.raises(grpc.RpcError) as error:
        list(runs.ExecuteRun(request))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in str(error.value)
