"""Follows all runs under a filter: the newest version of what changed, each run once, with no queue for any stream."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from itertools import takewhile

from msgspec import Struct
from msgspec.structs import replace

from runcast.server.engine.journal import Journal
from runcast.server.engine.tail import size_of
from runcast.server.engine.watching import CaughtUp, GoingAway, Heartbeat
from runcast.server.model.errors import DataLoss, NotFound
from runcast.server.model.run import Page, Run, RunFilter
from runcast.server.repository.abc import Repository
from runcast.server.repository.selection import selects

_RUNS_PER_MESSAGE = 256
_WEIGHT_PER_MESSAGE = 128 << 10
_FIRST_PAGE = 16
_BETWEEN_LOOKS = 0.1
_HEAVY = 32 << 10
_MANY = 64
_FACTS = 512
_REFS = 1_000
_TOP = (1 << 62, "")
"""The place in the list before its first run."""


class Place(Struct, frozen=True):
    """How far a stream has come: it has told all changes up to `number` of the server `boot_id`, and the runs of the
    list that are not behind `behind`; None: all of them."""

    boot_id: str
    number: int
    behind: tuple[int, str] | None = None


class Standing:
    """A run as it stands; the same object for all streams that tell of the same change, so that it is encoded once."""

    __slots__ = ("__weakref__", "run", "weight")

    def __init__(self, run: Run, weight: int) -> None:
        self.run = run
        self.weight = weight


class Resync(Struct, frozen=True):
    """All runs that match follow from the start; why, for a person."""

    reason: str


class Changes(Struct, frozen=True):
    """Runs as they are now, and the ids of those that are deleted or do not match any more."""

    runs: list[Standing]
    removed: list[str]


Message = Resync | Changes | CaughtUp | Heartbeat | GoingAway


class _Entry(Struct, frozen=True):
    """The newest change of a run. Where it does not stand here, it is looked up: in memory first, or, where nobody
    knows what was stored, in storage. A run that is `gone` stands as it was last."""

    number: int
    run_id: str
    standing: Standing | None = None
    in_doubt: bool = False
    gone: bool = False
    weight: int = 500


class Board:
    """Remembers what changed on this server, and tells it to any number of streams.

    Nothing is remembered before somebody watches: whoever notes a change looks at `awake` first. `runs` and `weight`
    (in bytes) bound the memory; a stream that stands before what was forgotten begins anew.
    """

    def __init__(
        self,
        boot_id: str,
        repository: Repository,
        journal: Journal,
        going_away: Callable[[], bool],
        *,
        runs: int = 20_000,
        weight: int = 32 << 20,
    ) -> None:
        self.awake = False
        self._boot_id = boot_id
        self._repository = repository
        self._journal = journal
        self._going_away = going_away
        self._most = runs
        self._heaviest = weight
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._weight = 0
        self._number = 0
        self._forgotten = 0
        self._waiting: set[asyncio.Future[None]] = set()

    # What happens to runs.

    def note(self, run: Run) -> None:
        """A version of the run is durable."""
        weight = _weight(run)
        if weight > _HEAVY or len(run.outcome.failures) + len(run.outcome.refs) > _MANY:
            self._put(_Entry(self._number + 1, run.id))
        else:
            self._put(_Entry(self._number + 1, run.id, Standing(run, weight), weight=weight))

    def doubt(self, run_id: str) -> None:
        """Nobody knows whether a change of the run is durable."""
        self._put(_Entry(self._number + 1, run_id, in_doubt=True))

    def removed(self, run_id: str) -> None:
        """The final run was removed from storage."""
        if not self.awake:
            return
        last = self._entries.get(run_id)
        standing = last.standing if last is not None else None
        if standing is not None and not standing.run.state.final:
            return  # a new run took its id before this was heard
        weight = 500 if standing is None else standing.weight
        self._put(_Entry(self._number + 1, run_id, standing, gone=True, weight=weight))

    def wake(self) -> None:
        """Let all streams look: something changed, or the server drains."""
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _put(self, entry: _Entry) -> None:
        entries = self._entries
        self._number = entry.number
        before = entries.pop(entry.run_id, None)
        if before is not None:
            self._weight -= before.weight
        entries[entry.run_id] = entry
        self._weight += entry.weight
        while len(entries) > self._most or self._weight > self._heaviest:
            _, oldest = entries.popitem(last=False)
            self._weight -= oldest.weight
            self._forgotten = oldest.number
        if self._waiting:
            self.wake()

    # Following.

    async def frames(
        self, filter: RunFilter, place: Place | None = None, heartbeat: float = 15.0
    ) -> AsyncIterator[tuple[Place, Message]]:
        """Each message with the place to go on from once it was handled; from the start without `place`.

        It ends with GoingAway only. A stream that is not read holds nothing but what it knows of its client's table.
        """
        self.awake = True
        clock = asyncio.get_running_loop().time
        stream, sent = _Stream(filter, place, self._number), clock()
        while True:
            looked = clock()
            stream.message = await self._next(stream)
            if stream.message is not None:
                yield stream.at, stream.handed_over()
                sent = clock()
            if self._going_away():
                yield stream.at, GoingAway()
                return
            if stream.live:
                await self._news(stream.at.number, sent + heartbeat - clock())
                if self._number > stream.at.number:
                    await asyncio.sleep(looked + _BETWEEN_LOOKS - clock())
            if clock() >= sent + heartbeat:
                yield stream.at, Heartbeat()
                sent = clock()

    async def _next(self, stream: "_Stream") -> Message | None:
        """What to tell next, or None where this look found nothing.

        The place in the changes is taken before the list is read: what changes meanwhile is told again, never lost.
        Pages and changes take turns, so that a long list does not fall behind what is remembered.
        """
        reason = "" if stream.place is None else self._lost(stream.place)
        if stream.place is None or reason:
            stream.begin(Place(self._boot_id, self._number, _TOP))
            return Resync(reason)
        if stream.at.behind is not None and not stream.had_page:
            stream.had_page = True
            page = await self._page(stream)
            stream.complete_at = self._number
            if page.runs:
                return page
        stream.had_page = False
        changes = await self._changes(stream)
        if changes.runs or changes.removed:
            return changes
        if not stream.caught_up and stream.at.behind is None and stream.at.number >= stream.complete_at:
            stream.caught_up = True
            return CaughtUp()
        return None

    def _lost(self, place: Place) -> str:
        """Why nobody can tell what changed since this place; empty where it can be told."""
        if place.boot_id != self._boot_id:
            return "the server was restarted, or is another one"
        if not self._forgotten <= place.number <= self._number:
            return f"more has changed meanwhile than is remembered: the last {len(self._entries):,} runs"
        return ""

    async def _page(self, stream: "_Stream") -> Changes:
        """The next runs of the list, as many as fit into one message; the others are read again."""
        asked = stream.page_size
        runs = await self._repository.list(stream.table.filter, Page(asked, stream.at.behind))
        page, weight, taken = Changes([], []), 0, 0
        for run in runs:
            weight += _weight(run)
            if taken and weight > _WEIGHT_PER_MESSAGE:
                break
            taken += 1
            if stream.table.takes(run):
                page.runs.append(Standing(run, 0))
        if taken == len(runs) < asked:
            stream.place = replace(stream.at, behind=None)
            return page
        last = runs[taken - 1]
        stream.place = replace(stream.at, behind=(last.create_time, last.id))
        if taken < asked:
            stream.page_size = taken
        elif weight < _WEIGHT_PER_MESSAGE // 2:
            stream.page_size = min(_RUNS_PER_MESSAGE, asked * 2)
        return page

    async def _changes(self, stream: "_Stream") -> Changes:
        """The changes behind the stream's place, as many as fit into one message."""
        changes, weight = Changes([], []), 0
        number, newest = stream.at.number, self._number
        entries = self._since(number) if number < newest else deque()
        while entries and weight < _WEIGHT_PER_MESSAGE:
            entry = entries.pop()
            number = entry.number
            standing = await self._standing(entry)
            run = standing.run if standing is not None else None
            if (
                standing is not None
                and not entry.gone
                and await self._selects(stream.table.filter, standing.run)
            ):
                if stream.table.takes(standing.run):
                    weight += standing.weight
                    changes.runs.append(standing)
            elif (entry.gone or run is not None) and stream.table.loses(entry.run_id, run):
                changes.removed.append(entry.run_id)
        stream.place = replace(stream.at, number=number)
        stream.has_all = number >= newest
        return changes

    async def _selects(self, filter: RunFilter, run: Run) -> bool:
        """As the list does, which also knows the references that a run does not keep itself."""
        if filter.ref is None or len(run.outcome.refs) < _REFS or selects(filter, run):
            return selects(filter, run)
        then = replace(filter, created_after=run.create_time, created_before=run.create_time + 1)
        return any(one.id == run.id for one in await self._repository.list(then, Page(_RUNS_PER_MESSAGE)))

    def _since(self, number: int) -> deque[_Entry]:
        """The changes above this number, newest first; the oldest of them where they are too many."""
        behind = takewhile(lambda entry: entry.number > number, reversed(self._entries.values()))
        return deque(behind, maxlen=_RUNS_PER_MESSAGE)

    async def _standing(self, entry: _Entry) -> Standing | None:
        """How the run stands; None where it does not exist (any more), of which another change tells."""
        if entry.standing is not None or entry.gone:
            return entry.standing
        try:
            if entry.in_doubt:
                run = await self._repository.get(entry.run_id)
            else:
                run = await self._journal.get(entry.run_id)
        except (NotFound, DataLoss):  # a list shows what is left of it
            return None
        return Standing(run, _weight(run))

    async def _news(self, number: int, seconds: float) -> None:
        """Return at the first change above this number, when woken, or after so many seconds."""
        if self._number > number or seconds <= 0:
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.add(waiter)
        timer = loop.call_later(seconds, _expire, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiting.discard(waiter)


class _Stream:
    """Where one stream stands in what it tells."""

    def __init__(self, filter: RunFilter, place: Place | None, number: int) -> None:
        self.table = _Table(filter)
        self.place = place
        self.message: Message | None = None
        self.page_size = _FIRST_PAGE
        self.had_page = self.caught_up = self.has_all = False
        self.complete_at = number

    def begin(self, place: Place) -> None:
        """Begin anew, with a client that drops its table."""
        self.table = _Table(self.table.filter, knows_all=True)
        self.place = place
        self.had_page = self.caught_up = self.has_all = False

    def handed_over(self) -> Message:
        """What is to be told, once: nobody holds it while a stream is not read."""
        assert self.message is not None
        message, self.message = self.message, None
        return message

    @property
    def at(self) -> Place:
        """Its place, which it has from the first message on."""
        assert self.place is not None
        return self.place

    @property
    def live(self) -> bool:
        """Whether all that happened so far was told."""
        return self.caught_up and self.has_all


class _Table:
    """What a stream knows of its client's table: the versions it told last, or None where it told that the run is gone.

    While it `knows_all`, a run that it does not know is not in the table. A stream that goes on from a place does not
    know what was told before; one that has told of very many runs forgets them, for the sake of memory.
    """

    def __init__(self, filter: RunFilter, *, knows_all: bool = False) -> None:
        self.filter = filter
        self._ever = replace(filter, states=frozenset(), interrupted_only=False, text="", ref=None)
        self._knows_all = knows_all
        self._told: dict[str, tuple[int, int] | None] = {}

    def takes(self, run: Run) -> bool:
        """Whether to tell of a run that matches: not where the client has it, or a newer version."""
        told = self._told.get(run.id)
        if told is not None and told[0] == run.create_time and told[1] >= run.version:
            return False
        self._tell(run.id, (run.create_time, run.version))
        return True

    def loses(self, run_id: str, run: Run | None) -> bool:
        """Whether to tell that a run is gone or does not match: not where the client cannot have it."""
        if run_id in self._told:
            had = self._told.pop(run_id) is not None
        else:
            had = not self._knows_all and (run is None or selects(self._ever, run))
        if had and not self._knows_all:
            self._tell(run_id, None)
        return had

    def _tell(self, run_id: str, version: tuple[int, int] | None) -> None:
        if len(self._told) >= _FACTS and run_id not in self._told:
            self._told.clear()
            self._knows_all = False
        self._told[run_id] = version


def _weight(run: Run) -> int:
    """About how many bytes it takes."""
    outcome = run.outcome
    lists = 300 * (len(outcome.failures) + len(outcome.refs))
    return 1_500 + size_of(run.definition.input) + size_of(outcome.output) + lists + len(outcome.traceback)


def _expire(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
