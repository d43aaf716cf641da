"""Starting runs: what is stored, when, and what a caller hears of it."""

import asyncio

import pytest

from runcast.server.engine.request import Start
from runcast.server.engine.starting import Started
from runcast.server.model.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    RuncastError,
    Unavailable,
)
from runcast.server.model.event import AttemptStarted, StateChanged
from runcast.server.model.run import AttemptState, Page, Payload, Recovery, RunFilter, State
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import within
from tests.engine.server import Server, settle
from tests.engine.stores import changes


@on_each_store
async def test_a_start_with_a_free_slot_is_stored_and_claimed_in_one_change(server: Server) -> None:
    run = await server.start()
    assert run.state is State.RUNNING
    assert run.owner == server.engine.boot_id
    assert [changes(groups) for groups in server.store.saved] == [[(run.id, 0)]]
    assert await server.told(run.id) == [
        StateChanged(None, State.QUEUED),
        StateChanged(State.QUEUED, State.RUNNING),
        AttemptStarted(server.engine.boot_id),
    ]


async def test_the_code_starts_after_the_claim_is_durable(server: Server) -> None:
    server.store.hold()
    starting = asyncio.create_task(server.start())
    await within(server.store.arrived.wait())
    await settle()
    assert server.coroutines.idle
    assert not starting.done()
    server.store.release()
    run = await starting
    assert (await server.attempt()).call.run_id == run.id


async def test_the_code_gets_defaulted_parameters_labels_and_a_deadline(server: Server) -> None:
    _, attempt = await server.running(json='{"path": "a"}', labels={"team": "x"})
    assert attempt.call.input == '{"defaulted": true, "path": "a"}'
    assert attempt.call.labels == {"team": "x"}
    assert attempt.call.attempt == 1
    assert attempt.call.checkpoint is None
    assert attempt.call.deadline == server.clock.now() + 60_000_000


@on_each_store
async def test_a_start_without_a_free_slot_is_queued_and_begins_when_one_is_free(server: Server) -> None:
    attempts = [(await server.running())[1] for _ in range(4)]
    run = await server.start()
    assert run.state is State.QUEUED
    assert run.attempt == 0
    assert server.coroutines.idle
    attempts[0].end()
    assert (await server.attempt()).call.run_id == run.id
    assert (await server.get(run.id)).state is State.RUNNING


async def test_a_start_in_the_future_waits_for_its_time(server: Server) -> None:
    run = await server.start(start_after=server.clock.now() + 30_000_000)
    assert run.state is State.SCHEDULED
    await server.later(29)
    assert (await server.get(run.id)).state is State.SCHEDULED
    await server.later(1)
    assert (await server.attempt()).call.run_id == run.id
    assert [body for body in await server.told(run.id) if isinstance(body, StateChanged)] == [
        StateChanged(None, State.SCHEDULED),
        StateChanged(State.SCHEDULED, State.QUEUED),
        StateChanged(State.QUEUED, State.RUNNING),
    ]


async def test_a_start_in_the_past_begins_at_once(server: Server) -> None:
    run = await server.start(start_after=server.clock.now() - 1)
    assert run.state is State.RUNNING


async def test_validating_only_stores_nothing_and_takes_no_slot(server: Server) -> None:
    started = await server.engine.start(
        Start(provider="work", run_id="mine", request_id="r", validate_only=True)
    )
    assert not started.created
    assert started.run.definition.input.json == '{"defaulted": true}'
    assert server.store.saved == []
    assert server.coroutines.taken == 0
    with pytest.raises(NotFound):
        await server.get("mine")


async def test_validating_only_still_refuses_what_is_wrong(server: Server) -> None:
    with pytest.raises(InvalidArgument, match=r"input\.wrong"):
        await server.start(json='{"wrong": 1}', validate_only=True)


@pytest.mark.parametrize(
    ("fields", "error", "reason"),
    [
        ({"provider": "nobody"}, NotFound, "PROVIDER_NOT_FOUND"),
        ({"provider": ""}, InvalidArgument, "INVALID_ARGUMENT"),
        ({"provider": "unserved"}, FailedPrecondition, "EXECUTION_OFF"),
        ({"json": '{"wrong": 1}'}, InvalidArgument, "INVALID_ARGUMENT"),
        ({"run_id": "-a"}, InvalidArgument, "INVALID_ARGUMENT"),
        ({"overrides": {"retry": {"multiplier": float("inf")}}}, InvalidArgument, "INVALID_ARGUMENT"),
    ],
)
async def test_a_wrong_start_stores_nothing(
    server: Server, fields: dict[str, str], error: type[RuncastError], reason: str
) -> None:
    with pytest.raises(error) as caught:
        await server.start(**fields)
    assert caught.value.reason == reason
    assert server.store.saved == []
    assert server.coroutines.taken == 0


