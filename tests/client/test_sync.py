"""The blocking face: the same surface, several threads, Ctrl-C, and nothing left behind."""

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from runcast.client import (
    AttachedRun,
    Client,
    ClientClosed,
    NotFound,
    Outcomes,
    RunCancelled,
    RunStream,
    RunTable,
    TableStream,
    Tasks,
    Unavailable,
    kind,
    start_request,
    state_name,
)
from runcast.client.sync import (
    SyncAttachedRun,
    SyncClient,
    SyncOutcomes,
    SyncRunStream,
    SyncTableStream,
    SyncTasks,
)
from tests.client.product import Product
from tests.client.test_surface import public

FACES: list[tuple[type, type]] = [
    (Client, SyncClient),
    (RunStream, SyncRunStream),
    (AttachedRun, SyncAttachedRun),
    (TableStream, SyncTableStream),
    (Outcomes, SyncOutcomes),
    (Tasks, SyncTasks),
]
FILLED_IN_BY_INIT = {"caught_up", "created", "reconnects", "target"}


@pytest.fixture
def client(product: Product) -> Iterator[SyncClient]:
    """A client; once it is closed, its thread has ended and its descriptors are closed."""
    threads = set(threading.enumerate())
    with SyncClient(f"127.0.0.1:{product.port}") as opened:
        yield opened
    assert {each for each in threading.enumerate() if each not in threads and "runcast" in each.name} == set()


# ------------------------------------------------------------------------------------------------------------- surface
@pytest.mark.parametrize(("source", "face"), FACES, ids=lambda each: each.__name__)
def test_no_name_is_forgotten_and_none_is_added(source: type, face: type) -> None:
    assert public(face) - FILLED_IN_BY_INIT == public(source) - FILLED_IN_BY_INIT


@pytest.mark.parametrize(("source", "face"), FACES, ids=lambda each: each.__name__)
def test_every_method_takes_what_the_asynchronous_one_takes_and_says_what_it_does(
    source: type, face: type
) -> None:
    for name in public(source):
        one, other = getattr(source, name), getattr(face, name)
        if callable(one):
            taken, faced = inspect.signature(one), inspect.signature(other)
            assert list(faced.parameters.values())[1:] == list(taken.parameters.values())[1:], name
        assert inspect.getdoc(other), name
    assert inspect.signature(Client) == inspect.signature(SyncClient)


# ------------------------------------------------------------------------------------------------------------ behaviour
def test_a_run_is_executed_and_gives_its_result(client: SyncClient) -> None:
    with client.execute("chatter", {"lines": 3}, labels={"team": "a"}) as run:
        events = list(run)
        assert run.result() == 3
        assert run.created
        assert run.final
    assert state_name(run.state) == "SUCCEEDED"
    assert [event.log.message for event in events if kind(event) == "log"] == ["line 0", "line 1", "line 2"]
    assert list(client.events(run.id)) == events
    assert client.get(run.id) == run.snapshot
    assert [each.id for each in client.list(labels={"team": "a"})] == [run.id]


def test_a_run_is_cancelled_from_inside_its_stream(client: SyncClient) -> None:
    with client.execute("until_cancelled") as run:
        for event in run:
            if event.log.message == "ready":
                run.cancel("enough")
        with pytest.raises(RunCancelled):
            run.result()


def test_many_runs_are_executed_and_a_table_of_them_is_kept(client: SyncClient) -> None:
    starts = [start_request("chatter", {"lines": 1}, labels={"many": "1"}) for _ in range(20)]
    with client.execute_all(starts, at_once=6) as outcomes:
        assert [outcome.result() for outcome in outcomes] == [1] * 20
    table = RunTable()
    with client.watch_runs(labels={"many": "1"}) as changes:
        for change in changes:
            table.apply(change)
            if table.complete:
                break
    assert {state_name(run.state) for run in table.values()} == {"SUCCEEDED"}
    assert len(table) == 20


