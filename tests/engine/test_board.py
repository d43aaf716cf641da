"""Watching all runs: a table made of what is told is what is stored, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from runcast.server.engine.board import Board, Changes, Place, Resync
from runcast.server.engine.watching import CaughtUp, GoingAway, Heartbeat
from runcast.server.model.call import Raised
from runcast.server.model.errors import Unavailable
from runcast.server.model.run import Error, RunFilter, State
from tests.engine.conftest import Serve, on_each_store
from tests.engine.following import Client, Meddling, bounded, ended, remove
from tests.engine.scripted import within
from tests.engine.server import Server, settle

RUNNING = RunFilter(states=frozenset({State.RUNNING}))
Follow = Callable[..., Client]


@pytest.fixture
async def follow(server: Server) -> AsyncIterator[Follow]:
    """Makes clients of a server's board, and lets them go at the end."""
    clients: list[Client] = []

    def follow(*arguments: Any, board: Board | None = None, **fields: Any) -> Client:
        client = Client(board or server.engine.board, *arguments, **fields)
        clients.append(client)
        return client

    yield follow
    for client in clients:
        await client.cut()
    assert not any(client.board._waiting for client in clients)


def told(client: Client) -> list[tuple[list[str], list[str]]]:
    """All changes that came: ids of runs, ids of removed ones."""
    return [
        ([standing.run.id for standing in message.runs], message.removed)
        for message in client.shown
        if isinstance(message, Changes)
    ]


# From the start.


@on_each_store
async def test_the_table_comes_first_then_caught_up_then_what_changes(server: Server, follow: Follow) -> None:
    runs = await ended(server, 3)
    client = await follow().caught_up()
    assert client.kinds() == [Resync, Changes, CaughtUp]
    assert client.shown[0] == Resync("")
    assert [*client.table] == [run.id for run in reversed(runs)]
    run, attempt = await server.running()
    await client.until(lambda: run.id in client.table)
    attempt.end()
    await client.shows(server.store)
    assert client.kinds() == [Resync, Changes, CaughtUp, Changes]


async def test_of_no_runs_the_table_is_complete_at_once(follow: Follow) -> None:
    client = await follow().caught_up()
    assert client.kinds() == [Resync, CaughtUp]


async def test_nothing_is_remembered_before_somebody_watches(server: Server, follow: Follow) -> None:
    runs = await ended(server, 3)
    assert not server.engine.board._entries
    await follow().caught_up()
    await ended(server, 2)
    assert len(server.engine.board._entries) == 2
    assert len(runs) == 3


@on_each_store
async def test_a_long_table_comes_in_many_messages_and_each_run_once(server: Server, follow: Follow) -> None:
    await ended(server, 150)
    client = await follow().caught_up()
    pages = [message for message in client.shown if isinstance(message, Changes)]
    assert len(pages) > 2
    assert sum(len(page.runs) for page in pages) == 150
    await client.shows(server.store)


async def test_heavy_runs_come_in_small_messages(server: Server, follow: Follow) -> None:
    await ended(server, 10, json=f'{{"text": "{"x" * 50_000}"}}')
    client = await follow().caught_up()
    pages = [message for message in client.shown if isinstance(message, Changes)]
    assert max(len(page.runs) for page in pages) == 2
    await client.shows(server.store)
    await ended(server, 2, json=f'{{"text": "{"x" * 50_000}"}}')
    assert all(entry.standing is None for entry in server.engine.board._entries.values())
    await client.shows(server.store)


@on_each_store
async def test_what_changes_while_the_list_is_read_is_not_lost(server: Server, follow: Follow) -> None:
    _, attempt = await server.running()
    _, other = await server.running()
    old = (await ended(server))[0]

    async def meddle() -> None:
        attempt.end()
        other.end(Raised(Error(2, "X", "x")))
        await ended(server, 3)
        await remove(server, old)

    Meddling(server, meddle)
    client = await follow().caught_up()
    await client.shows(server.store)
    assert len(client.table) == 5


async def test_what_is_told_between_pages_does_not_wait_for_the_last_one(
    server: Server, follow: Follow
) -> None:
    await ended(server, 40)
    board = bounded(server, runs=3)
    client = follow(board=board)
    client.free.clear()
    for _ in range(4):
        await ended(server, 2)
        client.free.set()
        await asyncio.sleep(0)
        client.free.clear()
        await settle()
    client.free.set()
    await client.shows(server.store)


# Matching, and not any more.


