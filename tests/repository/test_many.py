"""Contract: with 10,000 runs, every filter and every page are what a plain look at all runs says."""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import pytest
from msgspec import structs

from runcast.server.model.change import Change, Group, Part, Saved
from runcast.server.model.event import Event
from runcast.server.model.run import Definition, EntityRef, Outcome, Page, Run, RunFilter, Spec, State
from runcast.server.repository.abc import Repository
from runcast.server.repository.sqlite import finding
from tests.repository.builders import NOW, a_run, change, following

COUNT = 10_000
NAMES = ("red", "green", "blue", "Blue-Green", "größe", "x9")
TEXTS = (
    "re",
    "RED",
    "blue green",
    "GRÖSSE",
    "gr",
    "x",
    "x9 red",
    "done",
    "done 7",
    "run",
    "run 12",
    "4 blue",
    "zzz",
)
# The rarest and the most common: a label of one run in a thousand and one of every second, and so on.
LABELS = {"half": 2, "tenth": 10, "rare": 1000}

Test = Callable[[Run], bool]


class Stored:
    """What a repository was told, and a plain search in it."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.runs: dict[str, Run] = {}
        self.refs: dict[str, set[tuple[str, str]]] = {}

    def create(self, n: int) -> Change:
        """A new run, all of whose filterable fields are drawn."""
        choose = self.choose
        of = Definition(
            provider=choose.choice(NAMES),
            spec=Spec(queue=choose.choice(("", *NAMES))),
            task=choose.choice(("", *NAMES)),
            schedule=choose.choice(("", *NAMES)),
            parent_run=choose.choice(("", *NAMES)),
            labels={
                name: f"{choose.randrange(many)}" for name, many in LABELS.items() if choose.random() < 0.9
            },
        )
        run = a_run(
            f"run-{choose.randrange(COUNT):04}-{n}",
            of=of,
            state=choose.choice([*State]),
            create_time=NOW + choose.randrange(COUNT // 5),
            outcome=Outcome(summary=choose.choice(("", f"Done {n % 10}.", choose.choice(NAMES)))),
        )
        return self.remember(run, Part.OUTCOME)

    def move(self, run_id: str) -> Change:
        """The run's next version: another state, and sometimes other words and labels."""
        choose, run = self.choose, self.runs[run_id]
        parts = choose.choice((Part.NONE, Part.OUTCOME, Part.DEFINITION, Part.OUTCOME | Part.DEFINITION))
        fields: dict[str, Any] = {"state": choose.choice([*State])}
        if parts & Part.OUTCOME:
            fields["outcome"] = Outcome(summary=choose.choice(("", "done again", *NAMES)))
        if parts & Part.DEFINITION:
            fields["definition"] = structs.replace(
                run.definition, provider=choose.choice(NAMES), labels={"half": f"{choose.randrange(2)}"}
            )
        return self.remember(following(run, **fields), parts)

    def remember(self, run: Run, parts: int) -> Change:
        """The change to this version, with references to a few things."""
        choose = self.choose
        kinds = {"file": 300, "user": 3, "": 5}
        told = [
            EntityRef(kind, f"{choose.randrange(many)}")
            for kind, many in kinds.items()
            if choose.random() < 0.3
        ]
        events = tuple(Event(n, NOW, 1, ref) for n, ref in enumerate(told, run.last_sequence + 1))
        run = structs.replace(run, last_sequence=run.last_sequence + len(told))
        self.runs[run.id] = run
        self.refs.setdefault(run.id, set()).update((ref.type, ref.id) for ref in told)
        return Change(run, events, parts)

    def drop(self, run_ids: Iterable[str]) -> list[str]:
        """The final ones among these are gone."""
        gone = [run_id for run_id in run_ids if self.runs[run_id].state >= 16]
        for run_id in gone:
            del self.runs[run_id], self.refs[run_id]
        return gone

    def test(self, by: RunFilter) -> Test:
        """Whether the filter selects a run: field by field."""
        given = {name: getattr(by, name) for name in TESTS if getattr(by, name) != getattr(RunFilter(), name)}
        tests = [TESTS[name](self, value) for name, value in given.items()]
        return lambda run: all(test(run) for test in tests)

    def search(self, by: RunFilter) -> list[Run]:
        """What the filter selects, newest first: every run is looked at."""
        return in_order(filter(self.test(by), self.runs.values()))


