"""Runs from tasks over the wire, also after the server that kept the task is gone."""

from pathlib import Path

import grpc

from runcast.v1 import run_pb2, run_service_pb2_grpc
from tests.rpc.calls import Runs, pb, stub_of
from tests.rpc.conftest import PROVIDERS
from tests.rpc.tasks import FULL, Tasks, refused, wrong_fields
from tests.serving import ServerProcess


def test_a_deleted_task_leaves_its_runs(tasks: Tasks, runs: Runs) -> None:
    task = tasks.create(**FULL)
    run = runs.StartRun(pb.StartRunRequest(task=task.id)).run
    tasks.delete(task.id)
    kept = runs.GetRun(pb.GetRunRequest(run_id=run.id)).run
    assert (kept.task, kept.task_generation) == (task.id, 1)
    assert refused(lambda: runs.StartRun(pb.StartRunRequest(task=task.id)))[1] == "TASK_NOT_FOUND"


def test_all_ways_to_start_take_a_task(tasks: Tasks, runs: Runs) -> None:
    task = tasks.create(**{**FULL, "spec": {"priority": 3, "timeouts": {"run": {"seconds": 30}}}})
    start = pb.StartRunRequest(task=task.id, input={"json": '{"name": "Eve"}'}, labels={"env": "live"})
    started = runs.StartRun(start).run
    batch = pb.BatchStartRunsRequest(requests=[start, pb.StartRunRequest(task="nobody")])
    one, other = runs.BatchStartRuns(batch).results
    assert other.error.code == grpc.StatusCode.NOT_FOUND.value[0]
    (*_, last) = runs.ExecuteRun(pb.ExecuteRunRequest(start=start))
    for run in (started, one.started.run, last.frame.completed.run):
        made = runs.wait(run.id)
        assert made.state == run_pb2.Run.STATE_SUCCEEDED
        assert "Eve" in made.output.json
        assert (made.task, made.task_generation, made.provider) == (task.id, 1, "greet")
        assert dict(made.labels) == {"team": "x", "env": "live"}
        assert (made.spec.priority, made.spec.timeouts.run.seconds) == (3, 30)
        assert made.spec.timeouts.attempt.seconds == 300
    found = runs.ListRuns(pb.ListRunsRequest(filter={"task": task.id})).runs
    assert len(found) == 3
    back = runs.StartRun(pb.StartRunRequest(task=task.id, overrides_mask={"paths": ["priority"]})).run
    assert back.spec.priority == 0


def test_a_switched_off_task_is_refused_with_its_name(tasks: Tasks, runs: Runs) -> None:
    task = tasks.create(**{**FULL, "enabled": False})
    code, reason, details = refused(lambda: runs.StartRun(pb.StartRunRequest(task=task.id)))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_DISABLED")
    (violation,) = details["PreconditionFailure"].violations
    assert violation.subject == task.id
    tasks.update(task.id, enabled=True)
    assert runs.StartRun(pb.StartRunRequest(task=task.id)).created


def test_parameters_that_are_missing_are_told_at_the_start(tasks: Tasks, runs: Runs) -> None:
    task = tasks.create(provider="greet", enabled=True)
    assert wrong_fields(lambda: runs.StartRun(pb.StartRunRequest(task=task.id))) == ["input.name"]


def test_a_task_outlives_its_server_and_is_orphaned_where_its_provider_is_gone(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    with (
        ServerProcess(store, ["examples", PROVIDERS]) as first,
        grpc.insecure_channel(first.address) as channel,
    ):
        lost = Tasks(channel).create(provider="echo", enabled=True, spec=FULL["spec"])
        kept = Tasks(channel).create(**FULL)
    with ServerProcess(store, ["examples"]) as second, grpc.insecure_channel(second.address) as channel:
        tasks = Tasks(channel)
        runs = Runs(stub_of(run_service_pb2_grpc.RunServiceStub, channel))
        assert [(task.id, task.orphaned) for task in tasks.all()] == [(kept.id, False), (lost.id, True)]
        assert [task.id for task in tasks.all(filter={"orphaned": True})] == [lost.id]
        lost.orphaned = True
        assert tasks.get(lost.id) == lost
        assert tasks.get(kept.id) == kept
        code, reason, details = refused(lambda: runs.StartRun(pb.StartRunRequest(task=lost.id)))
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_ORPHANED")
        (violation,) = details["PreconditionFailure"].violations
        assert "'echo' is not registered on this server" in violation.description
        started = runs.wait(runs.StartRun(pb.StartRunRequest(task=kept.id)).run.id)
        assert list(started.spec.retry.non_retryable_reasons) == ["A", "B"]
        assert tasks.update(lost.id, "enabled").generation == 2
        assert not tasks.update(lost.id, provider="greet", enabled=True).orphaned
        assert second.stop() == 0
        assert second.errors == []
