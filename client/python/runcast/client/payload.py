"""Python values into payloads and out of them, without losing a digit."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf.message import Message

from runcast.v1 import event_pb2, payload_pb2

Parameters = Mapping[str, Any] | payload_pb2.Payload
"""What a run takes: what `json` can write, or a payload made by hand."""


class ArtifactRef(NamedTuple):
    """A payload that lies in an artifact: the artifact's id, and its media type where it is known."""

    id: str
    content_type: str


def to_payload(parameters: Parameters | None) -> payload_pb2.Payload | None:
    """Parameters as JSON text, integers exact; TypeError or ValueError for what JSON cannot say (NaN too)."""
    if parameters is None or isinstance(parameters, payload_pb2.Payload):
        return parameters
    text = json.dumps(dict(parameters), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return payload_pb2.Payload(json=text)


def to_python(payload: payload_pb2.Payload) -> Any:
    """What a payload says: the JSON value, bytes, an ArtifactRef, or None where it is empty."""
    match payload.WhichOneof("content"):
        case "json":
            return json.loads(payload.json)
        case "value":
            return _plain(payload.value)
        case "data":
            return payload.data
        case "artifact":
            return ArtifactRef(payload.artifact, payload.content_type)
        case _:
            return None


def kind(event: event_pb2.RunEvent) -> str:
    """What happened, as the name of the field that says it (`progress`, `log`); empty for a kind not known yet."""
    return event.WhichOneof("event") or ""


def to_dict(message: Message) -> dict[str, Any]:
    """A message as plain data for JSON, under the names of the contract; unset fields are left out. 64-bit integers
    are strings, times are RFC 3339, as protobuf's JSON form has it."""
    written: dict[str, Any] = _plain(message)
    return written


def _plain(message: Message) -> Any:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message, preserving_proto_field_name=True)
