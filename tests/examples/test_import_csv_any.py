"""Any CSV file, cut off anywhere: what gets into the table is what Python's csv module reads, and memory stays small."""

import csv
import io
import sqlite3
import tempfile
import tracemalloc
from contextlib import closing, suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runcast.examples import import_csv
from runcast.provider import Cancelled, SyncContext
from tests.examples.test_import_csv import Cutting

VALUE = st.text(st.sampled_from('ab"\n,é '), max_size=5) | st.sampled_from(["\r\n", "1", "x" * 30])
ROW = st.lists(VALUE, min_size=2, max_size=2) | st.lists(VALUE, max_size=3)


def written(table: list[list[str]], end: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows([["a", "b"], *table])
    return text.getvalue()


def read(content: str) -> tuple[list[tuple[str | None, ...]], list[str]]:
    """The rows of two columns, and the targets of the others, by the csv module."""
    rows: list[tuple[str | None, ...]] = []
    bad: list[str] = []
    reader = csv.reader(io.StringIO(content, newline="\n"), strict=True)
    line = 1
    for row in reader:
        if len(row) == 2 and line > 1:
            rows.append(tuple(value or None for value in row))
        elif len(row) not in (0, 2):
            bad.append(f"line {line}")
        line = reader.line_num + 1
    return rows, bad


@given(
    st.lists(ROW, max_size=15),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
    st.integers(1, 6),
    st.lists(st.integers(1, 4), max_size=4),
)
def test_any_table_is_imported_once_wherever_it_is_cut_off(
    table: list[list[str]], end: str, mark: str, batch: int, cuts: list[int]
) -> None:
    content = written(table, end)
    rows, bad = read(content)
    told: list[str] = []
    restored = None
    with tempfile.TemporaryDirectory() as folder:
        source, database = Path(folder, "any.csv"), Path(folder, "any.db")
        source.write_bytes((mark + content).encode())
        for cut in [*cuts, 1_000]:
            ctx = Cutting(cut, restored=restored)
            with suppress(Cancelled):
                import_csv.call(
                    ctx,
                    source=str(source),
                    database=str(database),
                    columns={"a": "text", "b": "text"},
                    batch=batch,
                )
            restored = ctx.recorded.checkpoints[-1]
            told += [failure.target for failure in ctx.recorded.failures]
        with closing(sqlite3.connect(database)) as db:
            assert db.execute('SELECT * FROM "any" ORDER BY rowid').fetchall() == rows
    assert told == bad


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    source = tmp_path / "many.csv"
    with source.open("w") as file:
        file.write("id,text\n")
        file.writelines(f"{number},{'x' * 190}\n" for number in range(30_000))
    tracemalloc.start()
    try:
        import_csv.call(
            SyncContext.testing(), source=str(source), database=str(tmp_path / "many.db"), batch=1_000
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < source.stat().st_size / 4
