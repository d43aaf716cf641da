"""Contract: which runs a text and a reference find; and how SQLite finds them and the labels."""

import random
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from msgspec import structs

from runcast.server.model.change import Change, Part
from runcast.server.model.errors import InvalidArgument
from runcast.server.model.event import Event
from runcast.server.model.run import Definition, EntityRef, Outcome, Page, Run, RunFilter, State
from runcast.server.repository.abc import Repository
from runcast.server.repository.selection import selects, words
from runcast.server.repository.sqlite import SQLiteRepository, finding, schema
from tests.repository.builders import NOW, a_run, change, following, group, save


async def found(repository: Repository, limit: int = 1000, /, **by: Any) -> list[str]:
    """The ids of what a filter finds, in the order of the alphabet."""
    return sorted(run.id for run in await repository.list(RunFilter(**by), Page(limit)))


def touching(run: Run, *refs: EntityRef, parts: int = Part.NONE) -> Change:
    """A change to this version, which tells of these references."""
    told = tuple(Event(n, NOW, 1, ref) for n, ref in enumerate(refs, run.last_sequence + 1))
    run = structs.replace(run, last_sequence=run.last_sequence + len(told))
    return Change(run, told, parts)


TELLING = a_run(
    "0190f8a2-7b3c-7def-8a9b-0123456789ab",
    of=Definition(
        provider="Copy.Files_2",
        task="nightly-Backup",
        labels={
            "Team": "Größe",
            "городу": "Москва",
            "empty": "",
            "e": "naïve cafe\u0301",
            "名前": "東京タワー",
        },
    ),
    outcome=Outcome(summary="Copied 1,234 files; 5½% ﬁxed, ΟΔΟΣ. ☃ don't"),
)
MATCHING = [
    "0190f8a2-7b3c-7def-8a9b-0123456789ab", "0190f8", "7DEF", "copy", "copy.files", "copy files", "FILES_2", "2",
    "nightly", "backup nightly", "team", "grösse", "GRÖSSE", "größ", "Москва", "МОСК", "городу", "empty", "naïv",
    "cafe", "cafe\u0301", "名", "東京", "東京タワー", "copied", "COP 1 234", "1,234", "5½", "fixed",
    "ﬁxed", "FIX", "οδοσ", "οδος", "don't", "don", "t", "  copied,,,(files)  ", "copied copied COPIED", '"copied"*',
    "copied files", "c", "t don b",
]  # fmt: skip
OTHER = [
    "opy", "ackup", "opied", "copied moved", "90f8a2", "files2", "nightlybackup", "gross", "moskau", "京", "タワー",
    "copied AND files", "copied OR moved", "copied NOT files", "NEAR(copied files)", "summary:copied", "words : copied",
    "12345", "copieda", "caf\u00e9", "1234", "queue", "default", "echo", "-x", "^copiedx", "nightly x",
]  # fmt: skip


@pytest.mark.parametrize("text", MATCHING)
async def test_each_word_of_a_text_must_begin_a_word_of_the_run(repository: Repository, text: str) -> None:
    await repository.save([group(change(TELLING, parts=Part.OUTCOME)), group(a_run("other"))])
    assert await found(repository, text=text) == [TELLING.id]
    assert selects(RunFilter(text=text), TELLING)


@pytest.mark.parametrize("text", OTHER)
async def test_a_text_with_a_word_that_the_run_lacks_finds_nothing(repository: Repository, text: str) -> None:
    await repository.save(
        [group(change(TELLING, parts=Part.OUTCOME)), group(a_run("x", of=Definition("copied")))]
    )
    assert TELLING.id not in await found(repository, text=text)
    assert not selects(RunFilter(text=text), TELLING)


@pytest.mark.parametrize("text", [" ", "...", "-", '"', "☃", "\0", "_", " ".join(f"w{n}" for n in range(33))])
async def test_a_text_without_words_or_with_too_many_is_refused(repository: Repository, text: str) -> None:
    await save(repository, TELLING)
    with pytest.raises(InvalidArgument, match="expected 1 to 32 words") as error:
        await repository.list(RunFilter(text=text), Page(1))
    assert [one.field for one in error.value.violations] == ["filter.text"]
    assert not selects(RunFilter(text=text), TELLING)


async def test_a_text_of_the_most_words_is_looked_for(repository: Repository) -> None:
    many = " ".join(f"w{n}" for n in range(32))
    await save(repository, a_run("run", of=Definition("echo", labels={"a": f"{many} more"})))
    assert await found(repository, text=many) == ["run"]


