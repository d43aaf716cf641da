"""What a server leaves behind: everything in its store, and nothing among the processes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest

from runcast.v1 import run_pb2
from runcast.v1.run_service_pb2_grpc import RunServiceStub
from tests.rpc.calls import Runs, pb, stub_of
from tests.rpc.conftest import PROVIDERS
from tests.serving import ServerProcess

pytestmark = pytest.mark.crash


@contextmanager
def serving(store: Path) -> Iterator[tuple[ServerProcess, Runs]]:
    """A server on that file, and a client of it."""
    with (
        ServerProcess(f"sqlite:///{store}", ["examples", PROVIDERS]) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield server, Runs(stub_of(RunServiceStub, channel))


def everything(runs: Runs) -> list[object]:
    """All runs in full, with their events and attempts, byte by byte."""
    found = runs.ListRuns(pb.ListRunsRequest(page_size=1_000, view=run_pb2.RUN_VIEW_FULL)).runs
    return [
        (
            run.SerializeToString(deterministic=True),
            runs.events(run.id) if run.state >= run_pb2.Run.STATE_SUCCEEDED else None,
            runs.ListAttempts(pb.ListAttemptsRequest(run_id=run.id)).SerializeToString(deterministic=True),
        )
        for run in found
    ]


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold in that time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def pid_in(path: Path) -> int:
    """The process id that a provider wrote."""
    assert within(10, lambda: path.exists() and path.read_text() != "")
    return int(path.read_text())


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_every_run_event_and_result_is_there_after_a_restart(tmp_path: Path, how: str) -> None:
    store = tmp_path / "runs.db"
    with serving(store) as (server, runs):
        runs.finished("greet", '{"name": "Ada"}', labels={"who": "Ada"}, request_id="once")
        runs.finished("talk", '{"lines": 300}')
        runs.finished("fail")
        runs.finished("fingerprint", f'{{"path": "{Path(__file__).parent}"}}')
        waiting = runs.start("nothing", start_after={"seconds": 4_000_000_000})
        runs.CancelRun(
            pb.CancelRunRequest(run_id=runs.start("nothing", start_after={"seconds": 4_000_000_000}).id)
        )
        before = everything(runs)
        getattr(server, how)()
    with serving(store) as (_, runs):
        assert everything(runs) == before
        again = runs.StartRun(
            pb.StartRunRequest(
                provider="greet", input={"json": '{"name": "Ada"}'}, labels={"who": "Ada"}, request_id="once"
            )
        )
        assert not again.created
        assert runs.GetRun(pb.GetRunRequest(run_id=waiting.id)).run.state == run_pb2.Run.STATE_SCHEDULED


def test_a_run_in_flight_is_recovered_by_its_policy_after_a_kill(tmp_path: Path) -> None:
    store, gate = tmp_path / "runs.db", tmp_path / "gate"
    parameters = f'{{"path": "{gate}"}}'
    policies = {"RESUME": 1, "HOLD": 2, "FAIL": 4}
    with serving(store) as (server, runs):
        ids = {
            name: runs.start("until", parameters, overrides={"recovery": value}).id
            for name, value in policies.items()
        }
        server.kill()
    gate.touch()
    with serving(store) as (_, runs):
        resumed = runs.wait(ids["RESUME"])
        assert (resumed.state, resumed.attempt) == (run_pb2.Run.STATE_SUCCEEDED, 2)
        held = runs.GetRun(pb.GetRunRequest(run_id=ids["HOLD"])).run
        assert held.state == run_pb2.Run.STATE_INTERRUPTED
        failed = runs.GetRun(pb.GetRunRequest(run_id=ids["FAIL"])).run
        assert failed.state == run_pb2.Run.STATE_FAILED
        events = runs.events(ids["RESUME"])
        assert len(events) == resumed.last_sequence


def test_no_child_outlives_a_killed_server_by_two_seconds(tmp_path: Path) -> None:
    with serving(tmp_path / "runs.db") as (server, runs):
        pids = []
        for number, provider in enumerate(("compute", "stubborn")):
            path = tmp_path / f"pid{number}"
            runs.start(provider, f'{{"path": "{path}"}}')
            pids.append(pid_in(path))
        pids += [child.pid for child in psutil.Process(server.pid).children(recursive=True)]
        server.kill()
        assert within(2, lambda: not any(psutil.pid_exists(pid) for pid in pids))


@pytest.mark.parametrize(
    ("provider", "outcome"),
    [
        ("compute", run_pb2.Cancellation.OUTCOME_ACKNOWLEDGED),
        ("stubborn", run_pb2.Cancellation.OUTCOME_KILLED),
    ],
)
def test_cancel_really_stops_a_plain_function_within_the_grace(
    tmp_path: Path, provider: str, outcome: int
) -> None:
    path = tmp_path / "pid"
    with serving(tmp_path / "runs.db") as (_, runs):
        run = runs.start(provider, f'{{"path": "{path}"}}')
        pid = pid_in(path)
        runs.CancelRun(pb.CancelRunRequest(run_id=run.id, grace={"seconds": 2}))
        begun = time.monotonic()
        ended = runs.wait(run.id)
        assert time.monotonic() - begun < 4
        assert ended.state == run_pb2.Run.STATE_CANCELLED
        assert ended.cancellation.outcome == outcome
        assert within(1, lambda: not psutil.pid_exists(pid))


def test_a_drain_ends_cleanly_and_a_second_signal_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with serving(tmp_path / "runs.db") as (server, runs):
        runs.start("stubborn", f'{{"path": "{path}"}}')
        pid = pid_in(path)
        server.process.terminate()
        assert within(5, lambda: runs_refused(runs))
        server.process.terminate()
        assert server.process.wait(2) == 1
        assert within(2, lambda: not psutil.pid_exists(pid))


def test_a_server_leaves_although_a_coroutine_swallows_its_cancellation(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with serving(tmp_path / "runs.db") as (server, runs):
        run = runs.start("deaf", f'{{"path": "{path}"}}')
        pid_in(path)
        runs.CancelRun(pb.CancelRunRequest(run_id=run.id, grace={"seconds": 1}))
        ended = runs.wait(run.id)
        assert ended.cancellation.outcome == run_pb2.Cancellation.OUTCOME_ABANDONED
        assert server.stop() == 0


def runs_refused(runs: Runs) -> bool:
    """Whether the server takes no more runs."""
    try:
        runs.start("nothing")
    except grpc.RpcError:
        return True
    return False


def test_watchers_that_come_and_go_leave_no_descriptor_behind(tmp_path: Path) -> None:
    with serving(tmp_path / "runs.db") as (server, runs):
        run = runs.start("until", f'{{"path": "{tmp_path / "gate"}"}}')
        next(iter(runs.watch(run.id)))
        before = psutil.Process(server.pid).num_fds()
        for _ in range(300):
            call = runs.WatchRun(pb.WatchRunRequest(run_id=run.id))
            next(call)
            call.cancel()
        assert within(5, lambda: psutil.Process(server.pid).num_fds() <= before + 1)
        (tmp_path / "gate").touch()
        runs.wait(run.id)
