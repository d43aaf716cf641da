"""`runcast config show`: what this program and a server started here go by, and where that was said."""

import importlib.util
import json
import subprocess
import sys
from typing import Annotated, Any

import typer

from runcast.cli import text
from runcast.cli.command import Section, command, group
from runcast.cli.configuration import SECRETS
from runcast.cli.exits import Exit
from runcast.cli.failures import Refused
from runcast.cli.output import Column, to_json, write_many, write_table
from runcast.cli.serving import is_installed
from runcast.cli.session import Session

_ORIGINS = "runcast.server.origins"


def add(app: typer.Typer) -> None:
    """Register `config` with `show`."""
    config = group(app, "config", section=Section.SERVER, help="What this program and the server go by.")
    command(
        config,
        "show",
        examples=("runcast config show --origin", "runcast config show --profile staging -o json"),
    )(show)


async def show(
    session: Session,
    origin: Annotated[bool, typer.Option("--origin", help="Show also where each value was said.")] = False,
) -> Exit:
    """Show every setting of this program, and of a server that would be started here.

    A flag wins over RUNCAST_*, that over the profile, ./runcast.toml, [tool.runcast] in ./pyproject.toml, and
    ~/.config/runcast/config.toml; a profile named by --profile wins over RUNCAST_*. Secrets are masked.
    """
    shown = [*_client(session), *_server(session)]
    columns = [Column("of", whole=True), Column("setting", whole=True), Column("value")]
    if origin:
        columns.append(Column("origin"))
    write_many(
        shown,
        session.format if session.format_was_typed else None,
        session.terminal,
        record=dict,
        name=lambda each: str(each["name"]),
        table=lambda rows: write_table(
            columns, [_row(each)[: len(columns)] for each in rows], session.terminal
        ),
    )
    return Exit.SUCCEEDED


def _row(setting: dict[str, Any]) -> list[str]:
    value = setting["value"]
    written = "" if value is None else value if isinstance(value, str) else to_json(value, pretty=False)
    return [setting["of"], setting["name"], written, setting["origin"]]


def _client(session: Session) -> list[dict[str, Any]]:
    return [
        {
            "of": "client",
            "name": name,
            "value": "***" if name in SECRETS and setting.value else _plain(setting.value),
            "origin": setting.origin,
        }
        for name, setting in session.settings.items()
    ]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value  # a choice is more than its text


def _server(session: Session) -> list[dict[str, Any]]:
    """The server's own answer: the command line does not import it."""
    if not is_installed() or importlib.util.find_spec(_ORIGINS) is None:
        session.tell("the server is not installed: these are the settings of the client alone")
        return []
    done = subprocess.run([sys.executable, "-m", _ORIGINS], capture_output=True, text=True, check=False)
    if done.returncode:
        wrong = [tuple(map(str.strip, line.partition(":")[::2])) for line in done.stderr.splitlines()]
        raise Refused("the server would refuse these settings", details=[(a, text.line(b)) for a, b in wrong])
    settings: list[dict[str, Any]] = json.loads(done.stdout)
    return [{"of": "server", **each} for each in settings]
