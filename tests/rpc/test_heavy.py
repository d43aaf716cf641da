"""Runs and batches that are heavy: answers stay below what a client takes, and cost the server little."""

import json
from pathlib import Path
from typing import Any

import pytest

from runcast.v1 import run_pb2
from tests.rpc.calls import Runs, pb

LARGEST = 4 << 20
FULL = run_pb2.RUN_VIEW_FULL


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@pytest.fixture
def heavy(runs: Runs) -> set[str]:
    """Eighty runs with results of more than a megabyte."""
    starts = [pb.StartRunRequest(provider="big", labels={"of": "heavy"}) for _ in range(80)]
    results = runs.BatchStartRuns(pb.BatchStartRunsRequest(requests=starts)).results
    return {runs.wait(result.started.run.id).id for result in results}


@pytest.mark.parametrize("view", [run_pb2.RUN_VIEW_BASIC, FULL])
def test_a_page_of_heavy_runs_is_cut_and_goes_on(runs: Runs, heavy: set[str], server: Any, view: int) -> None:
    found: list[str] = []
    token, before = "", resident(server.pid)
    while True:
        request = pb.ListRunsRequest(
            filter={"labels": {"of": "heavy"}}, page_size=1_000, page_token=token, view=view
        )
        answer = runs.ListRuns(request)
        assert answer.ByteSize() < LARGEST
        found.extend(run.id for run in answer.runs)
        token = answer.next_page_token
        if not token:
            break
    assert len(found) == len(set(found))
    assert heavy <= set(found)
    assert resident(server.pid) - before < 400 << 20


def test_a_run_keeps_only_as_much_of_its_failures_as_fits_in_an_answer(runs: Runs) -> None:
    run = runs.finished("failing_targets", '{"count": 300, "size": 20000}')
    assert run.state == run_pb2.Run.STATE_SUCCEEDED_WITH_ERRORS
    assert run.failure_count == 300
    assert 0 < len(run.failures) < 300
    assert run.ByteSize() < 1 << 20


def test_the_answer_to_a_heavy_batch_fits(runs: Runs) -> None:
    text = json.dumps({"value": "x" * 200_000})
    tasks = pb.StartRunRequest(provider="echo", input={"json": text})
    results = runs.BatchStartRuns(pb.BatchStartRunsRequest(requests=[tasks] * 19)).results
    refused = runs.BatchStartRuns(
        pb.BatchStartRunsRequest(requests=[pb.StartRunRequest(provider="nobody" * 400)] * 1_000)
    )
    assert refused.ByteSize() < LARGEST
    assert all(result.error.code == 5 for result in refused.results)
    assert all(result.started.created for result in results)


def test_a_request_that_comes_again_is_not_answered_with_somebody_elses_run(runs: Runs) -> None:
    first = pb.StartRunRequest(provider="nothing", run_id="mine", request_id="first", wait={"seconds": 10})
    runs.StartRun(first)
    runs.DeleteRun(pb.DeleteRunRequest(run_id="mine"))
    runs.StartRun(pb.StartRunRequest(provider="echo", run_id="mine", input={"json": '{"value": "secret"}'}))
    with pytest.raises(Exception, match="deleted since"):
        runs.StartRun(first)
