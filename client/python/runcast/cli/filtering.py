"""Options that say which runs are meant, and the client's filter that they stand for."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, cast

import typer

from runcast.cli import text
from runcast.cli.failures import Refused
from runcast.cli.options import Labels, labels

if TYPE_CHECKING:
    from runcast.client import RunFilters


class Filtering(TypedDict, total=False):
    """The options of each command that works on all runs that match; all that are given must hold."""

    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", metavar="STATE", help="In this state; may be repeated or a list (failed,running)."
        ),
    ]
    provider: Annotated[str | None, typer.Option("--provider", metavar="NAME", help="Of this provider.")]
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="Started from this task.")]
    label: Labels
    queue: Annotated[str | None, typer.Option("--queue", metavar="NAME", help="In this queue.")]
    parent: Annotated[str | None, typer.Option("--parent", metavar="RUN", help="Children of this run.")]
    schedule: Annotated[str | None, typer.Option("--schedule", metavar="ID", help="Fired by this schedule.")]
    ref: Annotated[
        str | None,
        typer.Option("--ref", metavar="TYPE[:ID]", help="That touched this thing, or any of the type."),
    ]
    search: Annotated[
        str | None,
        typer.Option(
            "--text",
            "--search",
            metavar="TEXT",
            help="With these words in id, provider, task, summary or labels.",
        ),
    ]
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Created so long ago (2h) or later, or since a time."),
    ]
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Created longer ago than that, or before a time."),
    ]
    interrupted: Annotated[
        bool, typer.Option("--interrupted", help="That lost their server and wait to be resumed.")
    ]


def is_filtered(given: Filtering) -> bool:
    """Whether any of the options was given."""
    return any(given.values())


def filters(given: Filtering) -> "RunFilters":
    """The filter; Refused for what cannot be one, naming the option."""
    given_as: dict[str, Any] = {name: given.get(name) for name in ("provider", "task", "queue", "schedule")}
    given_as["states"] = _states(given.get("state") or ())
    given_as["labels"] = labels(given.get("label"))
    given_as["parent_run"] = given.get("parent")
    given_as["text"] = given.get("search")
    given_as["interrupted_only"] = given.get("interrupted")
    for name, option, read in _READ:
        if written := given.get(option):
            given_as[name] = read(f"--{option}", str(written))
    return cast("RunFilters", {name: value for name, value in given_as.items() if value})


def _states(given: "list[str] | tuple[str, ...]") -> list[str]:
    from runcast.client import state_of

    names = [part.strip().replace("-", "_") for each in given for part in each.split(",") if part.strip()]
    for name in names:
        try:
            state_of(name)
        except ValueError as error:
            raise Refused(f"--state: {str(error).lower()}") from None
    return names


def _ref(option: str, written: str) -> tuple[str, str]:
    kind, _, name = written.partition(":")
    if not kind:
        raise Refused(f"{option} {written}: write --ref TYPE:ID, or --ref TYPE for any of the type")
    return kind, name


def past(option: str, written: str) -> datetime | timedelta:
    """A time as typed: so long ago, or RFC 3339 with a zone."""
    try:
        return text.moment(written, sign=-1)
    except ValueError as error:
        raise Refused(f"{option}: {error}") from None


_READ: tuple[tuple[str, str, Callable[[str, str], Any]], ...] = (
    ("ref", "ref", _ref),
    ("created_after", "since", past),
    ("created_before", "until", past),
)
