"""Starting runs from stored tasks: what a run takes from its task, and when it is not started."""

from typing import Any

import pytest
from msgspec.structs import replace

from runcast.server.engine.request import Start
from runcast.server.engine.starting import Started
from runcast.server.model.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    RuncastError,
)
from runcast.server.model.provider import Provider
from runcast.server.model.run import Execution, Payload, Recovery, State
from tests.engine.catalog import PROVIDERS, FixedCatalog
from tests.engine.conftest import Serve, on_each_store
from tests.engine.server import Server
from tests.engine.tasks import task


@on_each_store
async def test_a_run_keeps_what_its_task_was_when_it_was_started(server: Server) -> None:
    await server.engine.tasks.create(
        task("one", json='{"a": 1, "b": {"c": 2}}', spec={"priority": 3}, labels={"team": "x"})
    )
    await server.engine.tasks.update("one", lambda before: replace(before, display_name="x"))
    run = (await server.engine.start(Start(task="one"))).run
    (await server.attempt()).end()
    await server.engine.tasks.update(
        "one",
        lambda before: replace(before, provider="failing", spec={}, labels={}, input=Payload(json="{}")),
    )
    kept = (await server.final(run.id)).definition
    assert (kept.task, kept.task_generation, kept.provider) == ("one", 2, "work")
    assert kept.input.json == '{"a": 1, "b": {"c": 2}, "defaulted": true}'
    assert (kept.spec.priority, kept.labels) == (3, {"team": "x"})


@on_each_store
async def test_a_request_wins_over_its_task_which_wins_over_the_provider(server: Server) -> None:
    spec = {
        "timeouts": {"attempt": 7_000_000, "run": None},
        "retry": {"max_attempts": 5, "non_retryable_reasons": ("A", "B")},
        "recovery": Recovery.RESUME,
        "priority": 3,
    }
    await server.engine.tasks.create(
        task("one", "retrying", '{"a": 1, "b": {"c": 2}}', spec=spec, labels={"team": "x", "env": "test"})
    )
    start = Start(
        task="one",
        input=Payload(json='{"b": {"d": 3}, "e": 4}'),
        labels={"env": "live", "by": "me"},
        overrides={"priority": 9, "retry": {"jitter": 0.5}},
    )
    made = (await server.engine.start(start)).run.definition
    assert made.input.json == '{"a": 1, "b": {"d": 3}, "defaulted": true, "e": 4}'
    assert made.labels == {"team": "x", "env": "live", "by": "me"}
    assert (made.spec.priority, made.spec.recovery) == (9, Recovery.RESUME)
    assert (made.spec.timeouts.attempt, made.spec.timeouts.cancel_grace) == (7_000_000, 10_000_000)
    assert (made.spec.retry.max_attempts, made.spec.retry.jitter) == (5, 0.5)
    assert made.spec.retry.initial_backoff == 8_000_000
    assert type(made.spec.recovery) is Recovery
    assert made.spec.retry.non_retryable_reasons == ("A", "B")


async def test_labels_of_both_together_have_one_limit(server: Server) -> None:
    await server.engine.tasks.create(task("one", labels={f"t{n}": "" for n in range(40)}))
    with pytest.raises(InvalidArgument) as refused:
        await server.engine.start(Start(task="one", labels={f"r{n}": "" for n in range(25)}))
    assert [violation.field for violation in refused.value.violations] == ["labels"]
    again = {f"t{n}": "again" for n in range(40)}
    run = (await server.engine.start(Start(task="one", labels={**again, "r": ""}))).run
    assert run.definition.labels == {**again, "r": ""}


@pytest.mark.parametrize("given", ["[1]", "{", '{"wrong": 1}', "9" * 5_000, r'{"b": "\ud800"}'])
async def test_wrong_parameters_of_a_start_are_named_and_nothing_is_stored(
    server: Server, given: str
) -> None:
    await server.engine.tasks.create(task("one", json='{"a": 1}'))
    with pytest.raises(InvalidArgument) as refused:
        await server.engine.start(Start(task="one", input=Payload(json=given)))
    assert refused.value.violations[0].field.startswith("input")


