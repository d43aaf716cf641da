"""ListRunEvents and DeleteRun over the wire: pages of a journal as a watch replays it, and what is left of a run."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from runcast.v1 import run_service_pb2
from tests.rpc.calls import Runs, pb, refusal
from tests.rpc.reflecting import ReflectingClient


def page(runs: Runs, run_id: str, **fields: Any) -> run_service_pb2.ListRunEventsResponse:
    response: run_service_pb2.ListRunEventsResponse = runs.ListRunEvents(
        pb.ListRunEventsRequest(run_id=run_id, **fields)
    )
    return response


def pages(runs: Runs, run_id: str, **fields: Any) -> list[run_service_pb2.ListRunEventsResponse]:
    """All pages of a list."""
    found = [page(runs, run_id, **fields)]
    while found[-1].next_page_token:
        found.append(page(runs, run_id, page_token=found[-1].next_page_token, **fields))
    return found


def test_the_pages_together_are_what_a_watch_replays(runs: Runs) -> None:
    run = runs.finished("talk", '{"lines": 700}')
    found = pages(runs, run.id, page_size=300)
    assert [len(one.events) for one in found] == [300, 300, run.last_sequence - 600]
    assert [event.SerializeToString() for one in found for event in one.events] == runs.events(run.id)
    assert {(one.first_sequence, one.last_sequence) for one in found} == {(1, run.last_sequence)}
    assert [one.resume_sequence for one in found] == [300, 600, run.last_sequence]
    assert [len(one.events) for one in pages(runs, run.id, after_sequence=690)] == [run.last_sequence - 690]
    assert len(page(runs, run.id).events) == 50


def test_a_filter_hides_events_and_the_place_to_go_on_from_passes_over_them(runs: Runs) -> None:
    run = runs.finished("talk", '{"lines": 60}')
    found = pages(runs, run.id, event_types=["state_changed"], page_size=2)
    sequences = [event.sequence for one in found for event in one.events]
    assert sequences == [1, 2, run.last_sequence]
    assert found[0].resume_sequence == run.last_sequence - 1
    first = page(runs, run.id, event_types=["log", "attempt_started"], page_size=1)
    assert (first.events[0].WhichOneof("event"), first.resume_sequence) == ("attempt_started", 3)


def test_a_page_that_a_filter_leaves_nearly_empty_is_cut_by_what_was_looked_through(runs: Runs) -> None:
    run = runs.finished("talk", '{"lines": 12000}')
    found = pages(runs, run.id, event_types=["attempt_finished"])
    assert len(found) >= 3
    assert [len(one.events) for one in found] == [0] * (len(found) - 1) + [1]
    assert all(one.resume_sequence for one in found)


def test_a_page_is_cut_by_its_bytes(runs: Runs) -> None:
    run = runs.finished("shout", '{"lines": 120, "size": 50000}')
    found = pages(runs, run.id, page_size=1_000)
    assert len(found) >= 2
    assert all(one.ByteSize() < 4 << 20 for one in found)
    assert sum(len(one.events) for one in found) == run.last_sequence


def test_a_list_of_a_running_run_ends_and_goes_on_where_it_ended(runs: Runs, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = runs.start("until", f'{{"path": "{gate}", "lines": 5}}')
    while runs.GetRun(pb.GetRunRequest(run_id=run.id)).run.last_sequence < 8:
        pass
    early = page(runs, run.id)
    assert (early.next_page_token, early.resume_sequence, len(early.events)) == ("", 8, 8)
    gate.touch()
    runs.wait(run.id)
    late = page(runs, run.id, after_sequence=early.resume_sequence)
    assert [event.sequence for event in late.events] == list(range(9, late.last_sequence + 1))


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"after_sequence": 999}, grpc.StatusCode.OUT_OF_RANGE, "SEQUENCE_AHEAD"),
        ({"after_sequence": -1}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({"event_types": ["nope"]}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({"page_size": -1}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({"page_token": "AAAA"}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    ],
)
def test_what_cannot_be_listed_says_why(
    runs: Runs, fields: dict[str, Any], code: grpc.StatusCode, reason: str
) -> None:
    run = runs.finished("nothing")
    with pytest.raises(grpc.RpcError) as error:
        page(runs, run.id, **fields)
    assert refusal(error.value)[:2] == (code, reason)


def test_a_token_is_of_its_list_only(runs: Runs) -> None:
    one, other = [runs.finished("talk", '{"lines": 10}') for _ in range(2)]
    token = page(runs, one.id, page_size=2).next_page_token
    for run_id, fields in (
        (other.id, {}),
        (one.id, {"event_types": ["log"]}),
    ):
        with pytest.raises(grpc.RpcError) as error:
            page(runs, run_id, page_token=token, **fields)
        assert refusal(error.value)[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert page(runs, one.id, page_size=5, page_token=token).events[0].sequence == 3
    ignored = page(runs, one.id, page_size=5, page_token=token, after_sequence=9)
    assert ignored.events[0].sequence == 3


def test_a_deleted_run_is_not_found_and_its_request_id_stays_taken(runs: Runs) -> None:
    run = runs.finished("talk", '{"lines": 10}', request_id="kept")
    runs.DeleteRun(pb.DeleteRunRequest(run_id=run.id))
    for call in (
        lambda: runs.GetRun(pb.GetRunRequest(run_id=run.id)),
        lambda: runs.DeleteRun(pb.DeleteRunRequest(run_id=run.id)),
        lambda: page(runs, run.id),
        lambda: list(runs.watch(run.id)),
        lambda: runs.finished("talk", '{"lines": 10}', request_id="kept"),
    ):
        with pytest.raises(grpc.RpcError) as error:
            call()
        assert refusal(error.value)[:2] == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")


def test_a_run_that_is_not_final_is_not_deleted(runs: Runs) -> None:
    run = runs.start("nothing", start_after={"seconds": 4_000_000_000})
    with pytest.raises(grpc.RpcError) as error:
        runs.DeleteRun(pb.DeleteRunRequest(run_id=run.id))
    code, reason, details = refusal(error.value)
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RUN_STATE")
    assert details["ErrorInfo"].metadata["state"] == "SCHEDULED"
    assert details["PreconditionFailure"].violations[0].type == "RUN_STATE"


def test_somebody_who_knows_only_reflection_lists_events(runs: Runs, grpc_channel: grpc.Channel) -> None:
    run = runs.finished("nothing")
    stranger = ReflectingClient(grpc_channel, "v1")
    (answer,) = stranger.call(
        "runcast.v1.RunService/ListRunEvents", f'{{"run_id": "{run.id}", "page_size": 1}}'
    )
    assert answer["events"][0]["stateChanged"]["toState"] == "STATE_QUEUED"
    assert answer["resumeSequence"] == "1"
    assert answer["nextPageToken"]
