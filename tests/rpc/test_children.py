"""Runs under runs over the wire: started by clients and by providers, waited for, cancelled, and found after a crash."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from runcast.v1 import run_pb2
from runcast.v1.run_service_pb2_grpc import RunServiceStub
from tests.rpc.calls import PATIENCE, Runs, pb, refusal, stub_of
from tests.rpc.conftest import PROVIDERS
from tests.serving import ServerProcess

SURVIVE = pb.StartRunRequest.PARENT_CLOSE_POLICY_SURVIVE
FAR = {"seconds": 4_000_000_000}
Run = run_pb2.Run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with two slots for processes."""
    store = tmp_path_factory.mktemp("store") / "runs.db"
    with ServerProcess(f"sqlite:///{store}", [PROVIDERS], flags=["--max-concurrent", "2"]) as process:
        yield process
        assert process.stop() == 0, process.errors
        assert not [line for line in process.errors if "Traceback" in line], process.errors


def below(runs: Runs, parent: str) -> list[run_pb2.Run]:
    """The children of a run, oldest first."""
    request = pb.ListRunsRequest(page_size=1_000, filter={"parent_run": parent})
    return [*reversed(runs.ListRuns(request).runs)]


def within(seconds: float, what: Any) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_a_client_starts_a_run_under_another(runs: Runs) -> None:
    parent = runs.start("nothing", start_after=FAR)
    child = runs.start("nothing", parent_run=parent.id, start_after=FAR)
    survivor = runs.start(
        "nothing", parent_run=parent.id, parent_close_policy=SURVIVE, start_after=FAR, request_id="survivor"
    )
    assert child.parent_run == parent.id
    assert [run.id for run in below(runs, parent.id)] == [child.id, survivor.id]
    runs.CancelRun(pb.CancelRunRequest(run_id=parent.id, reason="no more"))
    ended = runs.wait(child.id)
    assert (ended.state, ended.cancellation.reason) == (Run.STATE_CANCELLED, "no more")
    assert ended.cancellation.initiator == run_pb2.Cancellation.INITIATOR_PARENT
    assert runs.GetRun(pb.GetRunRequest(run_id=survivor.id)).run.state == Run.STATE_SCHEDULED


def test_many_are_started_under_one_each_with_its_own_outcome(runs: Runs) -> None:
    parent = runs.start("nothing", start_after=FAR)
    requests = [
        pb.StartRunRequest(provider="nothing", start_after=FAR, parent_run=name)
        for name in (parent.id, "nobody", parent.id)
    ]
    results = runs.BatchStartRuns(pb.BatchStartRunsRequest(requests=requests)).results
    assert [result.WhichOneof("result") for result in results] == ["started", "error", "started"]
    assert len(below(runs, parent.id)) == 2


def test_a_policy_that_does_not_exist_is_refused(runs: Runs) -> None:
    parent = runs.start("nothing", start_after=FAR)
    with pytest.raises(grpc.RpcError) as error:
        runs.start("nothing", parent_run=parent.id, parent_close_policy=77)
    code, _, details = refusal(error.value)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details["BadRequest"].field_violations[0].field == "parent_close_policy"


def test_two_parents_that_wait_for_four_processes_each_need_but_two_slots(runs: Runs) -> None:
    parents = [runs.start("squares", '{"count": 4}') for _ in range(2)]
    for parent in parents:
        ended = runs.wait(parent.id)
        assert (ended.state, json.loads(ended.output.json)) == (Run.STATE_SUCCEEDED, [0, 1, 4, 9])
        assert [child.parent_run for child in below(runs, parent.id)] == [parent.id] * 4


def test_more_parents_than_slots_end_one_after_the_other(runs: Runs) -> None:
    parents = [runs.start("squares", '{"count": 3}') for _ in range(6)]
    assert {runs.wait(parent.id).state for parent in parents} == {Run.STATE_SUCCEEDED}
    again = runs.finished("square", '{"number": 5}')
    assert again.output.json == "25"


def test_a_coroutine_in_a_process_waits_for_the_first(runs: Runs, tmp_path: Path) -> None:
    never, gate = tmp_path / "never", tmp_path / "gate"
    gate.touch()
    run = runs.finished("quickest", json.dumps({"gates": [str(never), str(gate)]}))
    assert json.loads(run.output.json) == {"place": 1, "state": "SUCCEEDED"}
    slow = below(runs, run.id)[0]
    assert slow.state == Run.STATE_RUNNING
    never.touch()
    assert runs.wait(slow.id).state == Run.STATE_SUCCEEDED


def test_a_parent_hears_how_its_child_failed(runs: Runs) -> None:
    run = runs.finished("parent_of_one", '{"provider": "fail"}')
    told = json.loads(run.output.json)
    assert told == {"state": "FAILED", "reason": "PROVIDER_EXCEPTION", "message": "ValueError: as asked"}


def test_a_child_that_cannot_be_started_fails_its_parent_with_the_reason(runs: Runs) -> None:
    run = runs.finished("parent_of_one", '{"provider": "nobody"}')
    assert run.state == Run.STATE_FAILED
    assert "no provider 'nobody'" in run.error.message


@pytest.mark.parametrize("provider", ["squares", "quickest"])
def test_a_parent_that_is_cancelled_while_it_waits_ends_at_once_with_its_children(
    runs: Runs, tmp_path: Path, provider: str
) -> None:
    never = str(tmp_path / "never")
    given: dict[str, Any] = {"count": 2, "gate": never} if provider == "squares" else {"gates": [never] * 2}
    run = runs.start(provider, json.dumps(given))
    assert within(PATIENCE, lambda: len(below(runs, run.id)) == 2)
    begun = time.monotonic()
    runs.CancelRun(pb.CancelRunRequest(run_id=run.id))
    ended = runs.wait(run.id)
    assert ended.state == Run.STATE_CANCELLED
    assert ended.cancellation.outcome == run_pb2.Cancellation.OUTCOME_ACKNOWLEDGED
    for child in below(runs, run.id):
        assert runs.wait(child.id).state == Run.STATE_CANCELLED
    assert time.monotonic() - begun < 4


def has_lines(path: Path, number: int) -> bool:
    """Whether so many lines are written."""
    return path.exists() and path.read_text().count("\n") == number


@pytest.mark.crash
def test_after_a_kill_the_parents_next_attempt_finds_its_children(tmp_path: Path) -> None:
    store, gate, path = tmp_path / "runs.db", tmp_path / "gate", tmp_path / "children"
    given = json.dumps({"count": 3, "path": str(path), "gate": str(gate)})
    run_id = ""
    for kills in range(3):
        flags = ["--max-concurrent", "4"]
        with (
            ServerProcess(f"sqlite:///{store}", [PROVIDERS], flags=flags) as server,
            grpc.insecure_channel(server.address) as channel,
        ):
            runs = Runs(stub_of(RunServiceStub, channel))
            if not kills:
                run_id = runs.start("squares", given).id
            assert within(PATIENCE, partial(has_lines, path, kills + 1))
            if kills < 2:
                server.kill()
                continue
            gate.touch()
            ended = runs.wait(run_id)
            assert (ended.state, json.loads(ended.output.json)) == (Run.STATE_SUCCEEDED, [0, 1, 4])
            assert ended.attempt == 3
            first, *others = path.read_text().splitlines()
            assert others == [first, first]
            assert sorted(child.id for child in below(runs, run_id)) == sorted(first.split())
