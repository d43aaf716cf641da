"""The client for programs without an event loop: the same methods, which wait.

    with SyncClient("localhost:7433") as client:
        with client.execute("greet", {"name": "Ada"}) as run:
            for event in run:
                print(event.sequence, kind(event))
        print(run.result())

It is a face of `Client`, whose loop runs in a thread of its own. It may be used from several threads, also from one
that runs an event loop, which waits meanwhile; a stream is iterated by one thread at a time. Ctrl-C ends the call that
waits. A process that is forked while a client is open can use none: let `multiprocessing` spawn its processes. What the
client calls back (`on_retry`, and the iterables of `start_many` and `execute_all`) runs in the client's thread, and
must not call the client.
"""

import contextlib
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from runcast.client.attached import AttachedRun
from runcast.client.client import Client
from runcast.client.errors import ClientClosed
from runcast.client.facing import Face, blocking, constructed, facing, following, iterating
from runcast.client.followed import FollowedRun, Gap
from runcast.client.outcomes import Outcome, Outcomes
from runcast.client.portal import Portal
from runcast.client.run_stream import RunStream
from runcast.client.run_table import TableChange, TableStream
from runcast.client.tasks import Tasks
from runcast.v1 import event_pb2, run_pb2

F = TypeVar("F", bound=FollowedRun[Any])
S = TypeVar("S", bound=FollowedRun[Any] | TableStream | Outcomes)


class SyncStream(Face[S]):
    """A stream that is entered with `with`."""

    def __enter__(self) -> Self:
        self._portal.call(self._source.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Where the client was closed before, its streams have ended.
        with contextlib.suppress(ClientClosed):
            self._portal.call(self._source.__aexit__(kind, error, trace))

    def __iter__(self) -> Self:
        return self


class SyncFollowedRun(SyncStream[F], Generic[F]):
    """What streams about one run have in common."""

    def __next__(self) -> event_pb2.RunEvent:
        try:
            return self._portal.call(following(self._source))
        except StopAsyncIteration:
            raise StopIteration from None

    @property
    def id(self) -> str:
        """The run's id: what to come back with."""
        return self._source.id

    @property
    def snapshot(self) -> run_pb2.Run:
        """The run in full, as the server last told: when the stream began or was taken up, and when it was final."""
        return self._source.snapshot

    @property
    def state(self) -> run_pb2.Run.State.ValueType:
        """The run's state, as far as the loop has come."""
        return self._source.state

    @property
    def progress(self) -> run_pb2.Progress:
        """How far the run said it is, as far as the loop has come."""
        return self._source.progress

    @property
    def final(self) -> bool:
        """Whether the run has ended and every event was handed out."""
        return self._source.final

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Events that were asked for and that the server has trimmed: first and last missing sequence of each gap."""
        return self._source.gaps

    @property
    def resume_sequence(self) -> int:
        """What `SyncClient.watch(after_sequence=…)` needs to go on behind the event that was handed out last."""
        return self._source.resume_sequence

    @property
    def created(self) -> bool | None:
        """Whether this call created the run; None for a run that is only watched."""
        return self._source.created

    @property
    def caught_up(self) -> bool:
        """Whether the replay is over, so that what comes is live."""
        return self._source.caught_up

    @property
    def reconnects(self) -> int:
        """How often it was tried to take the stream up again."""
        return self._source.reconnects

    def result(self) -> Any:
        """What the run returned, as a Python value; RunFailed, RunCancelled or RunTimedOut where it did not succeed,
        RunNotFinal where the loop was left before the end."""
        return self._source.result()


class SyncRunStream(SyncFollowedRun[RunStream]):
    """A run while it is followed; see RunStream. Made by `SyncClient.execute` and `SyncClient.watch`."""

    cancel = blocking(RunStream.cancel)


class SyncAttachedRun(SyncFollowedRun[AttachedRun]):
    """A run while somebody is attached to it; see AttachedRun. Made by `SyncClient.attach`."""

    cancel = blocking(AttachedRun.cancel)
    pause = blocking(AttachedRun.pause)
    resume = blocking(AttachedRun.resume)
    detach = blocking(AttachedRun.detach)

    @property
    def attachment_id(self) -> str:
        """What `SyncClient.attach(attachment_id=…)` needs to come back as the same, also from another program."""
        return self._source.attachment_id


class SyncTableStream(SyncStream[TableStream]):
    """The changes of all runs that match; see TableStream. Made by `SyncClient.watch_runs`."""

    def __next__(self) -> TableChange:
        return self._portal.call(following(self._source))

    @property
    def resume_token(self) -> str:
        """What `SyncClient.watch_runs(resume_token=…)` needs to go on behind the change that was handed out last."""
        return self._source.resume_token

    @property
    def reconnects(self) -> int:
        """How often it was tried to take the stream up again."""
        return self._source.reconnects


class SyncOutcomes(SyncStream[Outcomes]):
    """Runs that are started together, as they end; see Outcomes. Made by `SyncClient.execute_all`."""

    cancel = blocking(Outcomes.cancel)

    def __next__(self) -> Outcome:
        try:
            return self._portal.call(following(self._source))
        except StopAsyncIteration:
            raise StopIteration from None


class SyncTasks(Face[Tasks]):
    """The tasks of a server; see Tasks."""

    create = blocking(Tasks.create)
    get = blocking(Tasks.get)
    list = iterating(Tasks.list)
    update = blocking(Tasks.update)
    delete = blocking(Tasks.delete)


class SyncClient(Face[Client]):
    """A connection to a Runcast server; use it as `with SyncClient() as client:`. It takes what Client takes."""

    @constructed(Client.__init__)
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(Portal(), Client(*args, **options))

    @property
    def target(self) -> str:
        """The server's address, as it was given."""
        return self._source.target

    def open(self) -> None:
        """Start the client's thread, and make the channel; it connects with the first call. `with` does this."""
        self._portal.open()
        try:
            self._portal.call(self._source.open())
        except BaseException:
            self._portal.close()
            raise

    def close(self) -> None:
        """End all calls and streams, and no run, and the client's thread; idempotent."""
        with contextlib.suppress(ClientClosed):
            self._portal.call(self._source.close())
        self._portal.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    execute = facing(Client.execute, SyncRunStream)
    watch = facing(Client.watch, SyncRunStream)
    attach = facing(Client.attach, SyncAttachedRun)
    watch_runs = facing(Client.watch_runs, SyncTableStream)
    execute_all = facing(Client.execute_all, SyncOutcomes)
    start = blocking(Client.start)
    start_many = blocking(Client.start_many)
    run = blocking(Client.run)
    wait = blocking(Client.wait)
    cancel = blocking(Client.cancel)
    pause = blocking(Client.pause)
    resume = blocking(Client.resume)
    retry = blocking(Client.retry)
    delete = blocking(Client.delete)
    get = blocking(Client.get)
    list = iterating(Client.list)
    events = iterating(Client.events)
    attempts = blocking(Client.attempts)
    providers = blocking(Client.providers)
    provider = blocking(Client.provider)
    server_info = blocking(Client.server_info)
    health = blocking(Client.health)

    @property
    def tasks(self) -> SyncTasks:
        """Stored definitions of what to run: `client.tasks.get("nightly")`."""
        return SyncTasks(self._portal, self._source.tasks)
