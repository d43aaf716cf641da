"""What passes between the engine and whatever executes a provider: a call in plain data, reports, and an end."""

from typing import Protocol

from msgspec import Struct, field

from runcast.server.model.event import Report
from runcast.server.model.run import Checkpoint, Error, State


class Call(Struct, frozen=True):
    """Everything a provider needs for one attempt. `input` is JSON text, validated and defaulted.

    `run_id:attempt` is the provider's idempotency key; `deadline` is when the attempt times out, or None. `targets` is
    what to work on, empty for all.
    """

    run_id: str
    attempt: int
    provider: str
    input: str
    checkpoint: Checkpoint | None = None
    labels: dict[str, str] = field(default_factory=dict)
    deadline: int | None = None
    targets: tuple[str, ...] = ()


class Returned(Struct, frozen=True, array_like=True, tag=1):
    """The code came to its end; `output` is JSON text, "null" for nothing."""

    output: str


class Raised(Struct, frozen=True, array_like=True, tag=2):
    """The code failed: an exception (with traceback), an exit code, a child that died, an unreadable checkpoint.

    `while_stopping` where the exception was raised while the code was being stopped: it may be nothing but the stop's
    own consequence.
    """

    error: Error
    traceback: str = ""
    while_stopping: bool = False


class Stopped(Struct, frozen=True, array_like=True, tag=3):
    """The code ended because it was asked to (`killed` False) or was killed."""

    killed: bool = False


class Abandoned(Struct, frozen=True, array_like=True, tag=4):
    """The code cannot be stopped: it is cut off from its run and keeps its slot until it really returns."""


End = Returned | Raised | Stopped | Abandoned


class StartChild(Struct, frozen=True, array_like=True, tag=1):
    """Start a run under this one, or find the one that was started under this `key` before.

    `input` is JSON text. With `task`, the id of one, the provider comes from there.
    """

    key: str
    provider: str = ""
    task: str = ""
    input: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    survive: bool = False


class AwaitChildren(Struct, frozen=True, array_like=True, tag=2):
    """Wait until all of these children, or the first, are final."""

    run_ids: tuple[str, ...]
    any: bool = False


Question = StartChild | AwaitChildren
ASKED_TO_STOP = "ASKED_TO_STOP"
"""The reason of the error by which a wait ends whose code is asked to stop."""


class ChildStarted(Struct, frozen=True, array_like=True, tag=1):
    """The child, and whether it was started just now."""

    run_id: str
    created: bool


class ChildEnd(Struct, frozen=True, array_like=True):
    """How a child ended; `output` is JSON text, empty where there is none."""

    run_id: str
    state: State
    output: str = ""
    error: Error | None = None
    summary: str = ""


class ChildrenEnded(Struct, frozen=True, array_like=True, tag=2):
    """Children that are final, in the order in which they were asked for: as many as fit, at least one."""

    ends: tuple[ChildEnd, ...]


Answer = ChildStarted | ChildrenEnded


class Sink(Protocol):
    """Where an attempt's reports and questions go. Called on the event loop's thread only.

    After `ended`, or once the attempt is not current any more, `report`, `commit` and `answer` raise Fenced.
    """

    def report(self, report: Report) -> None:
        """Take a report; it is stored soon, in order. Never blocks."""

    async def commit(self, report: Report) -> None:
        """Take a report and return once it, and all before it, is durable."""

    async def drain(self) -> None:
        """Return at once while few reports wait to be stored, else when they are: call it in long producing loops."""

    async def answer(self, question: Question) -> Answer:
        """Do what is asked for, and say what came of it; raises where it is refused. May take as long as a child does."""

    def ended(self, end: End) -> None:
        """The last call of an attempt: exactly one."""
