"""`runcast runs`: lists and details of runs."""

import typer

from runcast.cli.command import Section, group
from runcast.cli.commands.runs import events, ls, rm, show, watch


def add(app: typer.Typer) -> None:
    """Register `runs` with what can be done below it."""
    runs = group(app, "runs", section=Section.LOOK, help="List runs, look at them, and remove them.")
    for each in (ls, show, events, watch, rm):
        each.add(runs)
