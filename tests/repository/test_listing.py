"""Contract: which runs `list` finds, and that pages never lose or repeat one."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from msgspec import structs

from runcast.server.model.run import Definition, Page, Run, RunFilter, Spec, State
from runcast.server.repository.abc import Repository
from tests.repository.builders import NOW, a_run, following, group, save

ALL = RunFilter()
WORDS = ("", "red", "green", "blue")


def any_run(choose: random.Random, n: int) -> Run:
    """A run in which every filterable field is one of a few; ids are not in the order of creation."""
    of = Definition(
        provider=choose.choice(WORDS[1:]),
        spec=Spec(queue=choose.choice(WORDS), priority=choose.randrange(3)),
        task=choose.choice(WORDS),
        schedule=choose.choice(WORDS),
        parent_run=choose.choice(WORDS),
        labels={key: choose.choice(WORDS) for key in WORDS if choose.random() < 0.5},
    )
    return a_run(
        f"{choose.randrange(1000):03}-{n}",
        of=of,
        state=choose.choice([*State]),
        create_time=NOW + choose.randrange(99),
    )


def any_filter(choose: random.Random) -> RunFilter:
    """A filter by one to three things."""
    possible: dict[str, Any] = {
        "states": frozenset(choose.sample([*State], 5)),
        **{name: choose.choice(WORDS) for name in ("provider", "queue", "task", "schedule", "parent_run")},
        "labels": {key: choose.choice(WORDS) for key in choose.sample(WORDS, 2)},
        "created_after": NOW + choose.randrange(60),
        "created_before": NOW + choose.randrange(40, 99),
        "interrupted_only": choose.random() < 0.5,
    }
    return RunFilter(**{name: possible[name] for name in choose.sample([*possible], choose.randint(1, 3))})


def selected(runs: Iterable[Run], by: RunFilter) -> list[Run]:
    """What the filter selects, newest first, told as plainly as can be."""

    def wanted(run: Run) -> bool:
        of = run.definition
        pairs = [
            (by.provider, of.provider), (by.queue, of.spec.queue), (by.task, of.task), (by.schedule, of.schedule),
            (by.parent_run, of.parent_run), *((value, of.labels.get(key)) for key, value in by.labels.items()),
        ]  # fmt: skip
        fields, labels = pairs[:5], pairs[5:]
        after = NOW if by.created_after is None else by.created_after
        before = NOW + 100 if by.created_before is None else by.created_before
        return (
            all(want in ("", has) for want, has in fields)
            and all(want == has for want, has in labels)
            and after <= run.create_time < before
            and run.state in (by.states or State)
            and (run.state is State.INTERRUPTED or not by.interrupted_only)
        )

    return sorted(filter(wanted, runs), key=lambda run: (run.create_time, run.id), reverse=True)


async def pages(
    repository: Repository, filter: RunFilter, limit: int, *, ascending: bool = False
) -> list[Run]:
    """All pages, put together."""
    found: list[Run] = []
    after = None
    while page := await repository.list(filter, Page(limit, after, ascending)):
        assert len(page) <= limit
        found += page
        after = (page[-1].create_time, page[-1].id)
    return found


async def store(repository: Repository, seed: int, count: int = 300) -> Sequence[Run]:
    """Some hundred runs; every third has moved on since."""
    choose = random.Random(seed)
    runs = [any_run(choose, n) for n in range(count)]
    await repository.save([group(run) for run in runs])
    moved = [following(run, state=choose.choice([*State])) for run in runs[::3]]
    await repository.save([group(run) for run in moved])
    return [*({run.id: run for run in runs} | {run.id: run for run in moved}).values()]


async def test_filters_select_what_they_say(repository: Repository) -> None:
    runs = await store(repository, seed=1)
    choose = random.Random(2)
    sizes = set()
    for _ in range(300):
        by = any_filter(choose)
        found = [*await repository.list(by, Page(1000))]
        assert found == selected(runs, by), by
        sizes.add(min(len(found), 5))
    assert sizes == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 100, 299, 300, 301])
async def test_pages_put_together_are_the_list(repository: Repository, limit: int, ascending: bool) -> None:
    runs = selected(await store(repository, seed=3), ALL)
    assert await pages(repository, ALL, limit, ascending=ascending) == (runs[::-1] if ascending else runs)


@pytest.mark.parametrize("ascending", [False, True])
async def test_pages_of_a_filter_put_together_are_what_it_selects(
    repository: Repository, ascending: bool
) -> None:
    runs = await store(repository, seed=4)
    choose = random.Random(5)
    for _ in range(30):
        by = any_filter(choose)
        found = await pages(repository, by, choose.randint(1, 20), ascending=ascending)
        assert found == selected(runs, by)[:: -1 if ascending else 1], by


async def test_runs_created_between_pages_neither_repeat_nor_push_out_others(repository: Repository) -> None:
    old = selected(await store(repository, seed=6, count=60), ALL)
    found: list[Run] = []
    after = None
    while page := await repository.list(ALL, Page(7, after)):
        found += page
        after = (page[-1].create_time, page[-1].id)
        await save(repository, a_run(f"new-{len(found)}", create_time=NOW + 1000 + len(found)))
    assert found == old


async def test_runs_created_between_ascending_pages_come_at_the_end(repository: Repository) -> None:
    await repository.save([group(a_run(f"{n}", create_time=NOW + n)) for n in range(9)])
    first = await repository.list(ALL, Page(5, ascending=True))
    await save(repository, a_run("new", create_time=NOW + 99))
    rest = await repository.list(ALL, Page(99, (first[-1].create_time, first[-1].id), ascending=True))
    assert [run.id for run in [*first, *rest]] == [*map(str, range(9)), "new"]


async def test_a_position_need_not_be_a_run_that_exists(repository: Repository) -> None:
    await repository.save([group(a_run(f"{n}", create_time=NOW + n)) for n in range(4)])
    for position in ((NOW + 2, ""), (NOW + 1, "zzz")):
        assert [run.id for run in await repository.list(ALL, Page(9, position))] == ["1", "0"]
        assert [run.id for run in await repository.list(ALL, Page(9, position, ascending=True))] == ["2", "3"]


async def test_a_page_never_holds_more_than_its_limit(repository: Repository) -> None:
    await store(repository, seed=7, count=20)
    for limit in (0, 1, 19, 20, 21):
        assert len(await repository.list(ALL, Page(limit))) == min(limit, 20)


async def test_labels_are_told_apart_to_the_letter(repository: Repository) -> None:
    labels = [
        {"a": "b"}, {"a": "b "}, {"A": "b"}, {"a": "B"}, {"a": ""}, {"": "b"}, {'"a"': '"b"'}, {"a.b": "c"}, {"a": "é"},
        {"a": "e\u0301"}, {"a\0": "b"}, {"a": "b\0"}, {"a": "b\0c"}, {"a": "%"}, {"a": "b", "c": "d"}, {"$": "[0]"},
    ]  # fmt: skip
    runs = [a_run(f"{n:02}", of=Definition(provider="echo", labels=pair)) for n, pair in enumerate(labels)]
    await repository.save([group(run) for run in runs])
    for pair in labels:
        assert [*await repository.list(RunFilter(labels=pair), Page(99))] == selected(
            runs, RunFilter(labels=pair)
        )


async def test_the_list_shows_the_newest_version(repository: Repository) -> None:
    run = a_run("run")
    await save(repository, run)
    done = following(run, state=State.FAILED)
    await save(repository, done)
    assert [*await repository.list(RunFilter(states=frozenset({State.QUEUED})), Page(9))] == []
    assert [*await repository.list(RunFilter(states=frozenset({State.FAILED})), Page(9))] == [done]


async def test_a_run_in_a_list_is_the_run_that_get_answers(repository: Repository) -> None:
    runs = await store(repository, seed=8, count=20)
    for run in await repository.list(ALL, Page(99)):
        assert run == await repository.get(run.id)
        assert structs.replace(run) in runs
