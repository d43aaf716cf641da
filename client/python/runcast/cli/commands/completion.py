"""`runcast completion`: words for the Tab key."""

from enum import StrEnum
from typing import Annotated

import typer

from runcast.cli.command import Section, epilog
from runcast.cli.completing import SHELLS, script

Shell = StrEnum("Shell", SHELLS)  # type: ignore[misc]


def add(app: typer.Typer) -> None:
    """Register `completion`."""
    examples = (
        "bash:  runcast completion bash > ~/.local/share/bash-completion/completions/runcast",
        'zsh:   eval "$(runcast completion zsh)"      # in ~/.zshrc, behind compinit',
        "fish:  runcast completion fish > ~/.config/fish/completions/runcast.fish",
    )
    app.command("completion", rich_help_panel=Section.SERVER, epilog=epilog(examples))(completion)


def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.", show_default=False)]) -> None:
    """Print what your shell reads to complete commands, options, runs, tasks and providers."""
    typer.echo(script(shell.value))
