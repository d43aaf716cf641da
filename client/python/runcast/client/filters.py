"""What can be said about the runs that are looked for, and the filter that says it."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from runcast.client.starting import timestamp
from runcast.client.states import state_of
from runcast.v1 import run_pb2


class RunFilters(TypedDict, total=False):
    """Which runs to list; all that is given must hold.

    states: in one of these, by name (`running`) or value.
    provider, task, schedule, parent_run, queue: of this one.
    labels: with all of these.
    ref: that touched this thing, by its type and id; an empty id is any of the type.
    created_after, created_before: in this span of time; times have a zone, a timedelta counts from now.
    text: with these words in id, provider, task, summary or labels.
    interrupted_only: that lost their server and wait for somebody to resume them.
    """

    states: Iterable[str | run_pb2.Run.State.ValueType]
    provider: str
    task: str
    schedule: str
    parent_run: str
    queue: str
    labels: Mapping[str, str]
    ref: tuple[str, str]
    created_after: datetime | timedelta
    created_before: datetime | timedelta
    text: str
    interrupted_only: bool


def run_filter(**filters: Unpack[RunFilters]) -> run_pb2.RunFilter:
    """The filter as a message; ValueError for a state that does not exist or a time without a zone."""
    chosen = run_pb2.RunFilter(
        states=[state_of(each) if isinstance(each, str) else each for each in filters.get("states", ())],
        provider=filters.get("provider", ""),
        task=filters.get("task", ""),
        schedule=filters.get("schedule", ""),
        parent_run=filters.get("parent_run", ""),
        queue=filters.get("queue", ""),
        labels=filters.get("labels"),
        text=filters.get("text", ""),
        interrupted_only=filters.get("interrupted_only", False),
    )
    if "ref" in filters:
        chosen.ref.type, chosen.ref.id = filters["ref"]
    if "created_after" in filters:
        chosen.created_after.CopyFrom(timestamp(filters["created_after"]))
    if "created_before" in filters:
        chosen.created_before.CopyFrom(timestamp(filters["created_before"]))
    return chosen
