"""What a provider's code is given of its run: `Context` in coroutines, `SyncContext` in plain functions, the same names."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from msgspec import Raw

from runcast.provider.checkpoint import decode, decode_as, encode
from runcast.provider.children import Child, EndedChild, Keys, Wait, ended, first_of
from runcast.provider.errors import ProviderError
from runcast.provider.log import RunLog
from runcast.provider.reporter import BlockingReporter, LoopReporter, Reporter
from runcast.provider.result import json_text
from runcast.provider.text import clean
from runcast.provider.track import AsyncTrack, track
from runcast.server.model.call import Answer, ChildEnd, ChildrenEnded, ChildStarted
from runcast.server.model.event import PartialResult, SaveCheckpoint, Summary
from runcast.server.model.run import EntityRef, Failure, Payload

if TYPE_CHECKING:
    from runcast.provider.testing import Given, RecordingContext, RecordingSyncContext

T = TypeVar("T")
ReporterT = TypeVar("ReporterT", bound=Reporter)
_UNREAD = Raw()
_NAME = 1024
# With the other fields an event stays below 64 KiB.
_WORDS = 48 * 1024


class BaseContext(Generic[ReporterT]):
    """What is the same in coroutines and in plain functions: nothing here is awaited.

    Once the attempt is over (its run has gone on without it), whatever is told raises `Cancelled`.
    """

    __slots__ = ("_keys", "_log", "_reporter", "_restored")

    def __init__(self, reporter: ReporterT) -> None:
        self._reporter = reporter
        self._log: RunLog | None = None
        self._restored: Any = _UNREAD
        self._keys = Keys()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._reporter.call.run_id

    @property
    def attempt(self) -> int:
        """Which try at the run this is, from 1."""
        return self._reporter.call.attempt

    @property
    def idempotency_key(self) -> str:
        """`run_id:attempt`: what to hand to a service that must not do the same twice."""
        return f"{self.run_id}:{self.attempt}"

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self._reporter.call.provider

    @property
    def labels(self) -> Mapping[str, str]:
        """The run's labels."""
        return MappingProxyType(self._reporter.call.labels)

    @property
    def deadline(self) -> int | None:
        """When the attempt times out, in microseconds since 1970 UTC, or None."""
        return self._reporter.call.deadline

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets to work on, by the names that were told to `target_failed`; empty for all.

        Set where a run is retried for its failed targets only: leave out all others, and work as ever where it is empty.
        """
        return self._reporter.call.targets

    @property
    def log(self) -> RunLog:
        """The run's logger: `ctx.log.info("read %s", path, size=3)`."""
        if self._log is None:
            self._log = RunLog(self._reporter)
        return self._log

    def progress(
        self,
        completed: int | None = None,
        total: int | None = None,
        *,
        fraction: float | None = None,
        unit: str | None = None,
        stage: str | None = None,
        message: str | None = None,
    ) -> None:
        """Say how far it is; what is not given stays as it was, and a new `stage` starts counting anew.

        Say it as often as you like: at most ten are told a second, the latest always. `fraction` (0 to 1) and the
        estimated end follow from `completed` and `total`.
        """
        self._reporter.progress.tell(
            completed, total, fraction=fraction, unit=unit, stage=stage, message=message
        )

    @property
    def restored(self) -> Any:
        """None on a first start, else what the last checkpoint was given, as plain data (or bytes).

        Raises CheckpointIncompatible where it cannot be read, which fails the attempt and loses nothing.
        """
        if self._restored is _UNREAD:
            saved = self._reporter.call.checkpoint
            self._restored = None if saved is None else decode(saved.data)
        return self._restored

    def restore(self, kind: type[T]) -> T | None:
        """None on a first start, else what the last checkpoint was given, as a `kind`; errors as `restored`."""
        saved = self._reporter.call.checkpoint
        return None if saved is None else decode_as(saved.data, kind)

    @property
    def restored_version(self) -> int:
        """The `schema_version` that the last checkpoint was saved with; 0 where none was said, and on a first start."""
        saved = self._reporter.call.checkpoint
        return 0 if saved is None else saved.schema_version

    def target_failed(self, target: str, code: str = "", message: str = "") -> None:
        """One of the run's targets failed and the run goes on; it ends SUCCEEDED_WITH_ERRORS at best.

        A retry of the run for its failed targets only finds `target` in `targets`.
        """
        self._reporter.send(Failure(clean(target, _NAME * 8), clean(code, _NAME), clean(message, _WORDS)))

    def ref(self, type: str, id: str, error: str = "") -> None:
        """The run touched this entity of the user's world: runs are found by it."""
        self._reporter.send(EntityRef(clean(type, _NAME), clean(id, _NAME), clean(error, _WORDS)))

    def summary(self, text: str) -> None:
        """The outcome in a few words; the last one counts."""
        self._reporter.send(Summary(clean(text)))

    def partial(self, value: object) -> None:
        """A piece of the result, before the end: anything that can be turned into at most 60 KiB of JSON."""
        self._reporter.send(PartialResult(Payload(json=json_text(value, "a partial result", 60 * 1024))))

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to end: for a cancellation, a pause, a timeout, or because its server shuts down.

        What it saves as a checkpoint while it ends is where the next attempt goes on.
        """
        return self._reporter.cancelled

    def raise_if_cancelled(self) -> None:
        """End here if the attempt was asked to: call it in long computations.

        Raises `asyncio.CancelledError` in coroutines and `Cancelled` in plain functions; let it through.
        """
        self._reporter.raise_if_cancelled()


class Context(BaseContext[LoopReporter]):
    """A run, for its coroutine. Annotate a parameter of any name with it to get one.

    `cancelled` needs no asking here: a coroutine is cancelled wherever it awaits.
    """

    __slots__ = ()

    async def checkpoint(self, state: object, *, schema_version: int = 0) -> None:
        """Save where to go on; returns once it is durable. Any msgspec or pydantic type, plain data or bytes, ≤ 1 MiB.

        `schema_version` says in which of its forms the state is: later code finds it in `restored_version`.
        """
        await self._reporter.commit(SaveCheckpoint(encode(state), _version(schema_version)))

    def track(
        self,
        items: Iterable[T] | AsyncIterable[T],
        total: int | None = None,
        unit: str | None = None,
        *,
        initial: int = 0,
        stage: str | None = None,
    ) -> AsyncIterator[T]:
        """`async for item in ctx.track(items)`: counts what is done; `total` is known by itself if the items have a length.

        Gives the loop a turn now and then, so that a long loop that awaits nothing can be cancelled. `initial` items
        were done before, and count towards `total`.
        """
        return AsyncTrack(self._reporter, items, total, unit=unit, initial=initial, stage=stage)

    async def sleep(self, seconds: float) -> None:
        """Wait; in a test without waiting."""
        await self._reporter.sleep(seconds)

    async def start(
        self,
        provider: str = "",
        parameters: Mapping[str, Any] | None = None,
        *,
        task: str = "",
        key: str = "",
        labels: Mapping[str, str] | None = None,
        survive: bool = False,
    ) -> Child:
        """Start a run of a provider, or of a task, under this one; cancelling this one cancels it, unless it is to `survive`.

        It is started once for all attempts: a later one finds it under its `key`. Without a key it is known by what runs
        with which parameters, and the how-many-th of its like it is: give a key where parameters differ from attempt to
        attempt, as times do. Waiting counts towards the attempt timeout. ProviderError where it cannot be started.
        """
        question = self._keys.question(
            provider, parameters, task=task, key=key, labels=labels, survive=survive
        )
        return _child(await self._reporter.ask(question))

    async def wait_all(self, children: Iterable[Child | str]) -> list[EndedChild]:
        """How they ended, in the order given, once all have; meanwhile others may use this run's slot."""
        wait = Wait(children)
        while (question := wait.question) is not None:
            wait.take(_ends(await self._reporter.ask(question)))
        return wait.ended

    async def wait_any(self, children: Iterable[Child | str]) -> EndedChild:
        """How the first of them ended, once one has."""
        return ended(_ends(await self._reporter.ask(first_of(children)))[0])

    @staticmethod
    def testing(**given: "Unpack[Given]") -> "RecordingContext":
        """A context without a server; see `runcast.provider.testing`."""
        from runcast.provider.testing import RecordingContext

        return RecordingContext(**given)


