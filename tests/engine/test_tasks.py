"""Stored tasks: kept once, changed by one writer at a time, found, and what a run takes from them."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from runcast.server.engine.request import Start
from runcast.server.model.errors import (
    Aborted,
    AlreadyExists,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from runcast.server.model.run import Page
from runcast.server.model.task import Task, TaskFilter
from tests.engine.catalog import PROVIDERS, FixedCatalog
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import within
from tests.engine.server import Server, settle
from tests.engine.tasks import task

ALL = TaskFilter()


async def listed(server: Server, filter: TaskFilter = ALL, limit: int = 1_000) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    behind = None
    while True:
        found = await server.engine.tasks.list(filter, Page(limit, behind))
        assert len(found.tasks) <= limit
        ids.extend(one.id for one in found.tasks)
        behind = found.behind
        if behind is None:
            return ids


def with_name(name: str) -> Any:
    return lambda before: replace(before, display_name=name)


# Keeping.


@on_each_store
async def test_a_task_is_read_back_as_it_was_stored(server: Server) -> None:
    server.clock.advance(5)
    stored = await server.engine.tasks.create(
        task(
            "nightly",
            json='{"path": "a"}',
            display_name="Nightly",
            description="At night.",
            labels={"a": "b"},
        )
    )
    assert stored == await server.engine.tasks.get("nightly")
    assert stored.create_time == stored.update_time == server.clock.now()
    assert stored.generation == 1


async def test_an_id_is_made_where_none_is_given(server: Server) -> None:
    first = await server.engine.tasks.create(task())
    second = await server.engine.tasks.create(task())
    assert first.id.startswith("task_")
    assert first.id != second.id


@on_each_store
async def test_an_id_that_is_taken_is_refused_and_the_task_stays(server: Server) -> None:
    stored = await server.engine.tasks.create(task("one", display_name="mine"))
    with pytest.raises(AlreadyExists) as refused:
        await server.engine.tasks.create(task("one", display_name="yours"))
    assert refused.value.reason == "TASK_ID_TAKEN"
    assert await server.engine.tasks.get("one") == stored


@on_each_store
async def test_a_request_that_is_repeated_makes_one_task(server: Server) -> None:
    made = await asyncio.gather(
        *[server.engine.tasks.create(task(), request_id="r1", digest=b"one") for _ in range(5)]
    )
    assert len({one.id for one in made}) == 1
    assert await listed(server) == [made[0].id]


@on_each_store
async def test_a_repeated_request_is_known_although_it_would_be_refused_by_now(serve: Serve) -> None:
    first = await serve()
    stored = await first.engine.tasks.create(task(), request_id="r1", digest=b"one")
    await first.engine.close()
    second = await serve(catalog=FixedCatalog([p for p in PROVIDERS if p.name != "work"]))
    assert await second.engine.tasks.create(task(), request_id="r1", digest=b"one") == stored
    with pytest.raises(NotFound):
        await second.engine.tasks.create(task(), request_id="r2", digest=b"one")
    with pytest.raises(NotFound):
        await second.engine.tasks.create(task(), request_id="r2", digest=b"one")


@on_each_store
async def test_a_request_that_is_repeated_beyond_a_deletion_makes_no_second_task(server: Server) -> None:
    made = await server.engine.tasks.create(task(), request_id="r1", digest=b"one")
    await server.engine.tasks.delete(made.id)
    with pytest.raises(NotFound, match=made.id):
        await server.engine.tasks.create(task(), request_id="r1", digest=b"one")
    assert await listed(server) == []


@on_each_store
@pytest.mark.parametrize("by_a_run", [False, True])
async def test_a_request_id_of_another_request_is_refused(server: Server, by_a_run: bool) -> None:
    if by_a_run:
        await server.engine.start(Start(provider="work", request_id="r1", digest=b"one"))
    else:
        await server.engine.tasks.create(task(), request_id="r1", digest=b"one")
    with pytest.raises(AlreadyExists) as refused:
        await server.engine.tasks.create(task("late"), request_id="r1", digest=b"two")
    assert refused.value.reason == "REQUEST_ID_REUSED"
    assert "late" not in await listed(server)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (task("Upper"), "task.id"),
        (task("a" * 64), "task.id"),
        (task("-a"), "task.id"),
        (task(provider=""), "task.provider"),
        (task(display_name="x" * 256), "task.display_name"),
        (task(description="x" * 4_097), "task.description"),
        (task(labels={f"k{n}": "" for n in range(65)}), "task.labels"),
        (task(labels={"a b": ""}), "task.labels['a b']"),
        (task(labels={"a": "x" * 257}), "task.labels['a']"),
        (task(spec={"retry": {"max_attempts": -1}}), "task.spec.retry.max_attempts"),
        (task(spec={"queue": "q" * 64}), "task.spec.queue"),
        (task(json='{"wrong": 1}'), "task.input.wrong"),
        (task(json="[1]"), "task.input"),
        (task(json="{"), "task.input"),
        (task(json="[" * 100_000), "task.input"),
        (task(json='"' + "x" * 300_000 + '"'), "task.input"),
    ],
)
async def test_what_cannot_be_right_is_named_and_not_stored(server: Server, wrong: Task, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await server.engine.tasks.create(wrong)
    assert [violation.field for violation in refused.value.violations] == [field]
    assert await listed(server) == []


async def test_all_that_is_wrong_is_told_at_once(server: Server) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await server.engine.tasks.create(
            task("A", "nobody", "[]", labels={"?": ""}, display_name="x" * 256, spec={"queue": ""})
        )
    assert [violation.field for violation in refused.value.violations] == [
        *("task.id", "task.display_name", "task.labels['?']", "task.spec.queue", "task.input"),
    ]


async def test_a_provider_that_is_not_here_is_refused(server: Server) -> None:
    with pytest.raises(NotFound) as refused:
        await server.engine.tasks.create(task("one", "nobody"))
    assert refused.value.reason == "PROVIDER_NOT_FOUND"
    await server.engine.tasks.create(task("one"))
    with pytest.raises(NotFound, match="nobody"):
        await server.engine.tasks.update("one", lambda before: replace(before, provider="nobody"))


async def test_a_task_is_visible_once_it_is_durable(server: Server) -> None:
    server.store.hold()
    creating = asyncio.create_task(server.engine.tasks.create(task("one")))
    await within(server.store.arrived.wait())
    await settle()
    assert not creating.done()
    with pytest.raises(NotFound):
        await server.engine.tasks.get("one")
    server.store.release()
    assert await creating == await server.engine.tasks.get("one")


# Changing.


@on_each_store
async def test_an_update_counts_and_keeps_what_it_does_not_touch(server: Server) -> None:
    before = await server.engine.tasks.create(task("one", json='{"a": 1}', spec={"timeouts": {"run": None}}))
    server.clock.advance(3)
    after = await server.engine.tasks.update("one", with_name("new"), before.etag)
    assert after == replace(before, version=1, update_time=server.clock.now(), display_name="new")
    assert after == await server.engine.tasks.get("one")
    assert (after.generation, after.etag != before.etag) == (2, True)


@on_each_store
async def test_an_old_etag_is_refused(server: Server) -> None:
    before = await server.engine.tasks.create(task("one"))
    after = await server.engine.tasks.update("one", with_name("first"), before.etag)
    with pytest.raises(Aborted) as refused:
        await server.engine.tasks.update("one", with_name("second"), before.etag)
    assert refused.value.reason == "CONFLICT"
    assert await server.engine.tasks.get("one") == after


@on_each_store
async def test_of_two_writers_at_once_with_one_etag_exactly_one_wins(server: Server) -> None:
    stored = await server.engine.tasks.create(task("one"))
    for number in range(50):
        names = [f"left {number}", f"right {number}"]
        outcomes = await asyncio.gather(
            *[server.engine.tasks.update("one", with_name(name), stored.etag) for name in names],
            return_exceptions=True,
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, Task)]
        assert len(won) == 1
        assert [type(outcome) for outcome in outcomes if outcome not in won] == [Aborted]
        stored = await server.engine.tasks.get("one")
        assert stored == won[0]
        assert stored.generation == number + 2


@on_each_store
async def test_writers_without_an_etag_lose_no_field_of_each_other(server: Server) -> None:
    await server.engine.tasks.create(task("one"))

    def labelled(key: str) -> Any:
        return lambda before: replace(before, labels={**before.labels, key: ""})

    await asyncio.gather(*[server.engine.tasks.update("one", labelled(f"k{n}")) for n in range(20)])
    stored = await server.engine.tasks.get("one")
    assert sorted(stored.labels) == sorted(f"k{n}" for n in range(20))
    assert stored.generation == 21


async def test_an_update_that_is_wrong_changes_nothing(server: Server) -> None:
    before = await server.engine.tasks.create(task("one"))
    with pytest.raises(InvalidArgument):
        await server.engine.tasks.update("one", with_name("x" * 256))
    assert await server.engine.tasks.get("one") == before


@on_each_store
async def test_a_deleted_task_is_gone_and_its_id_is_free(server: Server) -> None:
    await server.engine.tasks.create(task("one"))
    run = (await server.engine.start(Start(task="one"))).run
    await server.engine.tasks.update("one", with_name("x"))
    await server.engine.tasks.delete("one")
    for call in (server.engine.tasks.get("one"), server.engine.tasks.delete("one"),
                 server.engine.tasks.update("one", with_name("y"))):  # fmt: skip
        with pytest.raises(NotFound) as refused:
            await call
        assert refused.value.reason == "TASK_NOT_FOUND"
    assert (await server.get(run.id)).definition.task == "one"
    assert (await server.engine.tasks.create(task("one"))).generation == 1


async def test_a_store_that_is_away_is_told(server: Server) -> None:
    server.store.fail("save", Unavailable("away"))
    with pytest.raises(Unavailable):
        await server.engine.tasks.create(task("one"))
    assert await listed(server) == []


# Finding.


@on_each_store
async def test_filters_select_by_each_field_and_by_all_together(serve: Serve) -> None:
    first = await serve()
    for one in (
        task("a", "work", labels={"team": "x", "env": "test"}, display_name="Nightly Import"),
        task("b", "work", labels={"team": "y"}, enabled=False, description="imports café data"),
        task("c-import", "failing", labels={"team": "x"}),
    ):
        first.clock.advance(1)
        await first.engine.tasks.create(one)
    await first.engine.close()
    server = await serve(catalog=FixedCatalog([p for p in PROVIDERS if p.name != "failing"]))
    for wanted, expected in (
        (ALL, ["c-import", "b", "a"]),
        (TaskFilter(provider="work"), ["b", "a"]),
        (TaskFilter(provider="wor"), []),
        (TaskFilter(orphaned=True), ["c-import"]),
        (TaskFilter(enabled=True), ["c-import", "a"]),
        (TaskFilter(enabled=False), ["b"]),
        (TaskFilter(labels={"team": "x"}), ["c-import", "a"]),
        (TaskFilter(labels={"team": "x", "env": "test"}), ["a"]),
        (TaskFilter(text="IMPORT"), ["c-import", "b", "a"]),
        (TaskFilter(text="nightly imp"), ["a"]),
        (TaskFilter(text="CAFÉ"), ["b"]),
        (TaskFilter(text="mport"), []),
        (TaskFilter(text="import", orphaned=True, enabled=True, labels={"team": "x"}), ["c-import"]),
        (TaskFilter(text="import", orphaned=True, enabled=False), []),
    ):
        assert await listed(server, wanted) == expected, wanted
    with pytest.raises(InvalidArgument):
        await listed(server, TaskFilter(text="?!"))


@on_each_store
async def test_a_list_over_many_tasks_has_each_once_although_some_come_meanwhile(server: Server) -> None:
    there = []
    for number in range(1_000):
        server.clock.advance(0 if number % 3 else 1)
        there.append((await server.engine.tasks.create(task(f"t{number:04}"))).id)
    ids: list[str] = []
    behind = None
    for page in range(100):
        found = await server.engine.tasks.list(ALL, Page(70, behind))
        ids.extend(one.id for one in found.tasks)
        server.clock.advance(1)
        await server.engine.tasks.create(task(f"new{page}"))
        behind = found.behind
        if behind is None:
            break
    assert len(ids) == len(set(ids))
    assert set(ids) == set(there)
    times = [(await server.engine.tasks.get(one)).create_time for one in ids]
    assert times == sorted(times, reverse=True)


async def test_a_filter_that_fits_little_looks_at_few_at_a_time_and_tells_where_to_go_on(
    server: Server,
) -> None:
    await server.engine.tasks.create(task("wanted", labels={"a": "b"}))
    server.clock.advance(1)
    for number in range(2_100):
        await server.engine.tasks.create(task(f"other{number}"))
    wanted = TaskFilter(labels={"a": "b"})
    first = await server.engine.tasks.list(wanted, Page(10))
    assert (list(first.tasks), first.behind is None) == ([], False)
    assert await listed(server, wanted) == ["wanted"]


async def test_a_page_of_large_tasks_is_cut(server: Server) -> None:
    for number in range(30):
        await server.engine.tasks.create(task(f"t{number}", json='{"x": "' + "x" * 250_000 + '"}'))
    found = await server.engine.tasks.list(ALL, Page(1_000))
    assert len(found.tasks) < 30
    assert len(await listed(server)) == 30
