"""A server for users' own tests, tested as they would use it."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runcast.client import Client, InvalidArgument, RunFailed, kind, result_of
from runcast.client.sync import SyncClient
from runcast.client.testing import runcast_server
from runcast.provider import Context, SyncContext, provider
from runcast.server.model import errors


@provider
async def double(ctx: Context, number: int) -> int:
    """Twice the number."""
    print("doubling", number)  # noqa: T201 - what it prints becomes a line of its run
    ctx.progress(1, 1)
    return 2 * number


@provider(execution="thread")
def triple(number: int) -> int:
    """Three times the number, in a thread."""
    return 3 * number


@provider
def process_id(ctx: SyncContext) -> int:
    """Where a plain function runs: in a process of its own."""
    print("computing")  # noqa: T201 - what it prints becomes a line of its run
    return os.getpid()


@provider
async def forever(ctx: Context) -> None:
    """Work until somebody ends it."""
    ctx.log.info("ready")
    while True:
        await ctx.sleep(60)


def test_a_provider_is_run_from_a_plain_test() -> None:
    with runcast_server([double, triple]) as client:
        assert client.run("double", {"number": 21}) == 42
        assert client.run("triple", {"number": 2}) == 6


async def test_a_provider_is_run_from_a_coroutine() -> None:
    async with runcast_server([double, triple]) as client:
        assert await client.run("double", {"number": 21}) == 42
        assert await client.run("triple", {"number": 2}) == 6


def test_what_it_prints_and_tells_comes_as_events() -> None:
    with runcast_server([double]) as client, client.execute("double", {"number": 1}) as run:
        events = list(run)
    assert [event.log.message for event in events if kind(event) == "log"] == ["doubling 1"]
    assert [event.progress.fraction for event in events if kind(event) == "progress"] == [1]


def test_a_plain_function_gets_a_process_of_its_own() -> None:
    with runcast_server([process_id]) as client:
        run = client.wait(client.start("process_id").id)
        assert result_of(run) != os.getpid()
        lines = [event.log.message for event in client.events(run.id, event_types=["log"])]
    assert lines == ["computing"]


def test_what_the_provider_refuses_and_what_it_raises_is_seen_as_a_client_sees_it() -> None:
    @provider
    async def picky(number: int) -> None:
        raise ValueError("no number is good enough")

    with runcast_server([picky]) as client:
        with pytest.raises(InvalidArgument):
            client.start("picky", {"number": "many"})
        with pytest.raises(RunFailed, match="good enough"):
            client.run("picky", {"number": 1})


def test_providers_may_be_named_by_their_file(tmp_path: Path) -> None:
    file = tmp_path / "greeting.py"
    file.write_text(
        "from runcast.provider import provider\n\n@provider\nasync def greet() -> str:\n    return 'hello'\n"
    )
    with runcast_server([str(file), double]) as client:
        assert [each.name for each in client.providers()] == ["double", "greet"]
        assert client.run("greet") == "hello"


def test_each_server_has_its_own_runs_and_address() -> None:
    one, other = runcast_server([double]), runcast_server([double])
    with one as first, other as second:
        assert one.target != other.target
        run = first.start("double", {"number": 1})
        assert [each.id for each in first.list()] == [run.id]
        assert list(second.list()) == []
    assert one.target == ""


@pytest.fixture(name="shop")
def shop_of_the_tests() -> Iterator[SyncClient]:
    with runcast_server([double]) as client:
        yield client


def test_it_is_a_fixture_in_three_lines(shop: SyncClient) -> None:
    assert shop.run("double", {"number": 1}) == 2


def test_leaving_it_ends_what_runs_and_leaves_nothing_behind() -> None:
    stdout, handlers, threads = sys.stdout, list(logging.getLogger().handlers), threading.active_count()
    started = time.monotonic()
    with runcast_server([forever]) as client, client.execute("forever") as run:
        while next(run).log.message != "ready":
            pass
    assert time.monotonic() - started < 5
    assert sys.stdout is stdout
    assert logging.getLogger().handlers == handlers
    remaining = [each.name for each in threading.enumerate() if each.name.startswith("runcast")]
    assert remaining == []
    assert threading.active_count() <= threads + 2  # grpc keeps its own poller


def test_a_process_provider_inside_of_a_function_is_refused_with_a_remedy() -> None:
    @provider
    def hidden() -> None:
        """Nothing."""

    with pytest.raises(errors.InvalidArgument, match="thread"):
        runcast_server([hidden])


def test_a_function_that_is_no_provider_is_refused_with_a_remedy() -> None:
    with pytest.raises(errors.InvalidArgument, match="@provider"):
        runcast_server([print])


def test_without_the_server_it_says_what_to_install() -> None:
    program = """
import sys
sys.modules["runcast.server.testing"] = None
from runcast.client.testing import runcast_server
try:
    runcast_server([])
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert 'pip install "runcast[server]"' in done.stdout


async def test_a_further_client_finds_it_by_its_target() -> None:
    server = runcast_server([double])
    async with server as client, Client(server.target) as another:
        run = await client.start("double", {"number": 4})
        assert (await another.wait(run.id)).id == run.id


def test_a_server_that_is_there_is_not_entered_again_but_may_come_back() -> None:
    server = runcast_server([double])
    with server as client:
        assert client.run("double", {"number": 1}) == 2
        with pytest.raises(RuntimeError, match="already"):
            server.__enter__()
    with server as client:
        assert list(client.list()) == []


def test_servers_that_come_and_go_leave_no_descriptor() -> None:
    def once() -> None:
        with runcast_server([double, process_id]) as client:
            assert client.run("process_id") != os.getpid()

    once()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        once()
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208
