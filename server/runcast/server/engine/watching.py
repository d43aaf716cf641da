"""Watches a run: a cursor on its journal, with no queue of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct

from runcast.server.engine.control import resumes_on_watch
from runcast.server.engine.journal import Journal
from runcast.server.engine.tail import Batch
from runcast.server.model.errors import DataLoss, OutOfRange
from runcast.server.model.run import Run, State
from runcast.server.notifier.abc import Notifier


class Snapshot(Struct, frozen=True):
    """The run as it is when the watch begins, and where its stored journal begins and ends."""

    run: Run


class Gap(Struct, frozen=True):
    """These events were asked for and are trimmed; the watch goes on behind them."""

    first: int
    last: int


class CaughtUp(Struct, frozen=True):
    """All that was stored when the watch began was sent; what follows is live. Not sent where nothing can follow."""


class Heartbeat(Struct, frozen=True):
    """Nothing happened for a while."""


class Completed(Struct, frozen=True):
    """The run is final and all its events were sent."""

    run: Run


class GoingAway(Struct, frozen=True):
    """This server ends the stream; watch again, on any server."""


Frame = Snapshot | Gap | Batch | CaughtUp | Heartbeat | Completed | GoingAway


class Watch(Struct, frozen=True, kw_only=True):
    """What to watch: exclusively behind `after`, or from the last `last_events` on; heartbeats in seconds.

    Unless `observe_only`, a run goes on that was INTERRUPTED and waits for somebody to look at it.
    """

    run_id: str
    after: int = 0
    last_events: int | None = None
    require_complete: bool = False
    heartbeat: float = 15.0
    observe_only: bool = True


class Watcher:
    """Follows runs for any number of streams."""

    def __init__(
        self,
        journal: Journal,
        notifier: Notifier,
        going_away: Callable[[], bool],
        resume: Callable[[str], Awaitable[Run]],
    ) -> None:
        self._journal = journal
        self._resume = resume
        self._notifier = notifier
        self._going_away = going_away

    async def read(self, run_id: str, after: int) -> tuple[Run, Batch | None]:
        """The run, and the next events behind `after` if there are any. NotFound, DataLoss, OutOfRange
        (SEQUENCE_AHEAD)."""
        run = await self._journal.holding(run_id, after)
        _refuse_ahead(run, after)
        if after >= run.last_sequence:
            return run, None
        batch = await self._journal.read(run_id, after)
        if batch is None:
            _require_whole(run, await self._journal.get(run_id), batch, after)
        return run, batch

    async def frames(self, what: Watch) -> AsyncIterator[tuple[int, Frame]]:
        """Each frame with the sequence to resume behind. NotFound, DataLoss, OutOfRange (SEQUENCE_AHEAD, EVENTS_COMPACTED).

        Subscribe first, then read from the cursor: a hint may be missed or doubled, the journal is the truth.
        """
        with self._notifier.subscribe(what.run_id) as news:
            run = await self._journal.holding(what.run_id, what.after)
            cursor, gap = _place(what, run)
            yield cursor, Snapshot(run)
            if gap is not None:
                yield cursor, gap
            stored, caught_up = run.last_sequence, False
            while True:
                batch = await self._journal.read(what.run_id, cursor)
                if batch is not None:
                    if batch.first > cursor + 1:
                        yield batch.first - 1, _gap(what, cursor + 1, batch.first)
                    cursor = batch.last
                    yield cursor, batch
                before, run = run, await self._journal.get(what.run_id)
                _require_whole(before, run, batch, cursor)
                if run.state is State.INTERRUPTED and not what.observe_only and resumes_on_watch(run):
                    await self._resume(what.run_id)
                    continue
                if run.state.final and cursor >= run.last_sequence:
                    yield cursor, Completed(run)
                    return
                if not caught_up and cursor >= stored:
                    caught_up = True
                    yield cursor, CaughtUp()
                if self._going_away():
                    yield cursor, GoingAway()
                    return
                if batch is None and not await news.wait(what.heartbeat):
                    yield cursor, Heartbeat()


def _place(what: Watch, run: Run) -> tuple[int, Gap | None]:
    """Where to begin reading, and what of the journal before it is gone."""
    if what.last_events is not None:
        return max(run.first_sequence - 1, run.last_sequence - what.last_events), None
    _refuse_ahead(run, what.after)
    if what.after + 1 >= run.first_sequence:
        return what.after, None
    return run.first_sequence - 1, _gap(what, what.after + 1, run.first_sequence)


def _require_whole(before: Run, now: Run, batch: Batch | None, cursor: int) -> None:
    """DataLoss where there is nothing behind the cursor, and the run was over before that was read."""
    ended = before.state.final and before.version == now.version
    if batch is None and ended and cursor < before.last_sequence:
        message = f"events {cursor + 1} to {before.last_sequence} of run {before.id} are missing in the store"
        raise DataLoss(message, run=before.id)


def _refuse_ahead(run: Run, after: int) -> None:
    if after > run.last_sequence:
        message = (
            f"run {run.id} has {run.last_sequence} events, none behind {after}: resume from its own cursor"
        )
        raise OutOfRange(message, reason="SEQUENCE_AHEAD", last_sequence=str(run.last_sequence))


def _gap(what: Watch, missing: int, first: int) -> Gap:
    """The events from `missing` on do not exist any more; `first` is the first that does."""
    if what.require_complete:
        message = f"events {missing} to {first - 1} of run {what.run_id} are trimmed"
        raise OutOfRange(message, reason="EVENTS_COMPACTED", first_sequence=str(first))
    return Gap(missing, first - 1)
