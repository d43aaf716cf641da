"""`runcast serve`: run a server."""

from typing import Annotated

import typer

from runcast.cli.command import Section
from runcast.cli.serving import Insecure, Listen, LogLevel, MaxConcurrent, Providers, arguments, become_server


def add(app: typer.Typer) -> None:
    """Register `serve`."""
    app.command("serve", rich_help_panel=Section.SERVE)(serve)


def serve(  # noqa: PLR0917 - typer calls it by names
    listen: Listen = None,
    insecure: Insecure = False,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage", metavar="URL", help="memory://, file:///PATH or sqlite:///PATH, or RUNCAST_STORAGE."
        ),
    ] = None,
    providers: Providers = None,
    max_concurrent: MaxConcurrent = None,
    log_level: LogLevel = None,
) -> None:
    """Serve providers as durable runs.

    What is not given comes from RUNCAST_*, runcast.toml or pyproject.toml. SIGTERM or Ctrl-C drains, a second one ends
    at once.
    """
    flags = {
        "listen": listen,
        "insecure": insecure,
        "storage": storage,
        "providers": providers,
        "max-concurrent": max_concurrent,
        "log-level": log_level,
    }
    become_server(arguments(flags))
