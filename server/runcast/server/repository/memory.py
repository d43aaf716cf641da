"""The repository that lives in this process only: for tests, trials, and runs that need not outlive the server."""

import asyncio
import itertools
import time
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import structs

from runcast.server.model.change import (
    Change,
    Durability,
    Group,
    Known,
    Part,
    Refused,
    Request,
    Result,
    Saved,
    Stale,
)
from runcast.server.model.document import Document, DocumentChange, Kind, kind_of
from runcast.server.model.errors import NotFound, Unavailable
from runcast.server.model.event import Event
from runcast.server.model.run import Attempt, Checkpoint, EntityRef, Outcome, Page, Run, RunFilter, State
from runcast.server.repository.abc import Repository
from runcast.server.repository.selection import require_sound, selects

_REMOVED_AT_ONCE = 100
SAVED = Saved()


def monotonic() -> int:
    """Microseconds of a clock that nobody sets."""
    return time.monotonic_ns() // 1000


class _Order:
    """Tuples kept sorted: an index."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []

    def put(self, entry: tuple[Any, ...] | None) -> None:
        if entry is not None:
            insort(self.entries, entry)

    def drop(self, entry: tuple[Any, ...] | None) -> None:
        if entry is not None:
            del self.entries[bisect_left(self.entries, entry)]


class _Indexes:
    """Where the due runs are found without looking at the others; entries end with the run's key, then its id."""

    def __init__(self) -> None:
        self.owned = _Order()
        self.waking = _Order()
        self.queued: defaultdict[str, _Order] = defaultdict(_Order)

    def put(self, key: int, run: Run) -> None:
        self.owned.put(_owned(key, run))
        self.waking.put(_waking(key, run))
        self.queued[run.definition.provider].put(_queued(key, run))

    def drop(self, key: int, run: Run) -> None:
        self.owned.drop(_owned(key, run))
        self.waking.drop(_waking(key, run))
        self.queued[run.definition.provider].drop(_queued(key, run))


def _owned(key: int, run: Run) -> tuple[Any, ...] | None:
    return (run.owner, key, run.id) if run.owner and run.state.executing else None


def _waking(key: int, run: Run) -> tuple[Any, ...] | None:
    return None if run.wake_time is None else (run.wake_time, key, run.id)


def _queued(key: int, run: Run) -> tuple[Any, ...] | None:
    if run.state is not State.QUEUED:
        return None
    queue_time = -1 if run.queue_time is None else run.queue_time
    return (-run.spec.priority, queue_time, key, run.id)


class _Ahead:
    """The versions and request ids that earlier groups of a call lead to."""

    def __init__(self) -> None:
        self.runs: dict[str, int] = {}
        self.documents: dict[tuple[Kind, str], int] = {}
        self.requests: dict[tuple[str, str], Request] = {}