@on_each_store
async def test_a_task_that_is_unknown_or_off_or_orphaned_is_not_started(serve: Serve) -> None:
    server = await serve()
    await server.engine.tasks.create(task("off", enabled=False))
    await server.engine.tasks.create(task("lost", "failing"))
    await server.engine.tasks.create(task("on"))
    await server.engine.close()
    server = await serve(catalog=FixedCatalog([p for p in PROVIDERS if p.name != "failing"]))
    for name, reason in (
        ("nobody", "TASK_NOT_FOUND"),
        ("off", "TASK_DISABLED"),
        ("lost", "TASK_ORPHANED"),
    ):
        with pytest.raises(RuncastError) as refused:
            await server.engine.start(Start(task=name))
        assert refused.value.reason == reason
        assert isinstance(refused.value, NotFound if name == "nobody" else FailedPrecondition)
        assert name in refused.value.message
    outcomes = await server.engine.start_many([Start(task=name) for name in ("off", "on", "lost", "nobody")])
    reasons = [one.reason if isinstance(one, RuncastError) else one.run.state for one in outcomes]
    assert reasons == ["TASK_DISABLED", State.RUNNING, "TASK_ORPHANED", "TASK_NOT_FOUND"]


@on_each_store
async def test_an_orphaned_task_can_be_switched_and_moved_to_another_provider(serve: Serve) -> None:
    server = await serve()
    await server.engine.tasks.create(task("lost", "failing", '{"a": 1}'))
    await server.engine.close()
    server = await serve(catalog=FixedCatalog([p for p in PROVIDERS if p.name != "failing"]))
    tasks = server.engine.tasks
    assert tasks.orphaned(await tasks.get("lost"))
    off = await tasks.update("lost", lambda before: replace(before, enabled=False))
    assert (off.enabled, off.provider) == (False, "failing")
    moved = await tasks.update("lost", lambda before: replace(before, enabled=True, provider="work"))
    assert not tasks.orphaned(moved)
    assert (await server.engine.start(Start(task="lost"))).run.definition.provider == "work"


@on_each_store
async def test_a_start_that_is_repeated_finds_its_run_although_the_task_was_switched_off(
    server: Server,
) -> None:
    await server.engine.tasks.create(task("one"))
    start = Start(task="one", request_id="r1", digest=b"one")
    first = await server.engine.start(start)
    await server.engine.tasks.update("one", lambda before: replace(before, enabled=False))
    again = await server.engine.start(start)
    assert (again.created, again.run.id) == (False, first.run.id)
    await server.engine.tasks.delete("one")
    (batched,) = await server.engine.start_many([start])
    assert isinstance(batched, Started)
    assert batched.run.id == first.run.id
    with pytest.raises(NotFound):
        await server.engine.start(replace(start, request_id="r2"))
    with pytest.raises(NotFound):
        await server.engine.start(replace(start, digest=b"two"))


async def test_a_batch_reads_each_task_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    await server.engine.tasks.create(task("one"))
    await server.engine.tasks.create(task("two"))
    read: list[str] = []
    original = server.store.document

    async def counted(kind: Any, task_id: str) -> Any:
        read.append(task_id)
        return await original(kind, task_id)

    monkeypatch.setattr(server.store, "document", counted)
    await server.engine.start_many([Start(task=name) for name in ("one", "two") * 10])
    assert sorted(read) == ["one", "two"]


async def test_a_check_of_a_start_from_a_task_stores_nothing(server: Server) -> None:
    await server.engine.tasks.create(task("one"))
    before = len(server.store.saved)
    checked = await server.engine.start(Start(task="one", validate_only=True, request_id="r1"))
    assert (checked.created, checked.run.definition.task) == (False, "one")
    assert len(server.store.saved) == before


async def test_a_task_of_a_provider_that_this_server_does_not_execute_is_kept(server: Server) -> None:
    assert Provider("unserved", Execution.SHELL) in PROVIDERS
    await server.engine.tasks.create(task("one", "unserved"))
    with pytest.raises(FailedPrecondition) as refused:
        await server.engine.start(Start(task="one"))
    assert refused.value.reason == "EXECUTION_OFF"