def test_words_are_the_letters_and_digits_of_any_script() -> None:
    every = " ".join(map(chr, range(sys.maxunicode + 1)))
    folded = (char if char.isalnum() else " " for char in every.casefold())
    assert words(every) == [*dict.fromkeys("".join(folded).split(" "))][1:]
    assert words("b-a B ß\tss_x") == ["b", "a", "ss", "x"]
    assert words("") == []


async def test_every_letter_finds_the_run_that_has_it(sqlite: SQLiteRepository) -> None:
    choose = random.Random(1)
    letters = choose.sample([chr(c) for c in range(sys.maxunicode + 1) if chr(c).isalnum()], 500)
    letters += [chr(c) for c in range(0x300) if chr(c).isalnum()]
    await sqlite.save([group(a_run("run", of=Definition("echo", labels={"a": " ".join(letters)})))])
    for letter in letters:
        if words(letter) and len(words(letter)) == 1:
            assert await found(sqlite, text=letter) == ["run"], ascii(letter)


async def test_a_text_finds_what_the_run_says_now(repository: Repository) -> None:
    run = a_run("run", of=Definition("echo", labels={"a": "first"}))
    await save(repository, run)
    told = following(run, outcome=Outcome(summary="half done"))
    await save(repository, change(told, parts=Part.OUTCOME))
    assert await found(repository, text="first half") == ["run"]
    # What is not among the parts is not stored, whatever the change's run has.
    moved = following(told, state=State.FAILED, outcome=Outcome(summary="no"), definition=Definition("no"))
    await save(repository, moved)
    assert await found(repository, text="first half") == ["run"]
    assert await found(repository, text="no") == []
    done = following(moved, outcome=Outcome(summary="all done"))
    await save(repository, change(done, parts=Part.OUTCOME))
    assert await found(repository, text="half") == []
    assert await found(repository, text="first all done") == ["run"]
    again = following(done, definition=Definition("copy", labels={"b": "second"}))
    await save(repository, change(again, parts=Part.DEFINITION))
    assert await found(repository, text="first") == []
    assert await found(repository, labels={"a": "first"}) == []
    assert await found(repository, text="copy second done") == ["run"]
    silent = following(again, outcome=Outcome(), definition=Definition("copy"))
    await save(repository, change(silent, parts=Part.OUTCOME | Part.DEFINITION))
    assert await found(repository, text="done") == await found(repository, text="second") == []
    assert await found(repository, text="copy run") == ["run"]


async def test_a_group_that_is_not_stored_is_not_found(repository: Repository) -> None:
    run = a_run("run")
    await save(repository, run)
    stale = touching(a_run("new", of=Definition("secret", labels={"a": "b"})), EntityRef("file", "a"))
    await repository.save([group(stale, following(following(run)))])
    assert await found(repository, text="secret") == []
    assert await found(repository, ref=EntityRef("file", "a")) == []
    assert await found(repository, labels={"a": "b"}) == []


async def test_a_reference_finds_the_runs_that_told_of_it(repository: Repository) -> None:
    await repository.save(
        [
            group(touching(a_run("a"), EntityRef("file", "x"), EntityRef("file", "x", "again"))),
            group(touching(a_run("b"), EntityRef("file", "y", "not there"), EntityRef("user", "x"))),
            group(touching(a_run("c"), EntityRef("file", ""), EntityRef("", "z"))),
            group(touching(a_run("d"))),
        ]
    )
    expected = {
        ("file", "x"): ["a"], ("file", "y"): ["b"], ("file", ""): ["a", "b", "c"], ("user", "x"): ["b"],
        ("user", ""): ["b"], ("user", "y"): [], ("File", "x"): [], ("file", "X"): [], ("file", "x "): [],
        ("none", ""): [], ("", "z"): ["c"], ("", "x"): [], ("", ""): ["c"],
    }  # fmt: skip
    for (kind, name), ids in expected.items():
        assert await found(repository, ref=EntityRef(kind, name)) == ids, (kind, name)
        assert await found(repository, ref=EntityRef(kind, name, "error is ignored")) == ids, (kind, name)


async def test_a_reference_is_found_also_beyond_those_that_the_run_keeps_and_after_a_trim(
    repository: Repository,
) -> None:
    refs = [EntityRef("file", f"{n}") for n in range(2500)]
    run = a_run("run")
    await save(repository, touching(run, *refs[:900]))
    one = following(structs.replace(run, last_sequence=900), outcome=Outcome(refs=tuple(refs[:1000])))
    await save(repository, touching(one, *refs[900:], parts=Part.OUTCOME))
    await save(repository, following(one, last_sequence=2500, first_sequence=2501))
    assert [*await repository.events("run", 0, 9)] == []
    for n in (0, 899, 900, 1000, 2499):
        assert await found(repository, ref=refs[n]) == ["run"]
    assert await found(repository, ref=EntityRef("file", "2500")) == []
    assert await found(repository, 1, ref=EntityRef("file", "")) == ["run"]


