"""Becoming a server: the command line never imports one, it starts `python -m runcast.server` in its place."""

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, NoReturn

import typer

from runcast.cli.configuration import read_settings
from runcast.cli.failures import Refused

MODULE = "runcast.server"

Listen = Annotated[
    str | None,
    typer.Option(
        "--listen", metavar="HOST:PORT", help="Where to listen, or RUNCAST_LISTEN; default: 127.0.0.1:7433."
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Listen beyond this machine although there is neither TLS nor authentication, or RUNCAST_INSECURE.",
    ),
]
Providers = Annotated[
    list[str] | None,
    typer.Option(
        "--providers",
        metavar="MODULE|FILE.py|examples",
        help="What to serve, or RUNCAST_PROVIDERS; may be repeated.",
    ),
]
LogLevel = Annotated[
    str | None, typer.Option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR.")
]
MaxConcurrent = Annotated[
    int | None,
    typer.Option(
        "--max-concurrent", metavar="N", min=1, help="Processes at once; default: the number of CPUs."
    ),
]


def arguments(flags: Mapping[str, str | int | bool | Sequence[str] | None]) -> list[str]:
    """The flags that were given, for the server; the rest it reads from its environment and files itself."""
    words: list[str] = []
    for name, value in flags.items():
        if isinstance(value, bool):
            words += [f"--{name}"] * value
            continue
        values = [value] if isinstance(value, (str, int)) else value or ()
        words += [word for each in values for word in (f"--{name}", str(each))]
    return words


def is_installed() -> bool:
    """Whether the server is installed beside this client."""
    return importlib.util.find_spec(MODULE) is not None and importlib.util.find_spec("msgspec") is not None


def check_ready() -> None:
    """Refused, with the remedy, where the server is not installed, or a file that it reads is broken."""
    if not is_installed():
        raise Refused(
            "the server is not installed; this is the client and the command line alone",
            remedy="Install it with:  pip install 'runcast[server]'",
        )
    read_settings({})


def become_server(words: Sequence[str], module: str = MODULE) -> NoReturn:
    """Put the server, or a program that comes with it, in this program's place; signals then reach it directly."""
    check_ready()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *words])  # noqa: S606 - its own interpreter, no shell