def in_order(runs: Iterable[Run]) -> list[Run]:
    """Newest first."""
    return sorted(runs, key=lambda run: (run.create_time, run.id), reverse=True)


@cache
def plain_words(text: str) -> list[str]:
    """The words of a text, letter by letter."""
    return "".join(char if char.isalnum() else " " for char in text.casefold()).split()


def says(run: Run, text: str) -> bool:
    """Whether each word begins one of the run's."""
    of = run.definition
    told = [run.id, of.provider, of.task, run.outcome.summary, *of.labels.keys(), *of.labels.values()]
    has = [word for part in told for word in plain_words(part)]
    return all(any(word.startswith(wanted) for word in has) for wanted in plain_words(text))


TESTS: dict[str, Callable[[Stored, Any], Test]] = {
    "states": lambda _, want: lambda run: run.state in want,
    "provider": lambda _, want: lambda run: run.definition.provider == want,
    "task": lambda _, want: lambda run: run.definition.task == want,
    "schedule": lambda _, want: lambda run: run.definition.schedule == want,
    "parent_run": lambda _, want: lambda run: run.definition.parent_run == want,
    "queue": lambda _, want: lambda run: run.definition.spec.queue == want,
    "labels": lambda _, want: lambda run: want.items() <= run.definition.labels.items(),
    "ref": lambda stored, want: lambda run: any(
        kind == want.type and want.id in ("", name) for kind, name in stored.refs[run.id]
    ),
    "created_after": lambda _, want: lambda run: want <= run.create_time,
    "created_before": lambda _, want: lambda run: run.create_time < want,
    "text": lambda _, want: lambda run: says(run, want),
    "interrupted_only": lambda _, want: lambda run: run.state == State.INTERRUPTED,
}  # fmt: skip


