"""Data on stdout: tables for people, JSON and YAML for programs, names for the next command."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from runcast.cli import text
from runcast.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

T = TypeVar("T")
_GUTTER = 2
_NARROWEST = 6


class Format(StrEnum):
    """How data is written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"
    NAME = "name"


class Column(NamedTuple):
    """A column of a table. One that is `whole` is never cut: ids are there to be copied. Where a terminal is narrower
    than `from_width`, the column is left out."""

    title: str
    whole: bool = False
    right: bool = False
    from_width: int = 0


STATE_STYLES = {
    "SUCCEEDED": "green",
    "SUCCEEDED_WITH_ERRORS": "yellow",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "LOST": "red",
    "CANCELLED": "magenta",
    "CANCELLING": "magenta",
    "RUNNING": "cyan",
    "PAUSED": "yellow",
    "PAUSING": "yellow",
    "INTERRUPTED": "yellow",
    "BACKING_OFF": "yellow",
}


_SHORT_STATES = {"SUCCEEDED_WITH_ERRORS": "with errors"}


def state_text(state: str, *, short: bool = False) -> "Text":
    """A state in words and in its colour; `short` for a column, where room is dear."""
    from rich.text import Text

    words = _SHORT_STATES.get(state) if short else None
    return Text(words or text.words(state), STATE_STYLES.get(state, ""))


def write(data: str) -> None:
    """A line of data."""
    sys.stdout.write(data + "\n")
    sys.stdout.flush()


def to_json(value: Any, *, pretty: bool) -> str:
    """JSON text with nothing in it that a terminal would obey."""
    separators = None if pretty else (",", ":")
    written = json.dumps(value, ensure_ascii=False, indent=2 if pretty else None, separators=separators)
    return text.escape_json(written)


def write_json(value: Any, terminal: Terminal) -> None:
    """JSON: over several lines on a terminal, in one line for a program."""
    write(to_json(value, pretty=terminal.out_is_terminal))


def write_jsonl(values: Iterable[Any]) -> None:
    """One line of JSON for each value."""
    for value in values:
        write(to_json(value, pretty=False))


def write_yaml(value: Any) -> None:
    """One YAML document, with nothing in it that a terminal would obey."""
    from runcast.cli.yaml import to_yaml

    write(to_yaml(value).rstrip("\n"))


def write_many(
    items: Sequence[T],
    wanted: Format | None,
    terminal: Terminal,
    *,
    record: Callable[[T], Any],
    name: Callable[[T], str],
    table: Callable[[Sequence[T]], None],
) -> None:
    """Several things of one kind in the format that was asked for; without one, as a table where there are any."""
    match wanted:
        case Format.JSON:
            write_json([record(each) for each in items], terminal)
        case Format.JSONL:
            write_jsonl(record(each) for each in items)
        case Format.YAML:
            write_yaml([record(each) for each in items])
        case Format.NAME:
            for each in items:
                write(name(each))
        case _ if items:
            table(items)


def write_one(
    item: T,
    wanted: Format | None,
    terminal: Terminal,
    *,
    record: Callable[[T], Any],
    name: Callable[[T], str],
    details: Callable[[T], None],
) -> None:
    """One thing in the format that was asked for; without one, in all its details."""
    match wanted:
        case Format.JSON:
            write_json(record(item), terminal)
        case Format.JSONL:
            write_jsonl([record(item)])
        case Format.YAML:
            write_yaml(record(item))
        case Format.NAME:
            write(name(item))
        case _:
            details(item)


def write_table(
    columns: Sequence[Column], rows: Sequence[Sequence["str | Text"]], terminal: Terminal
) -> None:
    """Write a table."""
    _print(table_of(columns, rows, terminal), terminal)


def table_of(
    columns: Sequence[Column], rows: Sequence[Sequence["str | Text"]], terminal: Terminal
) -> "Table":
    """A table without lines. On a terminal it keeps to the width; in a pipe nothing is cut."""
    from rich.table import Table

    shown = [index for index, each in enumerate(columns) if terminal.out.width >= each.from_width]
    table = Table(box=None, pad_edge=False, padding=(0, _GUTTER, 0, 0), header_style="bold")
    cells = [[_cell(row[index]) for index in shown] for row in rows]
    for index, width in zip(
        shown, _widths([columns[index] for index in shown], cells, terminal), strict=True
    ):
        column = columns[index]
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(
            column.title.upper(),
            justify=justify,
            width=width,
            no_wrap=not column.whole,
            overflow="fold" if column.whole else "ellipsis",
        )
    for row in cells:
        table.add_row(*row)
    return table


def _widths(columns: Sequence[Column], cells: Sequence[Sequence["Text"]], terminal: Terminal) -> list[int]:
    """How wide each column is: as its widest cell, but the widest that may be cut make room where there is too little.

    rich would cut all of them alike, ids too.
    """
    widths = [
        max([len(column.title), *(row[index].cell_len for row in cells)])
        for index, column in enumerate(columns)
    ]
    cuttable = [index for index, column in enumerate(columns) if not column.whole]
    excess = sum(widths) + _GUTTER * (len(widths) - 1) - terminal.out.width
    excess = _shrink(widths, cuttable, excess)
    # Where even that is too much, what is whole goes over several lines: a screen that is too narrow does it anyway.
    _shrink(widths, range(len(widths)), excess)
    return widths


def _shrink(widths: list[int], shrinkable: Sequence[int], excess: int) -> int:
    """Take from the widest, as far as there is something to take; what is left of the excess."""
    while excess > 0 and shrinkable:
        widest = max(shrinkable, key=lambda index: widths[index])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
        excess -= 1
    return excess


def write_facts(facts: Iterable[tuple[str, "str | Text"]], terminal: Terminal) -> None:
    """Names and values, one pair for each line; long values are wrapped under each other."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(name, _cell(value, keep_lines=True))
    _print(grid, terminal)


def _print(renderable: Any, terminal: Terminal) -> None:
    with terminal.out.capture() as captured:
        terminal.out.print(renderable)
    write("\n".join(each.rstrip() for each in captured.get().splitlines()))


def _cell(value: "str | Text", *, keep_lines: bool = False) -> "Text":
    from rich.text import Text

    if isinstance(value, Text):
        return value
    return Text(text.clean(value).rstrip() if keep_lines else text.line(value))
