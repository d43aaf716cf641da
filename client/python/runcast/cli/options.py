"""Options that several commands share."""

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from runcast.cli import text
from runcast.cli.completing import runs, tasks
from runcast.cli.failures import Refused
from runcast.cli.follow.view import Progress

LARGEST = 2**31 - 1
"""The largest number that the contract's small whole numbers hold."""


def seconds(written: str) -> float:
    """A length of time as typed; refused by typer's own error, which names the option."""
    try:
        return text.seconds(written)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def whole_number(least: int) -> Callable[[str], int]:
    """Reads a whole number that the contract can hold, and that is not below `least`."""

    def read(written: str) -> int:
        try:
            number = int(written)
        except ValueError:
            raise typer.BadParameter(f"{written!r} is not a whole number") from None
        if not least <= number <= LARGEST:
            raise typer.BadParameter(f"{number} is not between {least} and {LARGEST}")
        return number

    return read


RunId = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False, autocompletion=runs)
]
TaskId = Annotated[
    str, typer.Argument(metavar="TASK", help="The task's id.", show_default=False, autocompletion=tasks)
]
ProgressOption = Annotated[
    Progress | None,
    typer.Option("--progress", help="How progress is shown: a bar, plain lines, or each event as JSON."),
]
Param = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="NAME=VALUE",
        help="A parameter, read by its type; NAME:=JSON says it exactly.",
    ),
]
Params = Annotated[
    str | None,
    typer.Option(
        "--params", metavar="JSON|@FILE|-", help="All parameters as a JSON object; -p goes over it."
    ),
]
RequestId = Annotated[
    str | None,
    typer.Option(
        "--request-id", metavar="ID", help="Makes it safe to repeat: the same id starts one run only."
    ),
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label; may be repeated.")
]


def labels(given: Sequence[str] | None) -> dict[str, str]:
    """Labels as they were typed: `key=value`, or `key` alone for an empty value."""
    chosen: dict[str, str] = {}
    for each in given or ():
        key, _, value = each.partition("=")
        if not key:
            raise Refused(f"--label {each}: write --label key=value")
        chosen[key] = value
    return chosen
