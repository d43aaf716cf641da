"""What all commands share: their common options, how they are run, and what becomes of errors."""

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Concatenate, ParamSpec, TypedDict, get_args, get_type_hints

import typer

from runcast.cli import text
from runcast.cli.exits import Exit, Left
from runcast.cli.failures import complain, report
from runcast.cli.options import seconds
from runcast.cli.output import Format
from runcast.cli.session import DEFAULT_SERVER, Session

P = ParamSpec("P")
Work = Callable[Concatenate[Session, P], Awaitable[Exit]]


class Section(StrEnum):
    """The headings under which `runcast --help` lists the commands, in this order."""

    SERVE = "Run a server"
    START = "Start work"
    FOLLOW = "Follow and steer a run"
    LOOK = "Look around"
    SERVER = "Ask the server about itself"


Server = Annotated[
    str | None,
    typer.Option(
        "--server", "-s", metavar="HOST:PORT", help="The server; default: RUNCAST_SERVER, or localhost:7433."
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="TIME",
        parser=seconds,
        help="How long you wait (90, 5m, 1h30m); then it exits with 124, and the run goes on.",
    ),
]
Output = Annotated[Format | None, typer.Option("--output", "-o", help="How data is written to stdout.")]
Json = Annotated[bool, typer.Option("--json", help="The same as -o json.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.")]


class Common(TypedDict, total=False):
    """The options of each command that talks to a server."""

    server: Server
    timeout: Timeout
    output: Output
    json: Json
    quiet: Quiet


def group(app: typer.Typer, name: str, *, section: Section, help: str) -> typer.Typer:
    """Register a command that only holds others."""
    below = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=help)
    app.add_typer(below, name=name, rich_help_panel=section)
    return below


def epilog(examples: Sequence[str]) -> str | None:
    """Examples for the end of a command's help, each on its line."""
    return "\n".join(("\b", "Examples:", *(f"  {each}" for each in examples))) if examples else None


def command(
    app: typer.Typer, name: str, *, section: Section | None = None, examples: Sequence[str] = ()
) -> Callable[[Work[P]], Work[P]]:
    """Register a coroutine function as a command: it is given a Session and its own options, and answers with a code.

    Options that several commands share are a TypedDict: `**options: Unpack[Starting]`. `examples` end its help.
    """

    def register(work: Work[P]) -> Work[P]:
        def run(context: typer.Context, **options: Any) -> Exit:
            session = _session(context, {each: options.pop(each) for each in Common.__annotations__})
            return perform(session, lambda: work(session, **options))  # type: ignore[call-arg]

        run.__doc__ = work.__doc__
        run.__signature__ = _signature(work)  # type: ignore[attr-defined]
        run.__annotations__ = {"context": typer.Context}
        app.command(name, rich_help_panel=section, epilog=epilog(examples))(run)
        return work

    return register


def _signature(work: Callable[..., Any]) -> inspect.Signature:
    """What typer is to see: the function's own options, those that it shares with others, and those of all."""
    named = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("context", named, annotation=typer.Context)]
    for each in list(inspect.signature(work).parameters.values())[1:]:
        if each.kind is inspect.Parameter.VAR_KEYWORD:
            parameters += _options(get_args(each.annotation)[0])
        else:
            parameters.append(each.replace(kind=named))
    return inspect.Signature([*parameters, *_options(Common)])


def _options(shared: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(shared, include_extras=True)
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hint,
            default=False if get_args(hint)[0] is bool else None,
        )
        for name, hint in hints.items()
    ]


def _session(context: typer.Context, common: Mapping[str, Any]) -> Session:
    """The session by the options of the command, or by those before it."""
    before: dict[str, Any] = context.find_root().params
    server = common["server"] or before.get("server")
    timeout = common["timeout"] if common["timeout"] is not None else before.get("timeout")
    wanted = Format.JSON if common["json"] and common["output"] is None else common["output"]
    return Session(
        server=server or os.environ.get("RUNCAST_SERVER") or DEFAULT_SERVER,
        server_was_typed=server is not None,
        timeout=timeout,
        format=wanted,
        quiet=common["quiet"],
    )


def perform(session: Session, work: Callable[[], Awaitable[Exit]]) -> Exit:
    """Do it within the person's patience, and turn what goes wrong into lines and a code."""
    import asyncio

    async def patiently() -> Exit:
        async with asyncio.timeout(session.timeout):
            return await work()

    try:
        return asyncio.run(patiently())
    except TimeoutError:
        return _out_of_patience(session)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Left as left:
        return left.code
    except Exception as error:  # noqa: BLE001 - the last resort: nobody is shown a traceback
        return report(error, session.server, session.remedy)


def _out_of_patience(session: Session) -> Exit:
    waited = text.duration(session.timeout or 0)
    if session.following:
        way = session.command("watch", session.following)
        complain(f"gave up after {waited}; the run goes on", remedy=f"Come back to it with:  {way}")
    else:
        complain(f"gave up after {waited}: {session.server} did not answer")
    return Exit.IMPATIENT
