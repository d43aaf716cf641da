"""What is said about a start on the command line, made ready for the server: options, parameters, and the question
whether it is meant."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypedDict, Unpack

import typer

from runcast.cli import parameters, text
from runcast.cli.asking import Yes, ask
from runcast.cli.completing import providers as complete_providers
from runcast.cli.completing import tasks as complete_tasks
from runcast.cli.failures import Refused
from runcast.cli.options import LARGEST, Labels, Param, Params, RequestId, labels, seconds, whole_number
from runcast.cli.session import Session

if TYPE_CHECKING:
    from runcast.client import Client, Provider, RunSpec, StartOptions

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="PROVIDER",
        help="What to run: see `runcast providers ls`.",
        show_default=False,
        autocompletion=complete_providers,
    ),
]


class Policies(TypedDict, total=False):
    """What a run goes by: options of `run`, `start` and `tasks`."""

    priority: Annotated[
        int | None,
        typer.Option(
            "--priority",
            metavar="N",
            parser=whole_number(-LARGEST),
            help="Higher starts earlier; default: 0.",
        ),
    ]
    queue: Annotated[str | None, typer.Option("--queue", metavar="NAME", help="The queue to wait in.")]
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Runs with the same key share a concurrency limit."),
    ]
    attempts: Annotated[
        int | None,
        typer.Option("--attempts", metavar="N", parser=whole_number(1), help="How often it is tried."),
    ]
    attempt_timeout: Annotated[
        float | None,
        typer.Option(
            "--attempt-timeout", metavar="TIME", parser=seconds, help="How long one attempt may take."
        ),
    ]
    run_timeout: Annotated[
        float | None,
        typer.Option(
            "--run-timeout", metavar="TIME", parser=seconds, help="How long the run may take in all."
        ),
    ]


class Starting(Policies, total=False):
    """The options of `run` and `start`."""

    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="A stored task in place of a provider: see `runcast tasks`.",
            autocompletion=complete_tasks,
        ),
    ]
    param: Param
    params: Params
    label: Labels
    run_id: Annotated[
        str | None, typer.Option("--run-id", metavar="ID", help="The id that the run is to have.")
    ]
    use_existing: Annotated[
        bool, typer.Option("--use-existing", help="Where --run-id is taken, follow the run that has it.")
    ]
    request_id: RequestId
    start_after: Annotated[
        str | None,
        typer.Option("--start-after", metavar="TIME", help="In so long (10m), or at an RFC 3339 time."),
    ]
    yes: Yes


class Ready(NamedTuple):
    """A start that can be sent: of a provider, or of a task."""

    provider: str | None
    task: str | None
    parameters: dict[str, Any]
    options: "StartOptions"


async def prepare(session: Session, name: str | None, **given: Unpack[Starting]) -> Ready:
    """Ask the server what the provider takes, read the parameters by it, and make sure that the start is meant."""
    task = given.get("task") or None
    if (name is None) == (task is None):
        raise Refused("name what to run: a provider, or a stored one with --task")
    options = _options(given)
    async with session.client() as client:
        provider = await _provider(client, name, task)
    session.remedy = _remedy(session, provider.name, task)
    chosen = parameters.parse(given.get("param") or (), given.get("params"), provider.input_schema)
    if not given.get("yes"):
        confirm(provider)
    return Ready(name, task, chosen, options)


async def _provider(client: "Client", name: str | None, task: str | None) -> "Provider":
    """What is to be run. A task's provider may be missing: why that is wrong, the start itself says best."""
    from runcast.client import NotFound, Provider

    if name is not None:
        return await client.provider(name)
    behind = (await client.tasks.get(task or "")).provider
    try:
        return await client.provider(behind)
    except NotFound:
        return Provider(name=behind)


def _remedy(session: Session, provider: str, task: str | None) -> str:
    what = ("tasks", "show", task) if task else ("providers", "show", provider)
    return f"See what it takes:  {session.command(*what)}"


def _options(given: Starting) -> "StartOptions":
    chosen: StartOptions = {"labels": labels(given.get("label"))}
    if run_id := given.get("run_id"):
        chosen["run_id"] = run_id
    if request_id := given.get("request_id"):
        chosen["request_id"] = request_id
    if given.get("use_existing"):
        if not run_id:
            raise Refused("--use-existing says what happens where --run-id is taken: give both")
        chosen["use_existing"] = True
    if after := given.get("start_after"):
        chosen["start_after"] = moment(after)
    overrides = spec(given)
    if overrides is not None:
        chosen["overrides"] = overrides
    return chosen


POLICIES = {
    "priority": "spec.priority",
    "queue": "spec.queue",
    "key": "spec.concurrency_key",
    "attempts": "spec.retry.max_attempts",
    "attempt_timeout": "spec.timeouts.attempt",
    "run_timeout": "spec.timeouts.run",
}
"""The options, and where the contract keeps what they say."""


def spec(given: Policies) -> "RunSpec | None":
    """What was said of the policies; None where nothing was."""
    if all(given.get(name) is None for name in POLICIES):
        return None
    from runcast.client import run_spec

    return run_spec(
        priority=given.get("priority"),
        queue=given.get("queue") or "",
        concurrency_key=given.get("key") or "",
        max_attempts=given.get("attempts") or 0,
        attempt_timeout=given.get("attempt_timeout"),
        run_timeout=given.get("run_timeout"),
    )


def moment(written: str) -> datetime | timedelta:
    """A time as typed: so long from now, or RFC 3339 with a zone."""
    try:
        return text.moment(written)
    except ValueError as error:
        raise Refused(f"--start-after: {error}") from None


# ------------------------------------------------------------------------------------------------- is it really meant?
def confirm(provider: "Provider") -> None:
    """Ask before what is dangerous or expensive; Refused where nobody can be asked, or the answer is no."""
    if why := _reason(provider):
        ask(f"{text.line(provider.name)} {why}", "Start it?", "nothing was started")


def _reason(provider: "Provider") -> str:
    if provider.danger:
        return f"is dangerous: {text.line(provider.danger).rstrip('.')}"
    return "costs much time or money" if provider.expensive else ""
