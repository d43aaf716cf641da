"""What a payload says, in msgpack: entries that lead from one state of the store to the next.

Fields are told apart by their place: append new ones, with a default, and never reorder. An entry's tag is for ever.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder

from runcast.server.model.change import Change, Group, Part, Request
from runcast.server.model.document import Document, DocumentChange, Kind
from runcast.server.model.event import Event
from runcast.server.model.run import Attempt, Checkpoint, Definition, Outcome, Run
from runcast.server.repository.rows import Row, bare, whole

_NO_DEFINITION = Definition()
_NO_OUTCOME = Outcome()


class Kept(Struct, frozen=True, array_like=True, gc=False, tag=1):
    """A run of a snapshot, without its journal. `refs`: ids by type."""

    row: Row
    definition: Definition
    outcome: Outcome
    checkpoint: Checkpoint | None
    attempts: tuple[Attempt, ...]
    refs: dict[str, set[str]]

    @classmethod
    def of(
        cls,
        run: Run,
        checkpoint: Checkpoint | None,
        attempts: tuple[Attempt, ...],
        refs: dict[str, set[str]],
    ) -> "Kept":
        """The run, to be encoded."""
        return cls(bare(run), run.definition, run.outcome, checkpoint, attempts, refs)

    @property
    def run(self) -> Run:
        """The run."""
        return whole(self.row, self.definition, self.outcome)


class Told(Struct, frozen=True, array_like=True, gc=False, tag=2):
    """The next events of a snapshot's run."""

    run_id: str
    events: tuple[Event, ...]


class Asked(Struct, frozen=True, array_like=True, gc=False, tag=3):
    """A request id of a snapshot."""

    principal: str
    request_id: str
    digest: bytes
    run_id: str
    expire_time: int

    @classmethod
    def of(cls, request: Request) -> "Asked":
        """The request, to be encoded."""
        return cls(request.principal, request.request_id, request.digest, request.run_id, request.expire_time)

    @property
    def request(self) -> Request:
        """The request."""
        return Request(self.principal, self.request_id, self.digest, self.run_id, self.expire_time)


class Written(Struct, frozen=True, array_like=True, gc=False, tag=4):
    """A document of a snapshot."""

    kind: Kind
    document: Document


class _Change(Struct, frozen=True, array_like=True, gc=False):
    row: Row
    definition: Definition | None
    outcome: Outcome | None
    parts: int
    events: tuple[Event, ...]
    checkpoint: Checkpoint | None
    closed: tuple[Attempt, ...]

    @classmethod
    def of(cls, change: Change) -> "_Change":
        """The change without what it does not rewrite."""
        run = change.run
        defines = run.version == 0 or change.parts & Part.DEFINITION
        return cls(
            bare(run),
            run.definition if defines else None,
            run.outcome if change.parts & Part.OUTCOME else None,
            change.parts,
            change.events,
            change.checkpoint,
            change.closed,
        )

    @property
    def change(self) -> Change:
        """The change; what it does not rewrite is empty in its run."""
        run = whole(self.row, self.definition or _NO_DEFINITION, self.outcome or _NO_OUTCOME)
        return Change(run, self.events, self.parts, self.checkpoint, self.closed)


class _Group(Struct, frozen=True, array_like=True, gc=False):
    changes: tuple[_Change, ...]
    request: Asked | None
    documents: tuple[DocumentChange, ...]


class Did(Struct, frozen=True, array_like=True, gc=False, tag=5):
    """The groups of a call that were stored."""

    stored: tuple[_Group, ...]

    @classmethod
    def of(cls, groups: Sequence[Group]) -> "Did":
        """The groups, to be encoded."""
        return cls(
            tuple(
                _Group(
                    tuple(map(_Change.of, group.changes)),
                    None if group.request is None else Asked.of(group.request),
                    group.documents,
                )
                for group in groups
            )
        )

    @property
    def groups(self) -> Sequence[Group]:
        """The groups."""
        return [
            Group(
                tuple(one.change for one in group.changes),
                None if group.request is None else group.request.request,
                group.documents,
            )
            for group in self.stored
        ]


class Removed(Struct, frozen=True, array_like=True, gc=False, tag=6):
    """Runs that are gone."""

    run_ids: tuple[str, ...]


class Pruned(Struct, frozen=True, array_like=True, gc=False, tag=7):
    """Request ids that had expired by then are gone."""

    now: int


Entry = Kept | Told | Asked | Written | Did | Removed | Pruned

encode = Encoder().encode
"""An entry, or a sequence of entries, as bytes."""

_decoder = Decoder(tuple[Entry, ...])


def decode(payload: bytes | memoryview) -> Sequence[Entry]:
    """The entries of a payload. ValueError for bytes that are none."""
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def together(entries: Sequence[bytes]) -> bytes:
    """Entries that are encoded already, as one payload."""
    return encode([msgspec.Raw(entry) for entry in entries])
