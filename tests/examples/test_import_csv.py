"""A CSV file gets into its table with every row exactly once, and what does not fit is named by its line.

Long because each way to break off, to go on and to go wrong is shown on the same small file.
"""

import json
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from runcast.examples.import_csv import Imported, import_csv
from runcast.provider import Cancelled, ProviderError, SyncContext
from runcast.provider.testing import RecordingSyncContext
from runcast.server.model.errors import InvalidArgument

# The package names its provider like the module that holds it.
MODULE: Any = sys.modules["runcast.examples.import_csv"]
ROWS = 500


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of 500 sound rows."""
    path = tmp_path / "goods.csv"
    path.write_text("id,name,price\n" + "".join(f"{n},thing {n},{n / 4}\n" for n in range(ROWS)))
    return path


@pytest.fixture
def saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every batch."""
    monkeypatch.setattr(MODULE, "CHECKPOINT_EVERY", 0)


def take(path: Path, ctx: RecordingSyncContext | None = None, **given: Any) -> Imported:
    database = path.with_name("db.sqlite")
    return import_csv.call(ctx or SyncContext.testing(), source=str(path), database=str(database), **given)


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path.with_name("db.sqlite"))) as db:
        return db.execute(sql).fetchall()


def ids(path: Path) -> list[int]:
    return [one for (one,) in query(path, "SELECT id FROM goods ORDER BY rowid")]


def failed(ctx: RecordingSyncContext) -> dict[int, str]:
    """The failed lines and their codes, each told once."""
    told = [(int(one.target.removeprefix("line ")), one.code) for one in ctx.recorded.failures]
    assert len(told) == len(dict(told))
    return dict(told)


def test_a_table_gets_its_name_columns_types_and_rows_from_the_file(source: Path) -> None:
    ctx = SyncContext.testing()
    result = take(source, ctx)
    assert result.columns == {"id": "INTEGER", "name": "TEXT", "price": "REAL"}
    assert (result.table, result.rows, result.bad, result.lines) == ("goods", ROWS, 0, ROWS + 1)
    assert query(source, "SELECT * FROM goods LIMIT 2") == [(0, "thing 0", 0.0), (1, "thing 1", 0.25)]
    assert ids(source) == list(range(ROWS))
    assert ctx.recorded.summary == "500 rows into goods"
    assert [ref.type for ref in ctx.recorded.refs] == ["file", "table"]
    last = ctx.recorded.progress[-1]
    assert (last.completed, last.total, last.unit) == (source.stat().st_size,) * 2 + ("bytes",)
    assert last.message == "500 rows"