@on_each_store
async def test_a_run_that_does_not_match_any_more_is_removed_once(server: Server, follow: Follow) -> None:
    run, attempt = await server.running()
    client = await follow(RUNNING).caught_up()
    assert [*client.table] == [run.id]
    attempt.end()
    await client.until(lambda: not client.table)
    assert told(client)[-1] == ([], [run.id])
    await ended(server, 3)
    await remove(server, await server.get(run.id))
    later, _ = await server.running()
    await client.until(lambda: later.id in client.table)
    assert not client.strangers


async def test_runs_that_never_matched_are_not_mentioned(server: Server, follow: Follow) -> None:
    client = await follow(RunFilter(provider="holding", states=frozenset({State.RUNNING}))).caught_up()
    gone = await ended(server, 3)
    await remove(server, gone[0])
    run, _ = await server.running("holding")
    await client.until(lambda: client.table)
    assert told(client) == [([run.id], [])]


async def test_who_goes_on_hears_only_of_what_it_may_have(server: Server, follow: Follow) -> None:
    labelled = {"a": "b"}
    client = await follow(RunFilter(labels=labelled, states=frozenset({State.RUNNING}))).caught_up()
    mine, attempt = await server.running(labels=labelled)
    _, other = await server.running()
    await client.until(lambda: mine.id in client.table)
    await client.cut()
    attempt.end()
    other.end()
    await server.final(mine.id)
    client.connect()
    await client.until(lambda: not client.table)
    assert told(client)[-1] == ([], [mine.id])
    await remove(server, await server.get(mine.id))
    last, _ = await server.running(labels=labelled)
    await client.until(lambda: last.id in client.table)
    assert told(client)[-2:] == [([], [mine.id]), ([last.id], [])]


@on_each_store
async def test_a_deleted_run_is_removed(server: Server, follow: Follow) -> None:
    first, second = await ended(server, 2)
    client = await follow().caught_up()
    await remove(server, first)
    await client.until(lambda: first.id not in client.table)
    await client.cut()
    await remove(server, second)
    client.connect()
    await client.shows(server.store)
    assert client.table == {}
    assert [kind for kind in client.kinds() if kind is Resync] == [Resync]


async def test_a_run_under_the_id_of_a_deleted_one_is_a_new_run(server: Server, follow: Follow) -> None:
    (old,) = await ended(server, run_id="mine")
    client = await follow().caught_up()
    assert client.table["mine"] == old
    server.clock.advance(1)
    board = server.engine.board
    await server.store.remove([old.id])
    server.engine._journal.forget(old.id)
    new, _ = await server.running(run_id="mine")
    board.removed(old.id)  # heard late
    client.table.clear()
    await client.until(lambda: client.table.get("mine") == new)
    await client.shows(server.store)


# Going on.


@on_each_store
async def test_who_comes_back_gets_exactly_what_changed(server: Server, follow: Follow) -> None:
    await ended(server, 30)
    client = await follow().caught_up()
    await client.cut()
    news = await ended(server, 5)
    shown = len(client.shown)
    client.connect()
    client.complete = False
    await client.shows(server.store)
    kinds = [type(message) for message in client.shown[shown:]]
    assert kinds == [Changes, CaughtUp]
    assert told(client)[-1] == ([run.id for run in news], [])


@on_each_store
async def test_a_cut_behind_any_message_loses_nothing_and_begins_nothing_anew(
    server: Server, follow: Follow
) -> None:
    await ended(server, 60)
    client = follow()
    client.free.clear()
    cuts = 0
    while client.place is None or client.place.behind is not None:
        shown = len(client.shown)
        await client.until(lambda: len(client.shown) > shown)  # noqa: B023 - awaited here
        await client.cut()
        await ended(server, 2)
        client.connect()
        cuts += 1
    client.free.set()
    await client.shows(server.store)
    assert cuts >= 4
    assert [message for message in client.shown if isinstance(message, Resync)] == [Resync("")]


async def test_a_place_before_what_is_remembered_begins_anew_and_says_why(
    server: Server, follow: Follow
) -> None:
    board = bounded(server, runs=4)
    runs = await ended(server, 2)
    client = await follow(board=board).caught_up()
    await client.cut()
    await remove(server, runs[0])
    await ended(server, 4)
    client.connect()
    await client.shows(server.store)
    reasons = [message.reason for message in client.shown if isinstance(message, Resync)]
    assert reasons == ["", "more has changed meanwhile than is remembered: the last 4 runs"]
    assert client.kinds()[-3:] == [Resync, Changes, CaughtUp]


