"""Data on stdout: tables for people, JSON for programs, names for the next command."""

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from runcast.cli import text
from runcast.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.text import Text


class Format(StrEnum):
    """How data is written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
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


def state_text(state: str) -> "Text":
    """A state in words and in its colour."""
    from rich.text import Text

    return Text(text.words(state), STATE_STYLES.get(state, ""))


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


def write_table(
    columns: Sequence[Column], rows: Sequence[Sequence["str | Text"]], terminal: Terminal
) -> None:
    """A table without lines. On a terminal it keeps to the width; in a pipe nothing is cut."""
    from rich.table import Table

    shown = [index for index, each in enumerate(columns) if terminal.out.width >= each.from_width]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index in shown:
        column = columns[index]
        table.add_column(
            column.title.upper(),
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=_widest(rows, index) if column.whole else None,
        )
    for row in rows:
        table.add_row(*(_cell(row[index]) for index in shown))
    _print(table, terminal)


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


def _widest(rows: Sequence[Sequence["str | Text"]], index: int) -> int:
    from rich.cells import cell_len

    return max((cell_len(str(row[index])) for row in rows), default=0)
