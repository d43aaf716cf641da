"""Watching over the wire: the exact continuation from any place, for anybody, also after a cut."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from runcast.v1 import event_pb2, run_pb2, watch_pb2
from runcast.v1.run_service_pb2_grpc import RunServiceStub
from tests.rpc.calls import Runs, pb, refusal, stub_of
from tests.rpc.conftest import PROVIDERS
from tests.serving import ServerProcess


def kinds(frames: Iterator[watch_pb2.WatchFrame]) -> list[str]:
    return [frame.WhichOneof("frame") or "" for frame in frames]


def test_ten_watchers_from_different_places_see_identical_events(runs: Runs, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = runs.start("until", f'{{"path": "{gate}", "lines": 200}}')
    begun = threading.Barrier(11)

    def follow(after: int) -> list[bytes]:
        events: list[bytes] = []
        waiting = True
        for frame in runs.watch(run.id, after_sequence=after):
            events += [event.SerializeToString() for event in frame.batch.events]
            if waiting and frame.WhichOneof("frame") == "caught_up":
                waiting = False
                begun.wait(20)
        return events

    while runs.GetRun(pb.GetRunRequest(run_id=run.id)).run.last_sequence < 203:
        pass
    places = [0, 0, 1, 3, 50, 100, 150, 199, 200, 203]
    with ThreadPoolExecutor(10) as pool:
        watches = [pool.submit(follow, place) for place in places]
        begun.wait(20)
        gate.touch()
        seen = [watch.result() for watch in watches]
    everything = runs.events(run.id)
    assert len(everything) == 405
    for place, events in zip(places, seen, strict=True):
        assert events == everything[place:]


def test_sequences_are_dense_from_one_and_the_final_state_is_the_last_event(runs: Runs) -> None:
    run = runs.finished("talk", '{"lines": 500}')
    events = [event_pb2.RunEvent.FromString(raw) for raw in runs.events(run.id)]
    assert [event.sequence for event in events] == list(range(1, run.last_sequence + 1))
    assert events[-1].state_changed.to_state == run_pb2.Run.STATE_SUCCEEDED
    logged = [event.log.message for event in events if event.HasField("log")]
    assert logged == [f"line {number}" for number in range(500)]


def test_a_watch_that_is_cut_again_and_again_has_each_event_exactly_once(runs: Runs) -> None:
    run = runs.start("talk", '{"lines": 300, "pause": 0.002}')
    seen: list[int] = []
    cursor, completed = 0, False
    while not completed:
        call = runs.WatchRun(pb.WatchRunRequest(run_id=run.id, after_sequence=cursor))
        for number, response in enumerate(call):
            frame = response.frame
            seen += [event.sequence for event in frame.batch.events]
            cursor = frame.resume_sequence
            completed = frame.HasField("completed")
            if number == 3:
                call.cancel()
                break
    assert seen == list(range(1, cursor + 1))
    assert cursor == runs.GetRun(pb.GetRunRequest(run_id=run.id)).run.last_sequence


def test_a_finished_run_replays_and_completes_at_once(runs: Runs) -> None:
    run = runs.finished("nothing")
    assert kinds(runs.watch(run.id)) == ["snapshot", "batch", "completed"]
    assert kinds(runs.watch(run.id, after_sequence=run.last_sequence)) == ["snapshot", "completed"]
    assert kinds(runs.watch(run.id, last_events=0)) == ["snapshot", "completed"]


def test_the_last_events_are_the_tail(runs: Runs) -> None:
    run = runs.finished("talk", '{"lines": 10}')
    assert runs.events(run.id, last_events=3) == runs.events(run.id)[-3:]


def test_a_cursor_ahead_of_the_journal_is_out_of_range(runs: Runs) -> None:
    run = runs.finished("nothing")
    with pytest.raises(grpc.RpcError) as error:
        list(runs.watch(run.id, after_sequence=run.last_sequence + 1))
    assert refusal(error.value)[:2] == (grpc.StatusCode.OUT_OF_RANGE, "SEQUENCE_AHEAD")


def test_a_filter_hides_events_and_the_cursor_passes_over_them(runs: Runs) -> None:
    run = runs.finished("talk", '{"lines": 5}')
    frames = list(runs.watch(run.id, event_types=["state_changed"]))
    shown = [event for frame in frames for event in frame.batch.events]
    assert {event.WhichOneof("event") for event in shown} == {"state_changed"}
    assert frames[-1].resume_sequence == run.last_sequence


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"event_types": ["nonsense"]}, "event_types"),
        ({"after_sequence": -1}, "after_sequence"),
        ({"last_events": 1_001}, "last_events"),
        ({"heartbeat_interval": {"seconds": 1}}, "heartbeat_interval"),
    ],
)
def test_each_wrong_field_of_a_watch_is_named(runs: Runs, fields: dict[str, object], field: str) -> None:
    run = runs.finished("nothing")
    with pytest.raises(grpc.RpcError) as error:
        list(runs.watch(run.id, **fields))
    code, _, details = refusal(error.value)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details["BadRequest"].field_violations[0].field == field


@pytest.mark.parametrize("call", ["GetRun", "WaitRun", "WatchRun", "CancelRun", "ListAttempts"])
def test_an_unknown_run_is_not_found_everywhere(runs: Runs, call: str) -> None:
    request = getattr(pb, f"{call}Request")(run_id="run_unknown")
    with pytest.raises(grpc.RpcError) as error:
        list(getattr(runs, call)(request))
    assert refusal(error.value)[:2] == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")


def test_leaving_a_watch_leaves_the_run_alone(runs: Runs, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = runs.start("until", f'{{"path": "{gate}"}}')
    call = runs.WatchRun(pb.WatchRunRequest(run_id=run.id))
    next(call)
    call.cancel()
    gate.touch()
    assert runs.wait(run.id).state == run_pb2.Run.STATE_SUCCEEDED


def test_an_idle_stream_has_heartbeats(runs: Runs, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = runs.start("until", f'{{"path": "{gate}"}}')
    for frame in runs.watch(run.id, heartbeat_interval={"seconds": 5}):
        if frame.HasField("heartbeat"):
            assert frame.resume_sequence == run.last_sequence
            gate.touch()
    assert runs.wait(run.id).state == run_pb2.Run.STATE_SUCCEEDED


def test_a_draining_server_says_going_away_on_every_stream(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    server = ServerProcess("memory://", [PROVIDERS])
    with server, grpc.insecure_channel(server.address) as channel:
        runs = Runs(stub_of(RunServiceStub, channel))
        run = runs.start("until", f'{{"path": "{gate}"}}')
        frames = []
        for frame in runs.watch(run.id):
            frames.append(frame)
            if frame.HasField("caught_up"):
                server.process.terminate()
                threading.Timer(0.5, gate.touch).start()
        assert frames[-1].HasField("going_away")
        assert server.process.wait(20) == 0