def test_errors_are_those_of_the_asynchronous_client(client: SyncClient) -> None:
    with pytest.raises(NotFound) as caught:
        client.start("nobody")
    assert caught.value.reason == "PROVIDER_NOT_FOUND"
    with pytest.raises(NotFound):
        client.tasks.get("nobody")


def test_threads_share_a_client(client: SyncClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda lines: client.run("chatter", {"lines": lines}), range(24))
    assert list(results) == list(range(24))


async def test_it_may_be_used_in_the_thread_of_a_running_loop(product: Product) -> None:
    assert asyncio.get_running_loop().is_running()
    with SyncClient(f"127.0.0.1:{product.port}") as client:
        assert client.run("chatter", {"lines": 1}) == 1


def test_a_client_that_is_not_open_says_so(product: Product) -> None:
    client = SyncClient(f"127.0.0.1:{product.port}")
    with pytest.raises(ClientClosed, match="SyncClient"):
        client.health()
    with client:
        assert client.health() == "SERVING"
        with pytest.raises(RuntimeError, match="open already"):
            client.open()
    client.close()
    with pytest.raises(ClientClosed):
        client.get("run_1")
    with client:
        assert client.health() == "SERVING"


def test_an_open_that_fails_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="clear text"):
        SyncClient("example.org:1", token="secret").open()
    assert threading.active_count() == before


def test_closing_ends_the_calls_of_other_threads(product: Product) -> None:
    client = SyncClient(f"127.0.0.1:{product.port}")
    client.open()
    run = client.start("until_cancelled")
    with ThreadPoolExecutor(1) as pool, client.execute("until_cancelled") as followed:
        next(followed)
        waiting = pool.submit(client.wait, run.id)
        with pytest.raises(TimeoutError):
            waiting.result(0.1)
        client.close()
        with pytest.raises(ClientClosed):
            waiting.result(5)
        with pytest.raises(ClientClosed):
            next(followed)
    with client:
        client.cancel(run.id, immediate=True)
        client.cancel(followed.id, immediate=True)


def test_a_forked_process_is_told_that_it_cannot_use_its_parents_client(product: Product) -> None:
    program = """
import os, signal, sys
from runcast.client import ClientClosed
from runcast.client.sync import SyncClient
with SyncClient(sys.argv[1]) as client:
    client.health()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            client.health()
        except ClientClosed as error:
            client.close()
            os._exit(7 if "forked" in str(error) else 8)
        os._exit(9)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), client.health())
"""
    command = [sys.executable, "-c", program, f"127.0.0.1:{product.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["7", "SERVING"]


def test_what_the_client_calls_back_cannot_wait_for_the_client() -> None:
    mistakes: list[Exception] = []

    def ask_again(error: Exception, wait: float) -> None:
        try:
            lonely.health()
        except RuntimeError as mistake:
            mistakes.append(mistake)

    lonely = SyncClient("127.0.0.1:1", on_retry=ask_again, patience=0.2)
    with lonely, pytest.raises(Unavailable):
        lonely.get("run_1")
    assert mistakes
    assert "own thread" in str(mistakes[0])


def test_ctrl_c_ends_the_call_that_waits_and_leaves_the_client_usable(client: SyncClient) -> None:
    with client.execute("until_cancelled") as run:
        while next(run).log.message != "ready":
            pass
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            for _ in run:
                pass
        timer.join()
        run.cancel("interrupted")
        assert [event for event in run if kind(event) == "cancel_requested"]
    assert run.snapshot.cancellation.reason == "interrupted"


def test_opening_and_closing_leaves_no_descriptor(product: Product) -> None:
    def once() -> None:
        with SyncClient(f"127.0.0.1:{product.port}") as client:
            assert client.run("chatter", {"lines": 1}) == 1

    once()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        once()
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208


def test_a_program_that_forgets_to_close_ends(product: Product) -> None:
    program = f"""
from runcast.client.sync import SyncClient
client = SyncClient("127.0.0.1:{product.port}")
client.open()
print(client.run("chatter", {{"lines": 2}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")
