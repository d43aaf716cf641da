"""Request ids: a start that is repeated happens once."""

import asyncio

import pytest

from runcast.server.engine.request import Start
from runcast.server.model.errors import AlreadyExists, Unavailable
from runcast.server.model.run import Page, RunFilter, State
from tests.engine.conftest import on_each_store
from tests.engine.server import Server

FIRST = Start(provider="work", request_id="r1", digest=b"one", principal="me")


@on_each_store
async def test_the_same_request_again_answers_with_the_same_run(server: Server) -> None:
    first = await server.engine.start(FIRST)
    again = await server.engine.start(FIRST)
    assert (first.created, again.created) == (True, False)
    assert again.run.id == first.run.id
    assert server.coroutines.taken == 1


@on_each_store
async def test_the_same_request_answers_with_the_run_as_it_is_by_then(server: Server) -> None:
    first = await server.engine.start(FIRST)
    (await server.attempt()).end()
    await server.final(first.run.id)
    assert (await server.engine.start(FIRST)).run.state is State.SUCCEEDED


async def test_another_request_under_a_used_id_is_refused(server: Server) -> None:
    await server.engine.start(FIRST)
    with pytest.raises(AlreadyExists) as caught:
        await server.engine.start(Start(provider="work", request_id="r1", digest=b"two", principal="me"))
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert server.coroutines.taken == 1


async def test_somebody_elses_request_id_is_another_one(server: Server) -> None:
    mine = await server.engine.start(FIRST)
    theirs = await server.engine.start(
        Start(provider="work", request_id="r1", digest=b"one", principal="them")
    )
    assert theirs.created
    assert theirs.run.id != mine.run.id


@on_each_store
async def test_concurrent_duplicates_make_one_run(server: Server) -> None:
    outcomes = await asyncio.gather(*[server.engine.start(FIRST) for _ in range(10)])
    assert len({outcome.run.id for outcome in outcomes}) == 1
    assert sum(outcome.created for outcome in outcomes) == 1
    assert server.coroutines.taken == 1
    assert len(await server.engine.list(RunFilter(), Page(10))) == 1


async def test_duplicates_in_one_batch_make_one_run(server: Server) -> None:
    outcomes = await server.engine.start_many([FIRST, FIRST])
    assert [getattr(outcome, "created", None) for outcome in outcomes] == [True, False]


async def test_a_request_that_failed_may_be_sent_again(server: Server) -> None:
    server.store.fail("save", Unavailable("the store is away"))
    with pytest.raises(Unavailable):
        await server.engine.start(FIRST)
    assert (await server.engine.start(FIRST)).created


async def test_a_request_that_was_stored_without_an_answer_is_found_when_it_is_sent_again(
    server: Server,
) -> None:
    server.store.afterwards.append(Unavailable("the connection broke"))
    with pytest.raises(Unavailable):
        await server.engine.start(FIRST)
    again = await server.engine.start(FIRST)
    assert not again.created
    await server.sweep()
    assert (await server.becomes(again.run.id, State.INTERRUPTED)).attempt == 1
    assert server.coroutines.taken == 0