def test_a_run_alone_is_selected_by_the_references_that_it_keeps() -> None:
    run = a_run("run", outcome=Outcome(refs=(EntityRef("file", "a", "x"), EntityRef("user", "b"))))
    for ref in (("file", "a"), ("file", ""), ("user", "b")):
        assert selects(RunFilter(ref=EntityRef(*ref)), run)
    for ref in (("file", "b"), ("", "a"), ("", ""), ("none", "")):
        assert not selects(RunFilter(ref=EntityRef(*ref)), run)
    assert selects(RunFilter(ref=EntityRef("late", "c")), run, {"late": {"c"}})
    assert not selects(RunFilter(ref=EntityRef("file", "a")), run, {"late": {"c"}})


FOUND = {
    "label": RunFilter(labels={"a": "b"}),
    "labels": RunFilter(labels={"a": "b", "c": "d"}),
    "ref": RunFilter(ref=EntityRef("file", "x")),
    "any ref of a type": RunFilter(ref=EntityRef("file", "")),
    "text": RunFilter(text="some words"),
    "all": RunFilter(labels={"a": "b"}, ref=EntityRef("file", "x"), text="words", task="t", provider="echo"),
}


def plan(connection: sqlite3.Connection, filter: RunFilter) -> Sequence[str]:
    """What SQLite does to find the filter's newest runs."""
    source, where, values = finding.selection(connection, filter)
    sql = (
        f"SELECT runs.key FROM {source} WHERE {' AND '.join(where) or 'TRUE'}"
        " ORDER BY runs.create_time DESC, runs.id DESC LIMIT 10"
    )
    return [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


@pytest.mark.parametrize("name", FOUND)
def test_what_few_runs_have_is_found_by_its_index(name: str) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.migrate(connection)
        steps = plan(connection, FOUND[name])
    assert not any(
        step.startswith("SCAN") and "VIRTUAL TABLE" not in step and "few" not in step for step in steps
    )
    assert any(step.startswith("SEARCH runs USING INTEGER PRIMARY KEY") for step in steps), steps


@pytest.mark.parametrize("name", FOUND)
def test_what_many_runs_have_is_tried_in_the_order_of_the_page(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "FEW", -1)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.migrate(connection)
        steps = plan(connection, structs.replace(FOUND[name], task=""))
        every = structs.replace(
            FOUND["all"],
            task="",
            queue="q",
            states=frozenset(State),
            interrupted_only=True,
            created_before=NOW,
        )
        steps_of_every = plan(connection, every)
    assert steps[0].startswith("SCAN runs USING INDEX runs_created"), steps
    assert not any(step.startswith("SCAN") for step in steps[1:]), steps
    assert not any("FOR ORDER BY" in step for step in [*steps, *steps_of_every]), steps_of_every
    assert steps_of_every[0] == "SEARCH runs USING INDEX runs_created (create_time<?)"


@pytest.mark.parametrize("few", [-1, 0, 1, 5, 6, 20])
async def test_few_or_many_are_found_all_the_same(
    sqlite: SQLiteRepository, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(finding, "FEW", few)
    for n in range(20):
        labels = {"half": f"{n % 2}", "fifth": f"{n % 5}"}
        run = a_run(f"{n:02}", of=Definition("echo", labels=labels), create_time=NOW + n % 7)
        await save(sqlite, touching(run, EntityRef("file", f"{n % 4}"), EntityRef("file", "each")))
    expected = [f"{n:02}" for n in range(20) if n % 2 == 1 and n % 5 == 3]
    assert await found(sqlite, labels={"half": "1", "fifth": "3"}) == expected
    assert await found(sqlite, labels={"half": "1"}, text="13") == ["13"]
    quarter = [f"{n:02}" for n in range(20) if n % 2 == 1 and n % 4 == 3]
    assert await found(sqlite, labels={"half": "1"}, ref=EntityRef("file", "3"), text="echo") == quarter
    assert await found(sqlite, text="alf") == []
    assert len(await found(sqlite, ref=EntityRef("file", ""))) == 20
    assert len(await found(sqlite, 7, ref=EntityRef("file", ""), text="half")) == 7