async def test_overrides_change_the_fields_they_name_and_no_others(server: Server) -> None:
    run = await server.start(
        "retrying",
        overrides={"priority": 7, "recovery": Recovery.FAIL, "retry": {"max_attempts": 5}},
    )
    defaults = server.engine.provider("retrying").defaults
    assert (run.spec.priority, run.spec.recovery) == (7, Recovery.FAIL)
    assert run.spec.retry.max_attempts == 5
    assert run.spec.retry.initial_backoff == defaults.retry.initial_backoff
    assert run.spec.timeouts == defaults.timeouts


@on_each_store
async def test_a_run_id_of_ones_own_is_taken_once(server: Server) -> None:
    first = await server.start(run_id="mine")
    with pytest.raises(AlreadyExists) as caught:
        await server.start(run_id="mine")
    assert caught.value.reason == "RUN_ID_TAKEN"
    again = await server.engine.start(Start(provider="work", run_id="mine", use_existing=True))
    assert again == Started(await server.get(first.id), created=False)
    assert server.coroutines.taken == 1


@on_each_store
async def test_concurrent_starts_with_one_run_id_make_one_run(server: Server) -> None:
    start = Start(provider="work", run_id="mine", use_existing=True)
    outcomes = await asyncio.gather(*[server.engine.start(start) for _ in range(5)])
    assert sorted(outcome.created for outcome in outcomes) == [False] * 4 + [True]
    assert server.coroutines.taken == 1
    assert len(await server.engine.list(RunFilter(), Page(10))) == 1


@on_each_store
async def test_a_caller_that_leaves_in_the_middle_leaves_a_run_that_begins(server: Server) -> None:
    server.store.hold()
    starting = asyncio.create_task(server.start(run_id="mine"))
    await within(server.store.arrived.wait())
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()
    server.store.release()
    (await server.attempt()).end()
    assert (await server.final("mine")).state is State.SUCCEEDED


async def test_a_store_that_fails_is_an_error_and_gives_the_slot_back(server: Server) -> None:
    server.store.fail("save", Unavailable("the store is away"))
    with pytest.raises(Unavailable, match="the store is away"):
        await server.start(run_id="mine")
    assert server.coroutines.taken == 0
    assert server.coroutines.idle
    with pytest.raises(NotFound):
        await server.get("mine")
    await server.running_later(run_id="mine")


async def test_a_store_that_fails_strangely_says_nothing_of_it_and_the_server_goes_on(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.store.fail("save", RuntimeError("a bug"))
    with pytest.raises(RuncastError) as caught:
        await server.start(run_id="mine")
    assert "a bug" not in caught.value.message
    assert caplog.records
    caplog.clear()
    assert server.coroutines.taken == 0
    assert (await server.start(run_id="mine")).state is State.RUNNING


async def test_an_executor_that_cannot_start_an_attempt_fails_it_and_gives_the_slot_back(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.coroutines.broken = OSError("no more processes")
    run = await server.final((await server.start()).id)
    assert run.state is State.FAILED
    assert run.outcome.error is not None
    assert run.outcome.error.reason == "EXECUTOR_FAILED"
    assert server.coroutines.taken == 0
    caplog.clear()


@on_each_store
async def test_many_starts_are_one_commit_with_an_outcome_each(server: Server) -> None:
    starts = [Start(provider="work", run_id=f"run-{number}") for number in range(4)]
    starts[1] = Start(provider="nobody")
    starts[3] = Start(provider="work", run_id="run-0")
    outcomes = await server.engine.start_many(starts)
    assert [type(outcome) for outcome in outcomes] == [Started, NotFound, Started, AlreadyExists]
    assert [len(groups) for groups in server.store.saved] == [3]
    assert server.coroutines.taken == 2


async def test_a_caller_of_many_that_leaves_hears_of_nothing_and_leaves_no_error_behind(
    server: Server,
) -> None:
    server.store.hold()
    server.store.fail("save", Unavailable("the store is away"))
    starts = [Start(provider="work") for _ in range(3)]
    starting = asyncio.create_task(server.engine.start_many(starts))
    await within(server.store.arrived.wait())
    starting.cancel()
    await asyncio.wait([starting])
    server.store.release()
    await server.until(lambda: server.coroutines.taken == 0)


async def test_a_start_whose_parameters_are_no_json_is_refused(server: Server) -> None:
    with pytest.raises(InvalidArgument):
        await server.engine.start(Start(provider="work", input=Payload(data=b"\0")))


async def test_a_new_run_has_its_first_attempt_before_it_has_ended(server: Server) -> None:
    run, attempt = await server.running()
    assert [(one.number, one.state) for one in await server.engine.attempts(run.id)] == [
        (1, AttemptState.RUNNING)
    ]
    attempt.end()
    await server.final(run.id)
    (only,) = await server.engine.attempts(run.id)
    assert only.state is AttemptState.SUCCEEDED
    assert only.end_time == server.clock.now()


async def test_providers_are_told_by_name(serve: Serve) -> None:
    server = await serve()
    names = [provider.name for provider in server.engine.providers()]
    assert names == sorted(names)
    assert server.engine.provider("work").name == "work"
    with pytest.raises(NotFound):
        server.engine.provider("nobody")