async def test_the_last_place_that_is_remembered_can_be_continued(server: Server, follow: Follow) -> None:
    board = bounded(server, runs=4)
    client = await follow(board=board).caught_up()
    await ended(server, 1)
    await client.shows(server.store)
    await client.cut()
    await ended(server, 4)
    client.connect()
    await client.shows(server.store)
    assert len([message for message in client.shown if isinstance(message, Resync)]) == 1


async def test_a_reader_who_stops_begins_anew_without_a_queue(server: Server, follow: Follow) -> None:
    board = bounded(server, weight=10_000)
    client = await follow(board=board).caught_up()
    client.free.clear()
    await ended(server, 20)
    assert board._weight <= 10_000
    client.free.set()
    await client.shows(server.store)
    assert len([message for message in client.shown if isinstance(message, Resync)]) == 2


@on_each_store
async def test_a_place_of_an_older_server_begins_anew(serve: Serve, server: Server, follow: Follow) -> None:
    await ended(server, 3)
    client = await follow().caught_up()
    await server.crash()
    await client.cut()
    second = await serve()
    client.connect(second.engine.board)
    client.complete = False
    await client.shows(second.store)
    assert client.shown[-3] == Resync("the server was restarted, or is another one")


async def test_a_place_ahead_of_all_changes_begins_anew(server: Server, follow: Follow) -> None:
    client = await follow().caught_up()
    await client.cut()
    client.place = Place(server.engine.boot_id, 1_000)
    client.connect()
    await client.until(lambda: len(client.shown) == 4)
    assert client.kinds() == [Resync, CaughtUp, Resync, CaughtUp]


# Beside the changes.


async def test_many_changes_of_a_run_are_told_as_few(server: Server, follow: Follow) -> None:
    client = await follow().caught_up()
    run, attempt = await server.running()
    for number in range(100):
        attempt.log(str(number))
        await settle()
    attempt.end()
    await server.final(run.id)
    await client.shows(server.store)
    assert len(told(client)) < 10


async def test_an_idle_stream_has_heartbeats(server: Server, follow: Follow) -> None:
    client = follow(heartbeat=0.01)
    await client.until(lambda: client.shown.count(Heartbeat()) == 3)
    assert client.place == Place(server.engine.boot_id, 0)


async def test_a_stream_whose_runs_do_not_change_has_heartbeats_while_others_do(
    server: Server, follow: Follow
) -> None:
    client = await follow(RunFilter(provider="holding"), heartbeat=0.05).caught_up()
    async with asyncio.timeout(10):
        while client.shown.count(Heartbeat()) < 3:
            await ended(server)
    assert told(client) == []
    assert client.place is not None
    assert client.place.number > 0


async def test_a_draining_server_ends_all_streams(server: Server, follow: Follow) -> None:
    idle, filtered = await follow().caught_up(), await follow(RUNNING).caught_up()
    await server.engine.drain(1)
    await idle.gone()
    await filtered.gone()
    late = follow()
    await late.gone()
    assert late.kinds() == [Resync, GoingAway]


async def test_a_change_stored_unheard_is_told(server: Server, follow: Follow) -> None:
    client = await follow().caught_up()
    server.store.afterwards.append(Unavailable("the store is away"))
    with pytest.raises(Unavailable):
        await server.start(start_after=server.clock.now() + 60_000_000)
    await client.shows(server.store)
    assert len(client.table) == 1


async def test_a_start_that_was_not_stored_is_not_told(server: Server, follow: Follow) -> None:
    client = await follow().caught_up()
    await client.cut()
    client.connect()
    server.store.fail("save", Unavailable("the store is away"))
    with pytest.raises(Unavailable):
        await server.start(start_after=server.clock.now() + 60_000_000)
    run = await server.start(start_after=server.clock.now() + 60_000_000)
    await client.until(lambda: run.id in client.table)
    assert told(client) == [([run.id], [])]


async def test_watching_resumes_no_run(serve: Serve, server: Server, follow: Follow) -> None:
    run, _ = await server.running("holding")
    await server.crash()
    second = await serve()
    held = await second.get(run.id)
    assert held.state is State.INTERRUPTED
    client = await follow(RunFilter(interrupted_only=True), board=second.engine.board).caught_up()
    assert client.table == {run.id: held}
    await second.sweep()
    assert await second.get(run.id) == held


async def test_streams_that_are_not_read_cost_a_change_nothing(server: Server, follow: Follow) -> None:
    clients = [await follow().caught_up() for _ in range(20)]
    for client in clients:
        client.free.clear()
    await ended(server)
    await settle()
    assert not server.engine.board._waiting
    for client in clients:
        client.free.set()
    for client in clients:
        await within(client.shows(server.store))
