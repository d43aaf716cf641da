"""Values of the model's types, made from the types themselves: one with every field set, and all shapes at random."""

from enum import Enum
from types import UnionType
from typing import Any, get_args, get_origin

from hypothesis import strategies as st
from msgspec import Struct, structs

from runcast.server.model.run import Run
from tests.repository.builders import NOW

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    str: TEXT,
    bytes: st.binary(max_size=12),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    type(None): st.none(),
}


def shapes_of(kind: Any) -> st.SearchStrategy[Any]:
    """All values of the type."""
    if kind in PLAIN:
        return PLAIN[kind]
    if get_origin(kind) is UnionType:
        return st.one_of(*map(shapes_of, get_args(kind)))
    if get_origin(kind) is tuple:
        return st.lists(shapes_of(get_args(kind)[0]), max_size=2).map(tuple)
    if get_origin(kind) is dict:
        return st.dictionaries(*map(shapes_of, get_args(kind)), max_size=2)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    # Deferred: a definition is made only where one is drawn.
    return st.deferred(lambda: st.builds(kind, **{f.name: shapes_of(f.type) for f in structs.fields(kind)}))


def filled(kind: Any) -> Any:
    """A value of the type in which nothing is left at its default."""
    examples: dict[Any, Any] = {int: 7, str: "text", bytes: b"\xff\x00", float: 0.5, bool: True}
    if kind in examples:
        return examples[kind]
    if get_origin(kind) is UnionType:
        return filled(next(one for one in get_args(kind) if one is not type(None)))
    if get_origin(kind) is tuple:
        return (filled(get_args(kind)[0]),) * 2
    if get_origin(kind) is dict:
        return {"name": "value"}
    if issubclass(kind, Enum):
        return [*kind][-1]
    assert issubclass(kind, Struct)
    return kind(**{field.name: filled(field.type) for field in structs.fields(kind)})


def a_full_run(run_id: str) -> Run:
    """A new run with every field set."""
    full: Run = filled(Run)
    return structs.replace(full, id=run_id, version=0, create_time=NOW, first_sequence=1, last_sequence=0)