def test_a_declared_type_wins_and_no_text_is_no_value(tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text("id,code\n1,7\n2,\n3,NA\n")
    assert take(path, columns={"code": "text"}, missing="NA").columns["code"] == "TEXT"
    assert query(path, "SELECT * FROM goods") == [(1, "7"), (2, None), (3, None)]


def test_another_delimiter_encoding_and_awkward_names_are_imported(tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_bytes('größe;"a ""b""";\n1;é;x\n'.encode("cp1252"))
    take(path, delimiter=";", encoding="cp1252", table="order")
    assert query(path, 'SELECT "größe", "a ""b""", column_3 FROM "order"') == [(1, "é", "x")]


@pytest.mark.parametrize("batch", [5, 31, 10_000])
@pytest.mark.parametrize("seed", range(5))
def test_damaged_lines_of_every_kind_are_named_and_the_rest_is_imported(
    source: Path, seed: int, batch: int
) -> None:
    dice = Random(seed)
    lines = source.read_bytes().splitlines(keepends=True)
    damage: dict[str, Callable[[int], bytes]] = {
        "COLUMNS": lambda n: b"%d,only\n" % n,
        "VALUE": lambda n: b"%d,thing,cheap\n" % n,
        "MALFORMED": lambda n: b'%d,"thing" again,1\n' % n,
        "ENCODING": lambda n: b"%d,th\xffng,1\n" % n,
    }
    expected = {number: dice.choice(list(damage)) for number in dice.sample(range(2, ROWS + 2), 60)}
    for number, code in expected.items():
        lines[number - 1] = damage[code](number - 2)
    # Sound records of several lines move all that follow.
    for number in sorted(dice.sample([n for n in range(2, ROWS + 2) if n not in expected], 20), reverse=True):
        lines[number - 1] = b'%d,"thing\n\n%d",1.5\n' % (number - 2, number)
        expected = {n + 2 * (n > number): code for n, code in expected.items()}
    source.write_bytes(b"".join(lines))
    ctx = SyncContext.testing()
    result = take(source, ctx, batch=batch, columns={"id": "integer", "price": "real"})
    assert failed(ctx) == expected
    assert [failure.target for failure in ctx.recorded.failures] == [f"line {n}" for n in sorted(expected)]
    assert (result.rows, result.bad) == (ROWS - 60, 60)
    assert query(source, "SELECT count(*) FROM goods") == [(ROWS - 60,)]
    assert ctx.recorded.summary == "440 rows into goods, 60 bad lines"


def test_a_value_that_does_not_fit_is_shown_with_its_column(tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text("id,price\n1,2\n2,cheap\n")
    ctx = SyncContext.testing()
    take(path, ctx, columns={"price": "real"})
    [failure] = ctx.recorded.failures
    assert failure.message == "cannot store TEXT value in REAL column goods.price: 'cheap'"


def test_a_row_replaces_the_one_with_the_same_key(source: Path) -> None:
    take(source, key=["id"])
    source.write_text("id,name,price\n7,new,1\n,nameless,1\n")
    ctx = SyncContext.testing(run_id="run_again")
    take(source, ctx, key=["id"], existing="append")
    assert query(source, "SELECT name FROM goods WHERE id = 7") == [("new",)]
    assert failed(ctx) == {3: "VALUE"}
    assert query(source, "SELECT count(*) FROM goods") == [(ROWS,)]


def test_a_table_that_is_there_is_left_alone_unless_told_otherwise(source: Path) -> None:
    take(source)
    with pytest.raises(ProviderError, match="there is a table 'goods' already") as refused:
        take(source, SyncContext.testing(run_id="run_two"))
    assert refused.value.reason == "TABLE_EXISTS"
    take(source, SyncContext.testing(run_id="run_three"), existing="append")
    assert len(ids(source)) == 2 * ROWS
    take(source, SyncContext.testing(run_id="run_four"), existing="replace")
    assert ids(source) == list(range(ROWS))


class Stopping(RecordingSyncContext):
    """Asked to end at its n-th checkpoint; `before` it is taken, as a kill would, or once it is durable."""

    __slots__ = ("before", "left")

    def __init__(self, left: int, *, before: bool = False, **given: Any) -> None:
        super().__init__(**given)
        self.left = left
        self.before = before

    def checkpoint(self, state: object, *, schema_version: int = 0) -> None:
        self.left -= 1
        if self.left == 0 and self.before:
            raise Cancelled("killed")
        if self.left == 0:
            self.cancel()
        super().checkpoint(state, schema_version=schema_version)


@pytest.mark.usefixtures("saving")
@pytest.mark.parametrize("before", [False, True])
def test_no_row_is_lost_or_doubled_wherever_it_is_stopped(source: Path, before: bool) -> None:
    lines = source.read_text().splitlines(keepends=True)
    for number in (20, 21, 300, 501):
        lines[number - 1] = "broken\n"
    source.write_text("".join(lines))
    for left in range(1, 20):
        source.with_name("db.sqlite").unlink(missing_ok=True)
        first = Stopping(left, before=before)
        try:
            take(source, first, batch=50)
        except Cancelled:
            pass
        else:
            assert left > 10
            break
        restored = first.recorded.checkpoints[-1] if first.recorded.checkpoints else None
        second = SyncContext.testing(restored=restored)
        result = take(source, second, batch=50)
        assert (result.rows, result.bad) == (ROWS - 4, 4)
        assert ids(source) == [n for n in range(ROWS) if n + 2 not in (20, 21, 300, 501)]
        # What was told before a kill and not yet saved is told again: a line may be named twice, never not at all.
        told = [one.target for one in [*first.recorded.failures, *second.recorded.failures]]
        assert set(told) == {"line 20", "line 21", "line 300", "line 501"}
        assert before or len(told) == 4
    else:
        pytest.fail("it was stopped at every checkpoint and never came to its end")


def test_the_database_is_trusted_and_not_an_older_checkpoint(source: Path) -> None:
    first = Stopping(1)
    with pytest.raises(Cancelled):
        take(source, first, batch=50)
    checkpoint = first.recorded.checkpoints[-1]
    take(source, SyncContext.testing(restored=checkpoint))
    again = take(source, SyncContext.testing(restored=checkpoint))
    assert again.rows == ROWS
    assert ids(source) == list(range(ROWS))
    # And where the database was put away meanwhile, all of it is new.
    source.with_name("db.sqlite").unlink()
    assert take(source, SyncContext.testing(restored=checkpoint)).rows == ROWS


def test_a_retry_from_a_checkpoint_goes_on_with_the_import_of_the_run_before(source: Path) -> None:
    first = Cutting(3)
    with pytest.raises(Cancelled):
        take(source, first, batch=50)
    assert 0 < len(ids(source)) < ROWS
    retry = SyncContext.testing(run_id="run_retry", restored=first.recorded.checkpoints[-1])
    assert take(source, retry).rows == ROWS
    assert ids(source) == list(range(ROWS))


def test_a_retry_names_the_bad_lines_of_its_own_part_also_where_the_run_before_did(source: Path) -> None:
    lines = source.read_text().splitlines(keepends=True)
    lines[19] = "broken\n"
    source.write_text("".join(lines))
    first = Stopping(2)
    with pytest.raises(Cancelled):
        take(source, first)
    assert failed(first) == {20: "COLUMNS"}
    assert ids(source) == []
    retry = SyncContext.testing(run_id="run_retry", restored=first.recorded.checkpoints[-1])
    assert take(source, retry).bad == 1
    assert failed(retry) == {20: "COLUMNS"}


class Cutting(RecordingSyncContext):
    """Killed when it tells its progress for the n-th time."""

    __slots__ = ("left",)

    def __init__(self, left: int, **given: Any) -> None:
        super().__init__(**given)
        self.left = left

    def progress(self, completed: int | None = None, total: int | None = None, **more: Any) -> None:
        super().progress(completed, total, **more)
        self.left -= 1
        if self.left == 0:
            raise Cancelled("killed")


def test_an_attempt_that_was_overtaken_imports_nothing_more(source: Path) -> None:
    begun = Cutting(2)
    with pytest.raises(Cancelled):
        take(source, begun, batch=50)
    held = Overtaken(source)
    with pytest.raises(ProviderError) as refused:
        take(source, held, batch=50)
    assert refused.value.reason == "OVERTAKEN"
    assert ids(source) == list(range(ROWS))


class Overtaken(RecordingSyncContext):
    """While it looks whether to end, another attempt does all the work."""

    __slots__ = ("source",)

    def __init__(self, source: Path) -> None:
        super().__init__()
        self.source = source

    def raise_if_cancelled(self) -> None:
        take(self.source)


class Truncating(RecordingSyncContext):
    """Cuts the file off while it is read."""

    __slots__ = ("source",)

    def __init__(self, source: Path) -> None:
        super().__init__()
        self.source = source

    def raise_if_cancelled(self) -> None:
        os.truncate(self.source, self.source.stat().st_size // 2)


def test_a_file_that_changes_while_it_is_read_is_no_success(source: Path) -> None:
    with pytest.raises(ProviderError) as refused:
        take(source, Truncating(source), batch=50)
    assert refused.value.reason == "SOURCE_CHANGED"


def test_a_file_that_changed_meanwhile_is_not_gone_on_with(source: Path) -> None:
    with pytest.raises(Cancelled):
        take(source, Cutting(2), batch=50)
    source.write_text(source.read_text() + "500,more,1\n")
    with pytest.raises(ProviderError) as refused:
        take(source)
    assert (refused.value.reason, refused.value.retryable) == ("SOURCE_CHANGED", False)


def test_too_many_bad_lines_fail_the_run_and_say_what_may_be_wrong(source: Path) -> None:
    ctx = SyncContext.testing()
    with pytest.raises(ProviderError, match="more than 5 bad lines") as refused:
        take(source, ctx, columns={"name": "integer"}, most_bad=5)
    assert refused.value.reason == "TOO_MANY_BAD"
    assert len(ctx.recorded.failures) == 6


@pytest.mark.parametrize(
    ("content", "given", "reason"),
    [
        ("", {}, "NO_HEADER"),
        ('"a\n', {}, "NO_HEADER"),
        ("a,b,A\n", {}, "INVALID_HEADER"),
        ("a,b\n", {"key": ["c"]}, "UNKNOWN_COLUMNS"),
        ("a,b\n", {"columns": {"c": "text"}}, "UNKNOWN_COLUMNS"),
        ("a,b\n", {"table": "sqlite_x"}, "INVALID_TABLE"),
        ("a,b\n", {"table": "runcast_imports"}, "INVALID_TABLE"),
    ],
)
def test_what_cannot_become_a_table_is_refused_for_good(
    tmp_path: Path, content: str, given: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "goods.csv"
    path.write_text(content)
    with pytest.raises(ProviderError) as refused:
        take(path, **given)
    assert (refused.value.reason, refused.value.retryable) == (reason, False)
    if path.with_name("db.sqlite").exists():
        assert query(path, "SELECT name FROM sqlite_schema") == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"delimiter": ",,"}, "delimiter"),
        ({"delimiter": '"'}, "delimiter"),
        ({"encoding": "utf-16"}, "encoding"),
        ({"encoding": "no-such"}, "encoding"),
        ({"columns": {"a": "date"}}, "columns"),
        ({"table": "a b"}, "table"),
        ({"source": "/no/such.csv"}, "source"),
        ({"database": "/no/such/folder/x.db"}, "database"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_starts(
    source: Path, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument, match=rf"input\.{field}"):
        import_csv.validate(json.dumps({"source": str(source), "database": "x.db", **given}))


def test_a_header_alone_makes_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text("\n\nid,name")
    assert take(path).columns == {"id": "TEXT", "name": "TEXT"}
    assert query(path, "SELECT * FROM goods") == []


@pytest.mark.parametrize("batch", [9, 50])
def test_a_retry_for_failed_lines_imports_these_alone_once_they_are_repaired(
    source: Path, batch: int
) -> None:
    lines = source.read_text().splitlines(keepends=True)
    sound = {number: lines[number - 1] for number in (3, 4, 200, 501)}
    for number in sound:
        lines[number - 1] = "broken\n"
    source.write_text("".join(lines))
    first = SyncContext.testing(run_id="run_one")
    take(source, first, existing="replace")
    targets = [failure.target for failure in first.recorded.failures]
    for number in (3, 501):
        lines[number - 1] = sound[number]
    lines[3] = "\n"
    source.write_text("".join(lines))
    retry = SyncContext.testing(
        run_id="run_two", targets=[*targets, "line 900", "line 900"], restored=first.recorded.checkpoints[-1]
    )
    result = take(source, retry, existing="replace", batch=batch)
    assert failed(retry) == {4: "MISSING", 200: "COLUMNS", 900: "MISSING"}
    assert (result.rows, result.bad) == (2, 3)
    assert sorted(ids(source)) == [n for n in range(ROWS) if n + 2 not in (4, 200)]
    assert ids(source)[-2:] == [1, 499]


def test_a_repair_of_a_repair_begins_anew_although_it_has_a_checkpoint(source: Path) -> None:
    lines = source.read_text().splitlines(keepends=True)
    sound, lines[99] = lines[99], "broken\n"
    source.write_text("".join(lines))
    last = None
    for number in range(3):
        ctx = SyncContext.testing(
            run_id=f"run_{number}", targets=["line 100"] if number else [], restored=last
        )
        assert take(source, ctx).rows == (0 if number else ROWS - 1)
        last = ctx.recorded.checkpoints[-1]
    lines[99] = sound
    source.write_text("".join(lines))
    ctx = SyncContext.testing(run_id="run_last", targets=["line 100"], restored=last)
    assert take(source, ctx).rows == 1
    assert sorted(ids(source)) == list(range(ROWS))


def test_a_retry_for_a_target_that_is_no_line_is_refused(source: Path) -> None:
    with pytest.raises(ProviderError) as refused:
        take(source, SyncContext.testing(targets=["b.txt"]))
    assert refused.value.reason == "UNKNOWN_TARGET"
