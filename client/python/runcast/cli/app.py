"""The command line as a whole: finds the commands, and lists them under headings."""

import importlib
import pkgutil
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from runcast.cli import commands
from runcast.cli.command import Profile, Section, Server, Timeout


class Sections(TyperGroup):
    """Lists the commands under the headings of `Section`, in their order."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        listed = [
            (name, self.commands[name]) for name in self.list_commands(ctx) if not self.commands[name].hidden
        ]
        width = max((len(name) for name, _ in listed), default=0)
        limit = formatter.width - 6 - width
        for section in dict.fromkeys(
            [*Section, *(getattr(each, "rich_help_panel", None) for _, each in listed)]
        ):
            rows = [
                (f"{name:{width}}", each.get_short_help_str(limit))
                for name, each in listed
                if getattr(each, "rich_help_panel", None) == section
            ]
            if rows:
                with formatter.section(section or "Commands"):
                    formatter.write_dl(rows)


def build() -> typer.Typer:
    """The program: every module in `commands` has a function `add(app)`, which registers what it brings."""
    app = typer.Typer(
        name="runcast",
        cls=Sections,
        # Plain help: rich would take four times as long as all the rest.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(runcast)
    for module in sorted(pkgutil.iter_modules(commands.__path__), key=lambda each: each.name):
        importlib.import_module(f"{commands.__name__}.{module.name}").add(app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"runcast {version('runcast')}")
        raise typer.Exit


def runcast(
    server: Server = None,
    profile: Profile = None,
    timeout: Timeout = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Start durable runs on a Runcast server, follow them live, and ask for their end.

    \b
    To try it:  runcast dev
    and then:   runcast run countdown -p seconds=5
    """
