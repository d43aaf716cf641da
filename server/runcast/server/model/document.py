"""The small documents beside the runs: tasks now; each kind is stored, found and listed in the same way."""

from enum import IntEnum

from msgspec import Struct

from runcast.server.model.task import Task


class Kind(IntEnum):
    """What a document is; the values are stored."""

    TASK = 1


Document = Task
"""Each has an `id` that is unique in its kind, a `version` from 0, and a `create_time`."""


def kind_of(document: Document) -> Kind:
    """The kind of a document."""
    return Kind.TASK


class DocumentChange(Struct, frozen=True):
    """A document's next version: 0 creates it, n replaces version n - 1 and nothing else. `removed`: as version n it is
    gone, and its id is free."""

    document: Document
    removed: bool = False
