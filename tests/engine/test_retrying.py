"""Retrying: a new run from a final one, from its checkpoint, for its failed targets, once for a request id."""

from typing import Any

import pytest
from msgspec.structs import replace

from runcast.server.engine.request import Start
from runcast.server.engine.retrying import Again
from runcast.server.model.call import Raised, Returned
from runcast.server.model.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from runcast.server.model.event import AttemptStarted, SaveCheckpoint
from runcast.server.model.run import Error, Failure, Payload, Run, State
from tests.engine.catalog import PROVIDERS, FixedCatalog
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import ScriptedAttempt
from tests.engine.server import Server


async def ended(server: Server, *reports: Any, **fields: Any) -> Run:
    """A run of `resuming` that told this and failed."""
    run, attempt = await server.running("resuming", **fields)
    attempt.report(*reports)
    attempt.end(Raised(Error(2, "X", "x")))
    return await server.final(run.id)


async def retried(server: Server, old: Run, **fields: Any) -> tuple[Run, ScriptedAttempt]:
    """The new run and its first attempt."""
    started = await server.engine.retry(Again(run_id=old.id, **fields))
    assert started.created
    assert started.run.id != old.id
    return started.run, await server.attempt()


@on_each_store
async def test_a_retry_is_a_new_run_of_the_same_with_the_old_one_untouched(server: Server) -> None:
    old = await ended(
        server, json='{"a": 1}', labels={"team": "x"}, overrides={"priority": 7}, principal="first"
    )
    new, attempt = await retried(server, old, principal="second")
    assert (new.definition.retry_of, new.attempt, new.tries) == (old.id, 1, 0)
    assert new.definition == replace(old.definition, retry_of=old.id, principal="second")
    assert (attempt.call.input, attempt.call.checkpoint, attempt.call.targets) == (
        old.definition.input.json, None, (),
    )  # fmt: skip
    attempt.end(Returned("null"))
    assert (await server.final(new.id)).state is State.SUCCEEDED
    assert await server.get(old.id) == old


@on_each_store
@pytest.mark.parametrize("waits", [False, True])
async def test_a_retry_from_the_checkpoint_has_it_for_its_own(server: Server, waits: bool) -> None:
    old = await ended(server, SaveCheckpoint(b"one"), SaveCheckpoint(b"two", 3))
    blocking = [(await server.running())[1] for _ in range(4)] if waits else []
    started = await server.engine.retry(Again(run_id=old.id, from_checkpoint=True))
    assert started.run.state is (State.QUEUED if waits else State.RUNNING)
    assert started.run.checkpoint_number == 1
    await server.engine.control.delete(old.id)
    for other in blocking:
        other.end()
    await server.sweep()
    attempt = await server.attempt()
    assert attempt.call.checkpoint is not None
    assert (attempt.call.checkpoint.data, attempt.call.checkpoint.schema_version) == (b"two", 3)
    await attempt.sink.commit(SaveCheckpoint(b"three"))
    assert (await server.get(started.run.id)).checkpoint_number == 2
    assert AttemptStarted(server.engine.boot_id, True) in await server.told(started.run.id)


@on_each_store
async def test_a_retry_for_failed_targets_tells_the_provider_which_once_each(server: Server) -> None:
    old = await ended(server, Failure("b"), Failure("a"), Failure("b"))
    new, attempt = await retried(server, old, failed_targets_only=True)
    assert attempt.call.targets == ("b", "a")
    attempt.report(Failure("a"))
    attempt.end(Returned("null"))
    await server.final(new.id)
    third, attempt = await retried(server, new, failed_targets_only=True)
    assert attempt.call.targets == ("a",)
    attempt.end(Returned("null"))
    _, attempt = await retried(server, await server.final(third.id))
    assert attempt.call.targets == ("a",)  # the same again is for the same targets


async def test_a_retry_without_failed_targets_or_with_more_than_are_kept_is_refused(server: Server) -> None:
    few = await ended(server)
    many = await ended(server, *[Failure(str(number)) for number in range(1_001)])
    for old in (few, many):
        with pytest.raises(FailedPrecondition) as refused:
            await server.engine.retry(Again(run_id=old.id, failed_targets_only=True))
        assert refused.value.reason == "NO_FAILED_TARGETS"
        assert ("1,001" in refused.value.message) is (old is many)


async def test_new_parameters_replace_the_old_ones_as_a_whole_and_are_checked(server: Server) -> None:
    old = await ended(server, json='{"a": 1, "b": 2}')
    _, attempt = await retried(server, old, input=Payload(json='{"b": 3}'))
    assert attempt.call.input == '{"b": 3, "defaulted": true}'
    for wrong in (Payload(json='{"wrong": 1}'), Payload(data=b"\0"), Payload(json='"' + "x" * 300_000 + '"')):
        with pytest.raises(InvalidArgument):
            await server.engine.retry(Again(run_id=old.id, input=wrong))


async def test_the_same_request_again_is_answered_with_the_same_run_whatever_has_changed(
    server: Server,
) -> None:
    old = await ended(server)
    again = Again(run_id=old.id, request_id="r", digest=b"1")
    first = await server.engine.retry(again)
    (await server.attempt()).end()
    second = await server.engine.retry(again)
    assert (second.run.id, first.created, second.created) == (first.run.id, True, False)
    await server.engine.control.delete(old.id)
    assert (await server.engine.retry(again)).run.id == first.run.id
    other = await ended(server)
    with pytest.raises(AlreadyExists) as refused:
        await server.engine.retry(Again(run_id=other.id, request_id="r", digest=b"2"))
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_a_request_id_is_shared_with_starts(server: Server) -> None:
    old = await ended(server)
    await server.engine.start(Start(provider="work", request_id="r", digest=b"start"))
    with pytest.raises(AlreadyExists):
        await server.engine.retry(Again(run_id=old.id, request_id="r", digest=b"retry"))


async def test_what_cannot_be_retried_says_why(server: Server) -> None:
    running, _ = await server.running()
    old = await ended(server)
    cases: list[tuple[Again, str]] = [
        (Again(run_id="nobody"), "RUN_NOT_FOUND"),
        (Again(run_id=running.id), "RUN_STATE"),
        (Again(run_id=old.id, from_checkpoint=True), "NO_CHECKPOINT"),
        (Again(run_id=old.id, request_id="x" * 129), "INVALID_ARGUMENT"),
    ]
    for again, reason in cases:
        with pytest.raises((NotFound, FailedPrecondition, InvalidArgument)) as refused:
            await server.engine.retry(again)
        assert refused.value.reason == reason
    server.engine.announce_drain()
    with pytest.raises(Unavailable) as draining:
        await server.engine.retry(Again(run_id=old.id))
    assert draining.value.reason == "DRAINING"


async def test_a_run_whose_provider_is_gone_is_not_retried_and_one_that_changed_goes_by_the_new(
    serve: Serve,
) -> None:
    server = await serve()
    old = await ended(server)
    await server.engine.close()
    left = [one for one in PROVIDERS if one.name != "resuming"]
    server = await serve(catalog=FixedCatalog(left))
    with pytest.raises(NotFound) as refused:
        await server.engine.retry(Again(run_id=old.id))
    assert refused.value.reason == "PROVIDER_NOT_FOUND"
    await server.engine.close()
    changed = [replace(one, pausable=True) if one.name == "resuming" else one for one in PROVIDERS]
    server = await serve(catalog=FixedCatalog(changed))
    new, _ = await retried(server, old)
    assert (old.definition.pausable, new.definition.pausable) == (False, True)
