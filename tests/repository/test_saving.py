"""Contract: what `save` stores, and what it answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import structs

from runcast.server.model.change import Known, Part, Saved, Stale
from runcast.server.model.errors import NotFound, Unavailable
from runcast.server.model.run import (
    Checkpoint,
    Definition,
    Outcome,
    Page,
    Payload,
    Run,
    RunFilter,
    Spec,
    State,
)
from runcast.server.repository.abc import Repository
from tests.repository.builders import NOW, a_request, a_run, an_attempt, change, following, group, save
from tests.repository.strategies import a_full_run

ALL = RunFilter()
# On both sides of every size that a backend may send at once.
COUNTS = (1, 2, 15, 16, 17, 31, 33, 63, 65, 127, 129, 300)


async def test_a_new_run_is_read_back_as_it_was_saved(repository: Repository) -> None:
    run = a_full_run("run")
    assert await save(repository, change(run, parts=Part.OUTCOME)) == Saved()
    assert await repository.get("run") == run


async def test_an_unknown_run_is_not_found_and_has_nothing(repository: Repository) -> None:
    with pytest.raises(NotFound, match="no run 'nobody'"):
        await repository.get("nobody")
    assert await repository.checkpoint("nobody") is None
    assert [*await repository.attempts("nobody")] == []
    assert [*await repository.events("nobody", 0, 10)] == []


async def test_a_new_run_whose_id_is_taken_is_stale_and_leaves_the_first(repository: Repository) -> None:
    first = a_run("run", start_time=1)
    await save(repository, first)
    assert await save(repository, a_run("run", start_time=2)) == Stale("run")
    assert await repository.get("run") == first


async def test_the_next_version_replaces_the_one_before(repository: Repository) -> None:
    run = a_run("run")
    await save(repository, run)
    for state in (State.RUNNING, State.PAUSING, State.PAUSED, State.QUEUED, State.CANCELLED):
        run = following(run, state=state, owner="boot" if state.executing else "", wake_time=NOW + state)
        assert await save(repository, run) == Saved()
        assert await repository.get("run") == run


@pytest.mark.parametrize("version", [0, 1, 2, 4, 5, 100])
async def test_any_version_but_the_next_is_stale_and_changes_nothing(
    repository: Repository, version: int
) -> None:
    run = a_run("run")
    for stored in (run, following(run), structs.replace(run, version=2)):
        await save(repository, stored)
    assert await save(repository, structs.replace(run, version=version, start_time=1)) == Stale("run")
    assert await repository.get("run") == structs.replace(run, version=2)


async def test_a_change_of_a_run_that_was_never_created_is_stale(repository: Repository) -> None:
    assert await save(repository, following(a_run("run"))) == Stale("run")
    assert [*await repository.list(ALL, Page(10))] == []


async def test_nothing_of_a_group_is_stored_where_one_of_its_runs_is_stale(repository: Repository) -> None:
    first, second = a_run("first"), a_run("second")
    await repository.save([group(first), group(second)])
    rewrite = Part.OUTCOME
    done = following(first, outcome=Outcome(summary="done"))
    told = change(done, events=3, parts=rewrite, checkpoint=Checkpoint(1, b"x"), closed=(an_attempt(1),))
    stale = structs.replace(second, version=7)
    result = await save(repository, told, a_run("third"), stale, request=a_request("id", "first"))
    assert result == Stale("second")
    assert await repository.get("first") == first
    assert [run.id for run in await repository.list(ALL, Page(10))] == ["second", "first"]
    assert [*await repository.events("first", 0, 10)] == []
    assert await repository.checkpoint("first") is None
    assert [*await repository.attempts("first")] == []
    assert await save(repository, told, request=a_request("id", "first")) == Saved()


async def test_a_group_moves_several_runs_together(repository: Repository) -> None:
    parent = a_run("parent")
    await save(repository, parent)
    child = a_run("child", of=Definition(provider="echo", parent_run="parent"))
    linked = change(following(parent), events=1)
    assert await save(repository, child, linked) == Saved()
    assert (await repository.get("parent"), await repository.get("child")) == (linked.run, child)


async def test_changes_of_one_run_may_follow_each_other_in_a_group(repository: Repository) -> None:
    first = change(a_run("run"), events=2)
    second = change(following(first.run), events=3)
    third = change(following(second.run, state=State.RUNNING), events=1)
    assert await save(repository, first, second, third) == Saved()
    assert await repository.get("run") == third.run
    assert [event.sequence for event in await repository.events("run", 0, 10)] == [1, 2, 3, 4, 5, 6]


async def test_later_groups_see_what_earlier_ones_of_the_same_call_stored(repository: Repository) -> None:
    run = a_run("run")
    once, twice = following(run), following(following(run))
    results = await repository.save([group(run), group(once), group(run), group(twice), group(twice)])
    assert [*results] == [Saved(), Saved(), Stale("run"), Saved(), Stale("run")]
    assert await repository.get("run") == twice


async def test_an_earlier_group_does_not_see_what_a_later_one_stores(repository: Repository) -> None:
    run = a_run("run")
    assert [*await repository.save([group(following(run)), group(run)])] == [Stale("run"), Saved()]
    assert await repository.get("run") == run


async def test_a_group_after_a_stale_one_does_not_see_what_that_would_have_stored(
    repository: Repository,
) -> None:
    run, other = a_run("run"), a_run("other")
    results = await repository.save([group(run, following(other)), group(following(run)), group(other)])
    assert [*results] == [Stale("other"), Stale("run"), Saved()]


async def test_each_group_of_a_mixed_call_gets_its_own_result(repository: Repository) -> None:
    old = [a_run(f"old-{n}") for n in range(20)]
    known = a_request("known", "old-0")
    await repository.save([group(old[0], request=known), *map(group, old[1:])])
    groups, expected = [], []
    for n, run in enumerate(old):
        fresh = a_run(f"new-{n}")
        groups += [
            group(change(following(run), events=1)),
            group(structs.replace(run, version=3)),
            group(fresh, request=a_request(f"new-{n}", fresh.id)),
            group(a_run(f"again-{n}"), request=known),
            group(run),
        ]
        expected += [
            Saved(),
            Stale(run.id),
            Saved(),
            Known("old-0", known.digest, known.expire_time),
            Stale(run.id),
        ]
    assert [*await repository.save(groups)] == expected
    stored = {run.id: run.version for run in await repository.list(ALL, Page(100))}
    assert stored == {f"old-{n}": 1 for n in range(20)} | {f"new-{n}": 0 for n in range(20)}


@pytest.mark.parametrize("count", COUNTS)
async def test_calls_of_any_size_store_every_group(repository: Repository, count: int) -> None:
    runs = [a_run(f"{n:04}", create_time=NOW + n, outcome=Outcome(summary=f"{n}")) for n in range(count)]
    created = [group(run, request=a_request(run.id, run.id)) for run in runs]
    assert [*await repository.save(created)] == [Saved()] * count
    told = [change(following(run, state=State.SUCCEEDED), events=2, parts=Part.OUTCOME) for run in runs]
    assert [*await repository.save([group(one) for one in told])] == [Saved()] * count
    assert [*await repository.list(ALL, Page(1000, ascending=True))] == [one.run for one in told]
    for one in told[:: max(1, count // 10)]:
        assert [*await repository.events(one.run.id, 0, 9)] == [*one.events]


async def test_an_empty_call_and_an_empty_group_are_fine(repository: Repository) -> None:
    assert [*await repository.save([])] == []
    assert [*await repository.save([group()])] == [Saved()]


async def test_parts_that_a_change_does_not_rewrite_stay_as_they_were(repository: Repository) -> None:
    definition = Definition(provider="echo", labels={"team": "red"}, input=Payload(json="[1]"))
    run = a_run("run", of=definition, outcome=Outcome(summary="first"))
    await save(
        repository,
        change(run, parts=Part.OUTCOME, checkpoint=Checkpoint(1, b"first"), closed=(an_attempt(1),)),
    )
    other = following(run, definition=Definition(provider="other"), outcome=Outcome(summary="second"))
    assert await save(repository, change(other, events=1)) == Saved()
    stored = await repository.get("run")
    assert (stored.version, stored.definition, stored.outcome) == (1, definition, Outcome(summary="first"))
    assert await repository.checkpoint("run") == Checkpoint(1, b"first")
    assert [*await repository.attempts("run")] == [an_attempt(1)]


async def test_the_definition_of_a_new_run_is_stored_whatever_its_parts_say(repository: Repository) -> None:
    run = a_run("run", outcome=Outcome(summary="not yet"))
    await save(repository, structs.replace(change(run), parts=Part.NONE))
    assert await repository.get("run") == structs.replace(run, outcome=Outcome())


async def test_a_rewritten_part_replaces_the_one_before(repository: Repository) -> None:
    run = a_run("run", of=Definition(provider="old", task="old", labels={"a": "1", "b": "2"}))
    await save(repository, change(run, parts=Part.OUTCOME))
    new = Definition("new", Spec(queue="new", priority=3), task="new", labels={"a": "2", "c": "3"})
    run = following(run, definition=new, outcome=Outcome(output=Payload(json="7")))
    assert await save(repository, change(run, parts=Part.DEFINITION | Part.OUTCOME)) == Saved()
    assert await repository.get("run") == run
    for by, found in [
        (RunFilter(provider="old"), []), (RunFilter(provider="new"), [run]),
        (RunFilter(task="old"), []), (RunFilter(task="new", queue="new"), [run]),
        (RunFilter(labels={"b": "2"}), []), (RunFilter(labels={"a": "2", "c": "3"}), [run]),
    ]:  # fmt: skip
        assert [*await repository.list(by, Page(10))] == found
    assert [*await repository.due(NOW, {"new": 1, "old": 1}, 10)] == [run]


async def test_the_newest_checkpoint_is_kept(repository: Repository) -> None:
    run = a_run("run")
    await save(repository, run)
    for number in (1, 2, 3):
        run = following(run, checkpoint_number=number)
        await save(repository, change(run, checkpoint=Checkpoint(number, bytes([number]) * 1000, number)))
        assert await repository.checkpoint("run") == Checkpoint(number, bytes([number]) * 1000, number)


async def test_closed_attempts_are_kept_by_number(repository: Repository) -> None:
    run = a_run("run")
    await save(repository, change(run, closed=(an_attempt(1), an_attempt(2))))
    await save(repository, change(following(run), closed=(an_attempt(10),)))
    await save(repository, change(a_run("other"), closed=(an_attempt(3),)))
    assert [*await repository.attempts("run")] == [an_attempt(1), an_attempt(2), an_attempt(10)]


async def test_of_many_rivals_for_one_version_exactly_one_is_saved(repository: Repository) -> None:
    run = a_run("run")
    await save(repository, run)
    rivals = [following(run, start_time=n) for n in range(50)]
    results = await asyncio.gather(*(save(repository, rival) for rival in rivals))
    winners = [rival for rival, result in zip(rivals, results, strict=True) if result == Saved()]
    assert [await repository.get("run")] == winners
    assert results.count(Stale("run")) == 49


async def test_many_saves_at_once_lose_nothing(repository: Repository) -> None:
    async def live(n: int) -> Run:
        one = change(a_run(f"{n:02}"), events=1)
        assert await save(repository, one, request=a_request(f"{n}", one.run.id)) == Saved()
        for _ in range(5):
            one = change(following(one.run), events=2)
            assert await save(repository, one) == Saved()
        return one.run

    runs = await asyncio.gather(*map(live, range(40)))
    assert [*await repository.list(ALL, Page(100, ascending=True))] == runs
    for run in runs:
        assert [event.sequence for event in await repository.events(run.id, 0, 100)] == [*range(1, 12)]


async def test_a_reader_never_sees_half_of_a_group(repository: Repository) -> None:
    pair = [a_run("one"), a_run("two")]
    await save(repository, *pair)
    seen: list[int] = []

    async def read() -> None:
        while not seen or seen[-1] < 50:
            one, two = await repository.list(ALL, Page(2))
            assert one.version == two.version
            seen.append(one.version)
            await asyncio.sleep(0)

    async def write() -> None:
        for version in range(1, 51):
            await save(repository, *(structs.replace(run, version=version) for run in pair))
            await asyncio.sleep(0)

    await asyncio.gather(read(), write())
    assert seen == sorted(seen)


Verb = Callable[[Repository], Awaitable[Any]]
VERBS: dict[str, Verb] = {
    "save": lambda r: r.save([group(a_run("run"))]),
    "get": lambda r: r.get("run"),
    "due": lambda r: r.due(NOW, {}, 1),
    "events": lambda r: r.events("run", 0, 1),
    "attempts": lambda r: r.attempts("run"),
    "checkpoint": lambda r: r.checkpoint("run"),
    "list": lambda r: r.list(ALL, Page(1)),
    "beat": lambda r: r.beat("boot", 1),
    "retire": lambda r: r.retire("boot"),
    "prune_requests": lambda r: r.prune_requests(NOW),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_closed_repository_is_unavailable(closed: Repository, verb: str) -> None:
    with pytest.raises(Unavailable):
        await VERBS[verb](closed)
    await closed.open()
    await closed.close()
    with pytest.raises(Unavailable):
        await VERBS[verb](closed)


async def test_closing_is_idempotent_also_at_once_and_without_having_been_opened(closed: Repository) -> None:
    await closed.close()
    await closed.open()
    await asyncio.gather(closed.close(), closed.close())
    await closed.close()


async def test_a_repository_that_is_opened_again_still_has_its_runs(repository: Repository) -> None:
    one = change(a_run("run"), events=3)
    await save(repository, one)
    await repository.close()
    await repository.open()
    assert await repository.get("run") == one.run
    assert await save(repository, change(following(one.run), events=1)) == Saved()
    assert [event.sequence for event in await repository.events("run", 0, 10)] == [1, 2, 3, 4]


async def test_closing_finishes_the_saves_that_are_running(repository: Repository) -> None:
    saves = [asyncio.ensure_future(save(repository, a_run(f"{n}"))) for n in range(10)]
    await asyncio.sleep(0)
    await repository.close()
    assert await asyncio.gather(*saves) == [Saved()] * 10
    await repository.open()
    assert len(await repository.list(ALL, Page(100))) == 10
