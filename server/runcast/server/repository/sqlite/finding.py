"""Which rows a filter selects: its conditions, and which of them is looked up first."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from runcast.server.model.run import RunFilter, State
from runcast.server.repository.selection import words

FEW = 10_000
"""Up to so many runs are fetched and sorted for a page."""


class _Sought(NamedTuple):
    """A condition that an index of its own finds: the runs that it holds for, and whether it holds for one."""

    find: str
    probe: str
    to_find: Sequence[Any]
    to_probe: Sequence[Any]


class Selection(NamedTuple):
    """What a query of `runs` says after FROM and WHERE, and the values of its marks, in that order."""

    source: str
    where: list[str]
    values: list[Any]


def selection(connection: sqlite3.Connection, filter: RunFilter) -> Selection:
    """How to find what the filter selects.

    Of the labels, the reference and the text, what holds for the fewest runs is found by its index if they are few:
    their rows are fetched, sorted, and cut to a page. Where each holds for many, a page fills soon: rows are tried in
    the order of the page, and nothing behind its end is looked at. SQLite cannot choose, for it does not know how
    many runs a label has; CROSS JOIN keeps the order that was chosen here.
    """
    plain, values = _conditions(filter)
    sought = [*_sought(filter)]
    counted = [(_count(connection, one), number) for number, one in enumerate(sought)]
    fewest, chosen = min(counted, default=(FEW + 1, -1))
    source, found = "runs", []
    if fewest <= FEW:
        first = sought.pop(chosen)
        source = f"({first.find}) AS few CROSS JOIN runs ON runs.key = few.run"
        found = [*first.to_find]
    probes = [f"likely({one.probe})" for one in sought]
    return Selection(source, plain + probes, found + values + [v for one in sought for v in one.to_probe])


def _count(connection: sqlite3.Connection, sought: _Sought) -> int:
    """How many runs it finds, or one more than are few."""
    sql = f"SELECT count(*) FROM ({sought.find} LIMIT {FEW + 1})"  # noqa: S608 - no values
    (count,) = connection.execute(sql, sought.to_find).fetchone()
    return int(count)


def _sought(filter: RunFilter) -> Iterator[_Sought]:
    for pair in filter.labels.items():
        yield _Sought(
            "SELECT run FROM labels WHERE name = ? AND value = ?",
            "EXISTS (SELECT 1 FROM labels WHERE labels.run = runs.key AND name = ? AND value = ?)",
            pair,
            pair,
        )
    if filter.ref is not None:
        is_it, what = "type = ?", [filter.ref.type]
        if filter.ref.id:
            is_it, what = "type = ? AND refs.id = ?", [filter.ref.type, filter.ref.id]
        yield _Sought(
            f"SELECT DISTINCT run FROM refs WHERE {is_it}",  # noqa: S608 - no values
            f"EXISTS (SELECT 1 FROM refs WHERE refs.run = runs.key AND {is_it})",  # noqa: S608 - no values
            what,
            what,
        )
    if filter.text:
        wanted = words(filter.text)
        # Words and not their index are looked at for one run: the index would find all runs each time.
        said = "(SELECT ' ' || words || ' ' || summary FROM texts WHERE texts.run = runs.key)"
        yield _Sought(
            "SELECT rowid AS run FROM texts_fts WHERE texts_fts MATCH ?",
            " AND ".join([f"instr({said}, ?) > 0"] * len(wanted)),
            [" AND ".join(f'"{word}" *' for word in wanted)],
            [f" {word}" for word in wanted],
        )


# `likely`: SQLite takes every condition for one that hardly any row fulfils, and would rather read and sort all rows
# that there are than those of a page in their order.
# A task, schedule or parent is said twice: the index over the rows that have one serves only a query that says so.
_EQUALS = {
    "provider": "likely(provider = ?)",
    "queue": "likely(queue = ?)",
    "task": "task = ? AND task <> ''",
    "schedule": "schedule = ? AND schedule <> ''",
    "parent_run": "parent_run = ? AND parent_run <> ''",
}
_BOUNDS = {"created_after": "create_time >= ?", "created_before": "create_time < ?"}


def _conditions(filter: RunFilter) -> tuple[list[str], list[Any]]:
    """What stands in the row itself."""
    found: list[tuple[str, Sequence[Any]]] = []
    if filter.states:
        found.append((f"likely(state IN ({', '.join('?' * len(filter.states))}))", [*filter.states]))
    if filter.interrupted_only:
        found.append(("likely(state = ?)", [State.INTERRUPTED]))
    found.extend((sql, [getattr(filter, name)]) for name, sql in _EQUALS.items() if getattr(filter, name))
    found.extend(
        (sql, [getattr(filter, name)]) for name, sql in _BOUNDS.items() if getattr(filter, name) is not None
    )
    return [sql for sql, _ in found], [value for _, values in found for value in values]
