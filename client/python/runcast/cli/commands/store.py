"""`runcast store`: look after a server's store, also while the server runs."""

from typing import Annotated

import typer

from runcast.cli.command import Section, epilog, group
from runcast.cli.serving import MODULE, become_server

Store = Annotated[
    str,
    typer.Argument(
        metavar="STORE_URL", help="The store, as in `runcast serve --storage`.", show_default=False
    ),
]


def add(app: typer.Typer) -> None:
    """Register `store` with what can be done below it."""
    store = group(
        app, "store", section=Section.SERVE, help="Back up or check a store, also while a server runs on it."
    )
    examples = ("runcast store backup sqlite:///runs.db /backups/runs-$(date +%F).db",)
    store.command("backup", epilog=epilog(examples))(backup)
    store.command("check")(check)


def backup(
    store: Store,
    destination: Annotated[str, typer.Argument(help="The file to write.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a store, as it is at this moment, to a file.

    The file is whole and durable once it has its name. To restore it, stop the server and start it on the file.
    """
    words = ["backup", *(["--overwrite"] if overwrite else []), "--", store, destination]
    become_server(words, f"{MODULE}.store")


def check(store: Store) -> None:
    """Read all that is stored, and say what is not as it should be.

    Nothing is changed. The exit code is 0 where all is well and 1 where there are problems, each named with its run and
    what to do about it.
    """
    become_server(["check", "--", store], f"{MODULE}.store")
