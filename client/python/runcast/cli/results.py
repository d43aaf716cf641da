"""What a run returned, on stdout."""

import json
import sys
from typing import TYPE_CHECKING, Any

from runcast.cli import text
from runcast.cli.output import (
    Column,
    Format,
    to_json,
    write,
    write_json,
    write_jsonl,
    write_table,
    write_yaml,
)
from runcast.cli.terminal import Terminal, say

if TYPE_CHECKING:
    from rich.text import Text

    from runcast.client import Run

_MOST_COLUMNS = 12


def write_result(run: "Run", wanted: Format | None, terminal: Terminal) -> None:
    """The result in the format that was asked for: without one, for people on a terminal and as JSON in a pipe."""
    output = run.output
    if wanted is Format.NAME:
        write(run.id)
        return
    match output.WhichOneof("content"):
        case "json":
            _write_value(output.json, wanted, terminal)
        case "data":
            _write_bytes(output.data, output.content_type, terminal)
        case "artifact":
            write(output.artifact)
            say(f"the result is an artifact ({text.line(output.content_type)})")


def _write_value(written: str, wanted: Format | None, terminal: Terminal) -> None:
    value = json.loads(written)
    if wanted is Format.JSONL:
        write_jsonl(value if isinstance(value, list) else [value])
    elif wanted is Format.JSON:
        write_json(value, terminal)
    elif wanted is Format.YAML:
        write_yaml(value)
    elif wanted is None and not terminal.out_is_terminal:
        write(text.escape_json(written))
    elif _is_records(value):
        _write_records(value, terminal)
    elif isinstance(value, dict) and any(map(_is_records, value.values())):
        _write_object_with_tables(value, terminal)
    elif isinstance(value, str):
        write(text.clean(value))
    elif value is not None:
        _write_pretty(value, terminal)


def _is_records(value: Any) -> bool:
    """Whether this is a list of flat objects that a table can hold."""
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        return False
    names = {name for each in value for name in each}
    return 0 < len(names) <= _MOST_COLUMNS


def _write_records(records: list[dict[str, Any]], terminal: Terminal) -> None:
    names = list(dict.fromkeys(name for each in records for name in each))
    numbers = {
        name
        for name in names
        if all(isinstance(each.get(name), (int, float)) or each.get(name) is None for each in records)
    }
    columns = [Column(text.line(name), right=name in numbers) for name in names]
    rows = [[_cell(each.get(name)) for name in names] for each in records]
    write_table(columns, rows, terminal)


def _write_object_with_tables(value: dict[str, Any], terminal: Terminal) -> None:
    """What is flat first, each on a line, then a table for each list of records."""
    tables = {name: part for name, part in value.items() if _is_records(part)}
    flat = {text.line(name): part for name, part in value.items() if name not in tables}
    width = max(map(len, flat), default=0)
    for name, part in flat.items():
        cell = _cell(part)
        write(f"{name:<{width}}  {text.line(cell) if isinstance(cell, str) else cell}")
    for name, records in tables.items():
        write(f"\n{text.line(name)}")
        _write_records(records, terminal)


def _cell(value: Any) -> "str | Text":
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value, pretty=False)


def _write_pretty(value: Any, terminal: Terminal) -> None:
    written = to_json(value, pretty=True)
    if not terminal.out_is_terminal or not terminal.colour:
        write(written)
        return
    from rich.highlighter import JSONHighlighter
    from rich.text import Text

    shown = Text(written)
    JSONHighlighter().highlight(shown)
    terminal.out.print(shown, soft_wrap=True)


def _write_bytes(data: bytes, content_type: str, terminal: Terminal) -> None:
    if terminal.out_is_terminal:
        say(
            f"the result is {text.size(len(data))} of {text.line(content_type)}; send it to a file with  > FILE"
        )
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
