"""`runcast dev`: a server to try things on."""

import os
from pathlib import Path

import typer

from runcast.cli.command import Section
from runcast.cli.configuration import DEFAULT_SERVER
from runcast.cli.serving import (
    Insecure,
    Listen,
    LogLevel,
    MaxConcurrent,
    Providers,
    arguments,
    become_server,
    check_ready,
)
from runcast.cli.terminal import say

FOLDER = ".runcast"
STORAGE = f"sqlite:///{FOLDER}/dev.db"
ADDRESS = "127.0.0.1:7433"


def add(app: typer.Typer) -> None:
    """Register `dev`."""
    app.command("dev", rich_help_panel=Section.SERVE)(dev)


def dev(
    listen: Listen = None,
    insecure: Insecure = False,
    providers: Providers = None,
    max_concurrent: MaxConcurrent = None,
    log_level: LogLevel = None,
) -> None:
    """Run a server to try things on, with examples.

    It keeps its runs in .runcast/dev.db of this folder. Your own providers:  runcast dev --providers my_file.py
    """
    check_ready()
    if "RUNCAST_STORAGE" not in os.environ:
        Path(FOLDER).mkdir(exist_ok=True)
    flags = {
        "listen": listen or _unless_set("RUNCAST_LISTEN", ADDRESS),
        "insecure": insecure,
        "storage": _unless_set("RUNCAST_STORAGE", STORAGE),
        "providers": providers or _unless_set("RUNCAST_PROVIDERS", "examples"),
        "max-concurrent": max_concurrent,
        "log-level": log_level,
    }
    for each in next_steps(listen or os.environ.get("RUNCAST_LISTEN", ADDRESS), examples=not providers):
        say(each)
    become_server(arguments(flags))


def _unless_set(variable: str, default: str) -> str | None:
    """The default, or nothing where the server finds its own in the environment."""
    return None if variable in os.environ else default


def next_steps(address: str, *, examples: bool) -> list[str]:
    """What a person can type next, in another terminal."""
    host, _, port = address.rpartition(":")
    reachable = f"localhost:{port}" if host in ("127.0.0.1", "0.0.0.0", "[::]", "localhost") else address  # noqa: S104
    server = "" if reachable == DEFAULT_SERVER else f" --server {reachable}"
    lines = [f"  runcast providers ls{server}"]
    if examples:
        lines.append(f"  runcast run countdown -p seconds=5{server}")
    return ["Try, in another terminal:", *lines, f"  runcast runs ls{server}", ""]