class SyncContext(BaseContext[BlockingReporter]):
    """A run, for its plain function. Annotate a parameter of any name with it to get one."""

    __slots__ = ()

    def checkpoint(self, state: object, *, schema_version: int = 0) -> None:
        """Save where to go on; returns once it is durable. Any msgspec or pydantic type, plain data or bytes, ≤ 1 MiB.

        `schema_version` says in which of its forms the state is: later code finds it in `restored_version`.
        """
        self._reporter.commit(SaveCheckpoint(encode(state), _version(schema_version)))

    def track(
        self,
        items: Iterable[T],
        total: int | None = None,
        unit: str | None = None,
        *,
        initial: int = 0,
        stage: str | None = None,
    ) -> Iterator[T]:
        """`for item in ctx.track(items)`: counts what is done; `total` is known by itself if the items have a length.

        Ends the loop when the attempt was asked to end. `initial` items were done before, and count towards `total`.
        """
        return track(self._reporter, items, total, unit=unit, initial=initial, stage=stage)

    def sleep(self, seconds: float) -> None:
        """Wait, and end at once when asked to; in a test without waiting."""
        self._reporter.sleep(seconds)

    def start(
        self,
        provider: str = "",
        parameters: Mapping[str, Any] | None = None,
        *,
        task: str = "",
        key: str = "",
        labels: Mapping[str, str] | None = None,
        survive: bool = False,
    ) -> Child:
        """As `Context.start`."""
        question = self._keys.question(
            provider, parameters, task=task, key=key, labels=labels, survive=survive
        )
        return _child(self._reporter.ask(question))

    def wait_all(self, children: Iterable[Child | str]) -> list[EndedChild]:
        """How they ended, in the order given, once all have; meanwhile others may use this run's slot."""
        wait = Wait(children)
        while (question := wait.question) is not None:
            wait.take(_ends(self._reporter.ask(question)))
        return wait.ended

    def wait_any(self, children: Iterable[Child | str]) -> EndedChild:
        """How the first of them ended, once one has."""
        return ended(_ends(self._reporter.ask(first_of(children)))[0])

    @staticmethod
    def testing(**given: "Unpack[Given]") -> "RecordingSyncContext":
        """A context without a server; see `runcast.provider.testing`."""
        from runcast.provider.testing import RecordingSyncContext

        return RecordingSyncContext(**given)


def _child(answer: Answer) -> Child:
    assert isinstance(answer, ChildStarted)
    return Child(answer.run_id)


def _ends(answer: Answer) -> tuple[ChildEnd, ...]:
    assert isinstance(answer, ChildrenEnded)
    return answer.ends


def _version(number: int) -> int:
    if not 0 <= number < 1 << 31:
        message = f"schema_version is {number}: a number from 0 to 2147483647"
        raise ProviderError(message, reason="CHECKPOINT_INVALID", retryable=False)
    return number


AnyContext = Context | SyncContext
