"""Runs and changes made by hand: no lifecycle decides here what may follow what."""

from typing import Any

from msgspec import structs

from runcast.server.model.change import Change, Group, Part, Request, Result
from runcast.server.model.event import Event, LogLine, Severity
from runcast.server.model.run import Attempt, AttemptState, Checkpoint, Definition, Run, Spec, State
from runcast.server.repository.abc import Repository

NOW = 1_750_000_000_000_000
SECOND = 1_000_000


def a_run(
    run_id: str, *, priority: int = 0, queue: str = "", of: Definition | None = None, **fields: Any
) -> Run:
    """A new run, version 0, QUEUED at NOW unless told; `of` is its definition."""
    of = of or Definition(provider="echo", spec=Spec(priority=priority, queue=queue))
    hot: dict[str, Any] = {"state": State.QUEUED, "create_time": NOW, "queue_time": NOW, **fields}
    return Run(run_id, 0, definition=of, **hot)


def following(run: Run, **fields: Any) -> Run:
    """The run's next version."""
    return structs.replace(run, version=run.version + 1, **fields)


def lines(first: int, count: int, *, time: int = NOW) -> tuple[Event, ...]:
    """`count` log lines, numbered from `first`, each with a text of its own."""
    return tuple(Event(n, time, 1, LogLine(Severity.INFO, f"line {n}")) for n in range(first, first + count))


def change(
    run: Run,
    *,
    events: int = 0,
    parts: int = Part.NONE,
    checkpoint: Checkpoint | None = None,
    closed: tuple[Attempt, ...] = (),
) -> Change:
    """A change to this version that tells `events` lines more than the run told before."""
    told = lines(run.last_sequence + 1, events)
    run = structs.replace(run, last_sequence=run.last_sequence + events)
    return Change(run, told, parts | (Part.NONE if run.version else Part.DEFINITION), checkpoint, closed)


def group(*of: Run | Change, request: Request | None = None) -> Group:
    """What holds together; a bare run is a change without events."""
    return Group(tuple(change(one) if isinstance(one, Run) else one for one in of), request)


def a_request(
    request_id: str, run_id: str, *, principal: str = "me", expires: int = NOW + 60 * SECOND
) -> Request:
    """A request id; the digest is made of the run's id."""
    return Request(principal, request_id, f"digest of {run_id}".encode(), run_id, expires)


def an_attempt(number: int) -> Attempt:
    """An attempt that failed."""
    return Attempt(number, AttemptState.FAILED, "boot", NOW, NOW + SECOND, traceback=f"the trace of {number}")


async def save(repository: Repository, *of: Run | Change, request: Request | None = None) -> Result:
    """Save one group alone, and its result."""
    (result,) = await repository.save([group(*of, request=request)])
    return result