def a_field(choose: random.Random, name: str) -> Any:
    """Something to filter by in this field."""
    possible: dict[str, Callable[[], Any]] = {
        "states": lambda: frozenset(choose.sample([*State], choose.randint(1, 6))),
        "labels": lambda: {
            label: f"{choose.randrange(LABELS[label])}" for label in choose.sample([*LABELS], choose.randint(1, 2))
        },
        "ref": lambda: choose.choice((
            EntityRef("file", f"{choose.randrange(300)}"), EntityRef("file", ""), EntityRef("user", "2", "x"),
            EntityRef("user", ""), EntityRef("", "3"), EntityRef("", ""), EntityRef("none", ""),
        )),
        "created_after": lambda: NOW + choose.randrange(COUNT // 5),
        "created_before": lambda: NOW + choose.randrange(COUNT // 5),
        "text": lambda: choose.choice((*TEXTS, f"run {choose.randrange(COUNT):04}")),
        "interrupted_only": lambda: True,
    }  # fmt: skip
    return possible.get(name, lambda: choose.choice(NAMES))()


async def fill(repository: Repository, stored: Stored) -> None:
    """All runs, in large groups; every fourth has moved on since, and some are removed again."""
    for start in range(0, COUNT + 400, 2000):
        changes = [stored.create(n) for n in range(start, min(start + 2000, COUNT + 400))]
        assert [*await repository.save([Group(tuple(changes))])] == [Saved()]
    moved = [stored.move(run_id) for run_id in [*stored.runs][::4]]
    assert [*await repository.save([Group(tuple(moved))])] == [Saved()]
    gone = stored.drop([*stored.runs][:: max(1, len(stored.runs) // 1000)])
    assert [*await repository.remove(gone)] == gone


async def agree(repository: Repository, stored: Stored, by: RunFilter) -> int:
    """The list is what the plain search finds, in both directions; answers how many that are."""
    expected = stored.search(by)
    limit = stored.choose.choice((1, 10, 100, 1000))
    assert [*await repository.list(by, Page(limit))] == expected[:limit], by
    assert [*await repository.list(by, Page(limit, ascending=True))] == expected[::-1][:limit], by
    return len(expected)


async def test_every_filter_agrees_with_a_plain_search(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Stored(seed=1)
    await fill(repository, stored)
    choose = stored.choose
    for few in (finding.FEW, 300):
        # With the smaller bound, most of what is looked for holds for many runs.
        monkeypatch.setattr(finding, "FEW", few)
        sizes = {
            name: {await agree(repository, stored, RunFilter(**{name: a_field(choose, name)}))}
            for name in TESTS
        }
        assert any(size > 1000 for found in sizes.values() for size in found)
        for text in TEXTS:
            await agree(repository, stored, RunFilter(text=text))
        combined = []
        for _ in range(30):
            names = choose.sample([*TESTS], choose.randint(2, 4))
            combined.append(
                await agree(repository, stored, RunFilter(**{name: a_field(choose, name) for name in names}))
            )
        assert sum(size > 0 for size in combined) > 10


WALKS = {
    1: RunFilter(labels={"rare": "3"}),
    2: RunFilter(ref=EntityRef("file", "7")),
    9: RunFilter(text="run 12"),
    33: RunFilter(labels={"tenth": "4"}, text="red"),
    250: RunFilter(ref=EntityRef("user", "1")),
    999: RunFilter(text="r"),
    1000: RunFilter(),
}


async def test_pages_neither_skip_nor_repeat_while_runs_come_and_go(repository: Repository) -> None:
    stored = Stored(seed=2)
    await fill(repository, stored)
    fresh = itertools.count(COUNT + 1000)
    for limit, by in WALKS.items():
        for ascending in (False, True):
            await walk(repository, stored, by, Page(limit, None, ascending), fresh)


async def walk(
    repository: Repository, stored: Stored, by: RunFilter, page: Page, fresh: Iterator[int]
) -> None:
    """Page after page, each is what stands behind the last run of the one before, whoever came and went since."""
    selected = {run.id: run for run in stored.search(by)}
    before, test = {*selected}, stored.test(by)
    assert before
    seen: list[str] = []
    while True:
        found = [*await repository.list(by, page)]
        assert found == behind(in_order(selected.values()), page)
        if not found:
            break
        seen += [run.id for run in found]
        page = structs.replace(page, after=(found[-1].create_time, found[-1].id))
        for run_id in await disturb(repository, stored, found, fresh):
            selected.pop(run_id, None)
            if run_id in stored.runs and test(stored.runs[run_id]):
                selected[run_id] = stored.runs[run_id]
    assert len({*seen}) == len(seen)
    assert {run_id for run_id in before if run_id in stored.runs} <= {*seen}


def behind(runs: Sequence[Run], page: Page) -> list[Run]:
    """The page of these runs, which come newest first."""
    keys = [*reversed(runs)] if page.ascending else [*runs]
    if (after := page.after) is not None:
        older = [run for run in keys if (run.create_time, run.id) < after]
        newer = [run for run in keys if (run.create_time, run.id) > after]
        keys = newer if page.ascending else older
    return keys[: page.limit]


async def disturb(
    repository: Repository, stored: Stored, page: Sequence[Run], fresh: Iterator[int]
) -> set[str]:
    """Some runs come, of any age; some go, often among them the page's last, behind which the next begins. Answers
    the ids of all of them."""
    changes = [stored.create(next(fresh)) for _ in range(5)]
    going = stored.choose.sample([*stored.runs], 3)
    if stored.choose.random() < 0.5:
        ended = following(page[-1], state=State.FAILED)
        stored.runs[ended.id] = ended
        changes.append(change(ended))
        going += [ended.id, page[0].id]
    assert [*await repository.save([Group(tuple(changes))])] == [Saved()]
    gone = stored.drop(dict.fromkeys(going))
    assert [*await repository.remove(gone)] == gone
    return {*gone, *(one.run.id for one in changes)}