class MemoryRepository(Repository):
    """Everything in dictionaries. What was saved stays until the object goes, also over `close` and `open`.

    `exclusive` False says that others may use it too: for tests that let several servers at one store.
    """

    scheme = "memory"
    durability = Durability.PROCESS

    def __init__(self, *, exclusive: bool = True, clock: Callable[[], int] = monotonic) -> None:
        self.exclusive = exclusive
        self._clock = clock
        self._is_open = False
        self._clear()

    def _clear(self) -> None:
        """Hold nothing."""
        self._next_key = itertools.count()
        self._keys: dict[str, int] = {}
        self._runs: dict[str, Run] = {}
        self._created = _Order()
        self._indexes = _Indexes()
        self._journals: defaultdict[str, list[Event]] = defaultdict(list)
        self._refs: dict[str, dict[str, set[str]]] = {}
        self._checkpoints: dict[str, Checkpoint] = {}
        self._attempts: defaultdict[str, dict[int, Attempt]] = defaultdict(dict)
        self._documents: defaultdict[Kind, dict[str, Document]] = defaultdict(dict)
        self._requests: dict[tuple[str, str], Request] = {}
        self._leases: dict[str, int] = {}

    async def open(self) -> None:
        self._leases.clear()
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False

    async def save(self, groups: Sequence[Group]) -> Sequence[Result]:
        self._require_open()
        results = self._judged(groups)
        for group, result in zip(groups, results, strict=True):
            if type(result) is Saved:
                self._store(group)
        return results

    async def get(self, run_id: str) -> Run:
        self._require_open()
        try:
            return self._runs[run_id]
        except KeyError:
            raise NotFound("run", run_id) from None

    async def due(self, now: int, capacity: Mapping[str, int], limit: int) -> Sequence[Run]:
        self._require_open()
        found: dict[str, None] = {}
        clock = self._clock()
        lost = (entry for entry in self._indexes.owned.entries if self._leases.get(entry[0], clock) <= clock)
        found.update(dict.fromkeys(entry[-1] for entry in itertools.islice(lost, limit)))
        waking = itertools.takewhile(lambda entry: entry[0] <= now, self._indexes.waking.entries)
        found.update(dict.fromkeys(entry[-1] for entry in itertools.islice(waking, limit)))
        queued = sorted(
            entry
            for provider, free in capacity.items()
            for entry in self._queued(provider, min(free, limit), found)
        )
        found.update(dict.fromkeys(entry[-1] for entry in queued[:limit]))
        return [self._runs[run_id] for run_id in found]

    async def events(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        self._require_open()
        journal = self._journals.get(run_id, [])
        start = bisect_right(journal, after, key=lambda event: event.sequence)
        return journal[start : start + limit]

    async def attempts(self, run_id: str) -> Sequence[Attempt]:
        self._require_open()
        return [attempt for _, attempt in sorted(self._attempts.get(run_id, {}).items())]

    async def checkpoint(self, run_id: str) -> Checkpoint | None:
        self._require_open()
        return self._checkpoints.get(run_id)

    async def list(self, filter: RunFilter, page: Page) -> Sequence[Run]:
        self._require_open()
        require_sound(filter)
        runs = (self._runs[run_id] for _, run_id in self._from(page))
        found = (run for run in runs if selects(filter, run, self._refs.get(run.id, {})))
        return [*itertools.islice(found, page.limit)]

    async def remove(self, run_ids: Sequence[str]) -> Sequence[str]:
        self._require_open()
        removed = []
        for number, run_id in enumerate(dict.fromkeys(run_ids)):
            if number % _REMOVED_AT_ONCE == _REMOVED_AT_ONCE - 1:
                await asyncio.sleep(0)  # others have their turn
            if self._remove(run_id):
                removed.append(run_id)
        return removed

    async def document(self, kind: Kind, document_id: str) -> Document:
        self._require_open()
        try:
            return self._documents[kind][document_id]
        except KeyError:
            raise NotFound(kind.name.lower(), document_id) from None

    async def documents(self, kind: Kind, page: Page) -> Sequence[Document]:
        self._require_open()
        entries = sorted(
            ((document.create_time, document.id) for document in self._documents[kind].values()),
            reverse=not page.ascending,
        )
        behind = [
            entry
            for entry in entries
            if page.after is None or (entry > page.after if page.ascending else entry < page.after)
        ]
        return [self._documents[kind][document_id] for _, document_id in behind[: page.limit]]

    async def beat(self, boot_id: str, ttl: int) -> None:
        self._require_open()
        self._leases[boot_id] = self._clock() + ttl

    async def retire(self, boot_id: str) -> None:
        self._require_open()
        self._leases.pop(boot_id, None)

    async def prune_requests(self, now: int) -> int:
        self._require_open()
        return self._prune(now)

    def _prune(self, now: int) -> int:
        gone = [key for key, request in self._requests.items() if request.expire_time <= now]
        for key in gone:
            del self._requests[key]
        return len(gone)

    def _require_open(self) -> None:
        if not self._is_open:
            raise Unavailable(f"{self.scheme}:// is closed")

    def _judged(self, groups: Sequence[Group]) -> Sequence[Result]:
        """What becomes of each group, once those before it are stored; nothing is stored yet."""
        ahead = _Ahead()
        return [self._judge(group, ahead) for group in groups]

    def _judge(self, group: Group, ahead: _Ahead) -> Result:
        request = group.request
        if request is not None:
            key = (request.principal, request.request_id)
            known = self._requests.get(key) or ahead.requests.get(key)
            if known is not None:
                return Known(known.run_id, known.digest, known.expire_time)
        runs = self._advanced(group, ahead)
        if isinstance(runs, str):
            return Stale(runs)
        documents = self._rewritten(group, ahead)
        if isinstance(documents, str):
            return Stale(documents)
        refused = self._refusal(group)
        if refused is not None:
            return refused
        ahead.runs.update(runs)
        ahead.documents.update(documents)
        if request is not None:
            ahead.requests[request.principal, request.request_id] = request
        return SAVED

    def _refusal(self, group: Group) -> Refused | None:
        """Why a group that could be stored is not; here nothing is refused."""
        return None

    def _advanced(self, group: Group, ahead: _Ahead) -> dict[str, int] | str:
        """The versions of the group's runs once it is stored, or the run that is not at the version before."""
        versions: dict[str, int] = {}
        for change in group.changes:
            run = change.run
            before = versions.get(run.id, ahead.runs.get(run.id))
            if before is None:
                stored = self._runs.get(run.id)
                before = -1 if stored is None else stored.version
            if run.version != before + 1:
                return run.id
            versions[run.id] = run.version
        return versions

    def _rewritten(self, group: Group, ahead: _Ahead) -> dict[tuple[Kind, str], int] | str:
        """The same of the documents; -1 is the version of one that does not exist."""
        versions: dict[tuple[Kind, str], int] = {}
        for change in group.documents:
            document, kind = change.document, kind_of(change.document)
            before = versions.get((kind, document.id), ahead.documents.get((kind, document.id)))
            if before is None:
                stored = self._documents[kind].get(document.id)
                before = -1 if stored is None else stored.version
            if document.version != before + 1 or (change.removed and before < 0):
                return document.id
            versions[kind, document.id] = -1 if change.removed else document.version
        return versions

    def _store(self, group: Group) -> None:
        """Store what was judged to be."""
        for change in group.changes:
            self._apply(change)
        for written in group.documents:
            self._write(written)
        if group.request is not None:
            self._requests[group.request.principal, group.request.request_id] = group.request

    def _write(self, change: DocumentChange) -> None:
        document, kind = change.document, kind_of(change.document)
        if change.removed:
            self._documents[kind].pop(document.id, None)
        else:
            self._documents[kind][document.id] = document

    def _remove(self, run_id: str) -> bool:
        run = self._runs.get(run_id)
        if run is None or not run.state.final:
            return False
        self._indexes.drop(self._keys.pop(run_id), self._runs.pop(run_id))
        self._created.drop((run.create_time, run_id))
        for part in (self._journals, self._refs, self._checkpoints, self._attempts):
            part.pop(run_id, None)
        return True

    def _apply(self, change: Change) -> None:
        run = change.run
        before = self._runs.get(run.id)
        if before is None:
            key = self._keys[run.id] = next(self._next_key)
            self._created.put((run.create_time, run.id))
        else:
            key = self._keys[run.id]
            self._indexes.drop(key, before)
        now = self._runs[run.id] = _with_parts(change, before)
        self._indexes.put(key, now)
        journal = self._journals[run.id]
        journal.extend(change.events)
        del journal[: bisect_left(journal, run.first_sequence, key=lambda event: event.sequence)]
        for event in change.events:
            if isinstance(event.body, EntityRef):
                refs = self._refs.setdefault(run.id, {})
                refs.setdefault(event.body.type, set()).add(event.body.id)
        if change.checkpoint is not None:
            self._checkpoints[run.id] = change.checkpoint
        self._attempts[run.id].update((attempt.number, attempt) for attempt in change.closed)

    def _put(
        self,
        run: Run,
        checkpoint: Checkpoint | None,
        attempts: Iterable[Attempt],
        refs: dict[str, set[str]],
    ) -> None:
        """Hold a run that was stored before, its events aside."""
        key = self._keys[run.id] = next(self._next_key)
        self._created.put((run.create_time, run.id))
        self._runs[run.id] = run
        self._indexes.put(key, run)
        if checkpoint is not None:
            self._checkpoints[run.id] = checkpoint
        if refs:
            self._refs[run.id] = refs
        self._attempts[run.id].update((attempt.number, attempt) for attempt in attempts)

    def _queued(self, provider: str, free: int, found: Mapping[str, None]) -> Iterable[tuple[Any, ...]]:
        order = self._indexes.queued.get(provider)
        fresh = (entry for entry in order.entries if entry[-1] not in found) if order else iter(())
        return itertools.islice(fresh, max(free, 0))

    def _from(self, page: Page) -> Iterable[tuple[Any, ...]]:
        created = self._created.entries
        if page.ascending:
            start = 0 if page.after is None else bisect_right(created, page.after)
            return itertools.islice(created, start, None)
        stop = len(created) if page.after is None else bisect_left(created, page.after)
        return (created[index] for index in range(stop - 1, -1, -1))


def _with_parts(change: Change, before: Run | None) -> Run:
    """The run as it is now stored: parts that the change does not rewrite stay as they were."""
    run = change.run
    definition = run.definition if before is None or change.parts & Part.DEFINITION else before.definition
    outcome = Outcome() if before is None else before.outcome
    if change.parts & Part.OUTCOME:
        outcome = run.outcome
    return structs.replace(run, definition=definition, outcome=outcome)
