"""The interface that every storage backend keeps; `tests/repository` holds each of them to it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from runcast.server.model.change import Durability, Group, Result
from runcast.server.model.document import Document, Kind
from runcast.server.model.event import Event
from runcast.server.model.run import Attempt, Checkpoint, Page, Run, RunFilter
from runcast.server.repository.upkeep import Upkeep


class Repository(ABC):
    """Runs, their journals, checkpoints and attempts, documents, request ids, and the servers' leases.

    All methods may be called concurrently from one event loop. Times are the caller's, microseconds since 1970 UTC,
    except for leases, which go by the store's own clock. A store that cannot be reached, or is not open, raises
    Unavailable; a record that cannot be decoded raises DataLoss that names it, but for `due` and `list`: there a stand-in
    takes the run's place, which is what can be read of it, with the DATA_LOSS of `lifecycle.is_stand_in` as its error,
    so that one damaged run hides no other and is itself not hidden. Whoever stops waiting for a call cannot
    know whether it happened.
    """

    scheme: str
    durability: Durability
    exclusive: bool = False
    """Whether nobody else can use the store until this server closes it or dies, however long it stands still."""

    def upkeep(self) -> Upkeep | None:
        """Back-up and check, where this backend has them; needs no `open`."""
        return None

    @abstractmethod
    async def open(self) -> None:
        """Connect, lock, migrate. StorageError, with the remedy, where the store is unreachable, foreign, read-only,
        newer than this program, or in use by another server. On a store that only one server may use, all leases of
        older servers are void afterwards."""

    @abstractmethod
    async def close(self) -> None:
        """Finish running calls and let go of everything; idempotent. Also after a failed or missing `open`. Another
        `open` finds what was stored."""

    @abstractmethod
    async def save(self, groups: Sequence[Group]) -> Sequence[Result]:
        """Store groups, each whole or not at all, and answer one result each, in order, once they are durable.

        Within one call, later groups see earlier ones, and later changes of a group earlier ones. A group is Known
        where its request id is stored already (and not pruned since), whatever its changes; Stale where a run or document
        of it is not exactly one version behind (version 0: where the id is taken); Refused where the store has no room for it; else Saved. A new run's definition is stored
        whatever the change's parts say. Events are the caller's to number. Nothing is visible to readers before it is
        durable; where this raises, nothing of the call is stored.
        """

    @abstractmethod
    async def get(self, run_id: str) -> Run:
        """The newest durable version, with definition and outcome. NotFound."""

    @abstractmethod
    async def due(self, now: int, capacity: Mapping[str, int], limit: int) -> Sequence[Run]:
        """What waits for somebody to act, at most about `limit` of each kind, each run once, in this order:
        runs whose owner has no valid lease (states RUNNING, PAUSING, CANCELLING); runs whose `wake_time` is at or
        before `now`, earliest first; QUEUED runs of the providers in `capacity`, at most that many of each beside those
        before, highest priority first, then oldest (by queue_time, then creation)."""

    async def set_aside(self, run_id: str, now: int) -> Run | None:
        """Keep the bytes of whatever cannot be decoded of the run, as they are, where nothing is written over them, and
        answer its stand-in; None where all of it can be read. NotFound."""
        await self.get(run_id)
        return None

    @abstractmethod
    async def events(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        """The journal behind sequence `after`: dense, in order, at most `limit` events (at least one if there is one),
        none before the run's `first_sequence`. Empty where there are none, also for an unknown run."""

    @abstractmethod
    async def attempts(self, run_id: str) -> Sequence[Attempt]:
        """The attempts that were closed into rows of their own, by number; the latest lives on the run."""

    @abstractmethod
    async def checkpoint(self, run_id: str) -> Checkpoint | None:
        """The newest durable checkpoint."""

    @abstractmethod
    async def list(self, filter: RunFilter, page: Page) -> Sequence[Run]:
        """The runs that the filter selects (as `selection.selects` says), in the order of (create_time, id), newest first
        unless the page says otherwise, starting behind the page's position."""

    @abstractmethod
    async def remove(self, run_ids: Sequence[str]) -> Sequence[str]:
        """Drop final runs with all that belongs to them but their request ids, which stay taken; answers which were
        dropped, once each, in the order asked for. Others, and unknown ones, are left alone. Many go in portions, each
        whole or not at all, so that nobody waits long: where this raises, some may be gone."""

    @abstractmethod
    async def document(self, kind: Kind, document_id: str) -> Document:
        """The newest durable version. NotFound."""

    @abstractmethod
    async def documents(self, kind: Kind, page: Page) -> Sequence[Document]:
        """All of a kind, in the order of (create_time, id), as `list`."""

    @abstractmethod
    async def beat(self, boot_id: str, ttl: int) -> None:
        """Renew the lease of the server `boot_id` for `ttl` microseconds of the store's clock; the first call makes it."""

    @abstractmethod
    async def retire(self, boot_id: str) -> None:
        """Drop the lease: the server owns nothing any more. Unknown ones are ignored."""

    @abstractmethod
    async def prune_requests(self, now: int) -> int:
        """Forget request ids that expired at or before `now`; answers how many."""
