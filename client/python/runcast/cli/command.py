"""What all commands share: their common options, how they are run, and what becomes of errors."""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Concatenate, ParamSpec, TypedDict, get_args, get_type_hints

import typer

from runcast.cli import text
from runcast.cli.configuration import DEFAULT_SERVER, read_settings
from runcast.cli.exits import Exit, Left
from runcast.cli.failures import Refused, complain, report
from runcast.cli.options import seconds
from runcast.cli.output import Format
from runcast.cli.session import Session

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
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile", metavar="NAME", help="Go by [profiles.NAME] of runcast.toml; default: RUNCAST_PROFILE."
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
    profile: Profile
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
            try:
                session = _session(context, {each: options.pop(each) for each in Common.__annotations__})
            except OSError as error:
                raise Refused(f"{error.filename}: {error.strerror}") from None
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
    """The session by the options of the command, or by those before it; what neither says, is configured."""
    before: dict[str, Any] = context.find_root().params
    given = {name: before.get(name) if value is None else value for name, value in common.items()}
    wanted = Format.JSON if common["json"] and common["output"] is None else common["output"]
    server, profile = given["server"], given["profile"]
    flags = {"server": server and address(server), "output": wanted, "timeout": given["timeout"]}
    settings = read_settings(flags, profile)
    typed = ("--server", server) if server else ("--profile", profile) if profile else ()
    return Session(
        server=address(settings["server"].value),
        way_there=typed,
        timeout=settings["timeout"].value,
        format=settings["output"].value,
        format_was_typed=wanted is not None,
        progress=settings["progress"].value,
        token=settings["token"].value,
        tls=settings["tls"].value,
        quiet=common["quiet"],
        settings=settings,
    )


def address(written: str) -> str:
    """The server's address as it was typed, with the usual port where there is none; Refused for one that only a
    browser takes, and for a port that there is not: gRPC would take another one."""
    scheme, found, rest = written.partition("://")
    if found and scheme.lower() in ("http", "https", "grpc", "grpcs", "tcp"):
        plain = rest.partition("/")[0] or DEFAULT_SERVER
        plain = plain if re.search(r":\d+$", plain) else f"{plain}:{DEFAULT_SERVER.rpartition(':')[2]}"
        raise Refused(
            f"{written} is no address of a server: it is HOST:PORT, without {scheme}://",
            remedy=f"Did you mean {plain}?",
        )
    port = re.search(r":(\d+)$", written)
    if port is not None and not 1 <= int(port[1][:10]) <= 65_535 and written.count(":") == 1:
        raise Refused(
            f"{written} is no address of a server: a port is 1 to 65535", remedy="Look at the number."
        )
    return f"{written}:{DEFAULT_SERVER.rpartition(':')[2]}" if re.fullmatch(r"[\w.-]+", written) else written


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
