"""The small, often written part of a run, as it is stored: the run without its definition and outcome."""

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import NODEFAULT, structs

from runcast.server.model.run import Definition, Outcome, Run

_PARTS = ("definition", "outcome")


def _row_fields() -> list[tuple[Any, ...]]:
    """The fields of Run, in their order, with the parts as None: a field appended to Run reads as its default."""
    fields: list[tuple[Any, ...]] = []
    for field in structs.fields(Run):
        if field.name in _PARTS:
            fields.append((field.name, None, None))
        elif field.default is NODEFAULT:
            fields.append((field.name, field.type))
        else:
            fields.append((field.name, field.type, field.default))
    return fields


if TYPE_CHECKING:
    Row = Run
else:
    Row = msgspec.defstruct("Row", _row_fields(), frozen=True, array_like=True, gc=False)
_AT_DEFINITION, _AT_OUTCOME = (Run.__struct_fields__.index(name) for name in _PARTS)


def bare(run: Run) -> Row:
    """The run to be encoded without its parts; only a Row can be decoded from it."""
    # Nothing checks the types of fields but the decoder, and that is Row's.
    return structs.replace(run, definition=None, outcome=None)


def whole(row: Row, definition: Definition, outcome: Outcome) -> Run:
    """The run from its row and its parts."""
    values = list(structs.astuple(row))
    values[_AT_DEFINITION] = definition
    values[_AT_OUTCOME] = outcome
    return Run(*values)
