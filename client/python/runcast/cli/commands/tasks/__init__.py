"""`runcast tasks`: stored definitions of what to run."""

import typer

from runcast.cli.command import Section, group
from runcast.cli.commands.tasks import create, edit, looking, switching


def add(app: typer.Typer) -> None:
    """Register `tasks` with what can be done below it."""
    tasks = group(
        app, "tasks", section=Section.LOOK, help="Keep definitions of what to run, to start by name."
    )
    for each in (looking, create, edit, switching):
        each.add(tasks)
