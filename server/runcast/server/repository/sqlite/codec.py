"""Between the model's structs and the blobs of the tables: msgpack."""

from collections.abc import Sequence
from typing import TypeVar, cast

import msgspec
from msgspec.msgpack import Decoder, Encoder

from runcast.server.model.document import Document, Kind
from runcast.server.model.errors import DataLoss
from runcast.server.model.event import Event
from runcast.server.model.run import Attempt, Checkpoint, Definition, Outcome, Run
from runcast.server.model.task import Task
from runcast.server.repository.rows import Row, bare, whole

T = TypeVar("T")

encode = Encoder().encode
"""Any struct of the model, or a tuple of them, as a blob."""

_row = Decoder(Row)
_definition = Decoder(Definition)
_outcome = Decoder(Outcome)
_events = Decoder(tuple[Event, ...])
_attempt = Decoder(Attempt)
_checkpoint = Decoder(Checkpoint)
_documents: dict[Kind, Decoder[Document]] = {Kind.TASK: Decoder(Task)}
_NO_OUTCOME = Outcome()


def encode_row(run: Run) -> bytes:
    """The hot row: the run without its definition and outcome."""
    return encode(bare(run))


def decode_run(run_id: str, row: bytes, definition: bytes | None, outcome: bytes | None) -> Run:
    """The run from its hot row and its parts; no outcome blob means an empty outcome. DataLoss."""
    kept = _decode(_row, row, run_id, "runs")
    return whole(kept, decode_definition(run_id, definition), decode_outcome(run_id, outcome))


def decode_row(run_id: str, row: bytes) -> Run:
    """The run from its hot row alone, its parts empty. DataLoss."""
    return whole(_decode(_row, row, run_id, "runs"), Definition(), _NO_OUTCOME)


def decode_definition(run_id: str, blob: bytes | None) -> Definition:
    """What the run was started from. DataLoss, also where it is missing."""
    return _decode(_definition, blob, run_id, "definitions")


def decode_outcome(run_id: str, blob: bytes | None) -> Outcome:
    """What the run led to; no blob means nothing yet. DataLoss."""
    return _NO_OUTCOME if blob is None else _decode(_outcome, blob, run_id, "outcomes")


def decode_events(run_id: str, blob: bytes) -> Sequence[Event]:
    """One row of the journal. DataLoss."""
    return cast(Sequence[Event], _decode(_events, blob, run_id, "journal"))


def decode_attempt(run_id: str, blob: bytes) -> Attempt:
    """A closed attempt. DataLoss."""
    return _decode(_attempt, blob, run_id, "attempts")


def decode_checkpoint(run_id: str, blob: bytes) -> Checkpoint:
    """A checkpoint. DataLoss."""
    return _decode(_checkpoint, blob, run_id, "checkpoints")


def decode_document(kind: Kind, document_id: str, blob: bytes) -> Document:
    """A document. DataLoss."""
    try:
        return _documents[kind].decode(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        name = kind.name.lower()
        message = f"{name} {document_id}: its row in table documents cannot be read: {error}"
        raise DataLoss(message, table="documents", **{name: document_id}) from error


def _decode(decoder: Decoder[T], blob: bytes | None, run_id: str, table: str) -> T:
    if blob is None:
        raise DataLoss(f"run {run_id}: its row in table {table} is missing", run=run_id, table=table)
    try:
        return decoder.decode(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataLoss(
            f"run {run_id}: its row in table {table} cannot be read: {error}", run=run_id, table=table
        ) from error
