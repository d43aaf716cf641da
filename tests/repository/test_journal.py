"""Contract: a run's events, in order, without gaps, and only what was not trimmed."""

import random
from typing import get_args

import pytest
from msgspec import structs

from runcast.server.model.event import Body, Event
from runcast.server.model.run import Run
from runcast.server.repository.abc import Repository
from tests.repository.builders import NOW, a_run, change, following, group, save
from tests.repository.strategies import filled


async def told(repository: Repository, run: Run, *counts: int) -> Run:
    """Create the run, and let it tell so many lines by as many changes."""
    await save(repository, run)
    for count in counts:
        one = change(following(run), events=count)
        await save(repository, one)
        run = one.run
    return run


def numbers(events: object) -> list[int]:
    """The events' sequences."""
    assert isinstance(events, list)
    return [event.sequence for event in events]


async def test_events_are_read_as_they_were_saved_with_every_kind_of_body(repository: Repository) -> None:
    events = tuple(Event(n, NOW + n, n, filled(kind)) for n, kind in enumerate(get_args(Body), start=1))
    one = structs.replace(change(a_run("run", last_sequence=len(events))), events=events)
    await save(repository, one)
    assert [*await repository.events("run", 0, 100)] == [*events]


async def test_events_of_one_run_are_dense_whatever_the_sizes_of_its_changes(repository: Repository) -> None:
    sizes = random.Random(1).choices(range(8), k=60)
    run = await told(repository, a_run("run"), *sizes)
    assert run.last_sequence == sum(sizes)
    assert numbers([*await repository.events("run", 0, 1000)]) == [*range(1, sum(sizes) + 1)]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 64, 1000])
async def test_pages_put_together_are_the_journal(repository: Repository, limit: int) -> None:
    await told(repository, a_run("run"), 5, 1, 9, 1, 1, 20, 3)
    after, pages = 0, []
    while page := [*await repository.events("run", after, limit)]:
        assert len(page) <= limit
        after = page[-1].sequence
        pages += page
    assert numbers(pages) == [*range(1, 41)]


@pytest.mark.parametrize("after", [0, 1, 4, 5, 6, 38, 39])
async def test_reading_starts_behind_any_sequence_also_in_the_middle_of_a_change(
    repository: Repository, after: int
) -> None:
    await told(repository, a_run("run"), 5, 1, 9, 1, 1, 20, 3)
    assert numbers([*await repository.events("run", after, 1000)]) == [*range(after + 1, 41)]
    assert numbers([*await repository.events("run", after, 1)]) == [after + 1]


async def test_there_is_nothing_behind_the_last_event(repository: Repository) -> None:
    await told(repository, a_run("run"), 5)
    assert [*await repository.events("run", 5, 10)] == []
    assert [*await repository.events("run", 500, 10)] == []


async def test_the_journals_of_runs_do_not_mix(repository: Repository) -> None:
    runs = [a_run(f"{n}") for n in range(3)]
    for _ in range(4):
        changes = [change(following(run) if run.last_sequence else run, events=2) for run in runs]
        await repository.save([group(one) for one in changes])
        runs = [one.run for one in changes]
    for run in runs:
        assert numbers([*await repository.events(run.id, 0, 100)]) == [*range(1, 9)]


@pytest.mark.parametrize("first", [2, 5, 6, 7, 10, 15, 16])
async def test_what_lies_before_the_first_sequence_is_never_read_again(
    repository: Repository, first: int
) -> None:
    run = await told(repository, a_run("run"), 5, 5, 5)
    await save(repository, change(following(run, first_sequence=first), events=1))
    for after in range(17):
        events = [*await repository.events("run", after, 100)]
        assert numbers(events) == [*range(max(first, after + 1), 17)]


async def test_a_journal_can_be_trimmed_to_nothing_and_goes_on(repository: Repository) -> None:
    run = await told(repository, a_run("run"), 5)
    emptied = following(run, first_sequence=6)
    await save(repository, emptied)
    assert [*await repository.events("run", 0, 100)] == []
    await save(repository, change(following(emptied), events=2))
    assert numbers([*await repository.events("run", 0, 100)]) == [6, 7]


async def test_trimming_one_run_leaves_the_others(repository: Repository) -> None:
    run = await told(repository, a_run("run"), 5, 5)
    await told(repository, a_run("other"), 5, 5)
    await save(repository, following(run, first_sequence=8))
    assert numbers([*await repository.events("other", 0, 100)]) == [*range(1, 11)]


async def test_a_stale_change_trims_nothing(repository: Repository) -> None:
    run = await told(repository, a_run("run"), 5)
    await save(repository, structs.replace(run, first_sequence=6))
    assert numbers([*await repository.events("run", 0, 100)]) == [1, 2, 3, 4, 5]
