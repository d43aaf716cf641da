"""Reads journals for any number of watchers: the recent end of a run from memory, all else from storage."""

import asyncio
from collections import OrderedDict

from runcast.server.engine.tail import EVENTS_PER_BATCH, Batch, Tail, batches, size_of
from runcast.server.model.change import Change
from runcast.server.model.run import Run
from runcast.server.repository.abc import Repository

_ENDED_TAILS = 512
_WEIGHT_OF_ENDED = 32 << 20
_WEIGHT_OF_READ = 16 << 20


class Journal:
    """Everything that was committed, from any place on. `boot_id` is the server whose runs stay in memory."""

    def __init__(self, repository: Repository, boot_id: str) -> None:
        self._repository = repository
        self._boot_id = boot_id
        self._tails: dict[str, Tail] = {}
        self._ended: OrderedDict[str, Tail] = OrderedDict()
        self._ended_weight = 0
        self._stored: OrderedDict[tuple[str, int], Batch] = OrderedDict()
        self._stored_weight = 0
        self._reading: dict[tuple[str, int], asyncio.Future[Batch | None]] = {}

    def append(self, change: Change) -> None:
        """Take note of a change that is durable. Runs that execute here, and those that just ended, stay in memory."""
        run = change.run
        known = self._tails.get(run.id)
        here = run.state.executing and run.owner == self._boot_id
        if known is None and not here and not run.state.final:
            return
        tail = known or Tail(run)
        tail.append(change)
        if here:
            if known is None:
                self._tails[run.id] = tail
            return
        if known is not None:
            del self._tails[run.id]
        if run.state.final:
            self._keep(tail)

    def _keep(self, tail: Tail) -> None:
        """Whoever watched the run reads its end now; it goes when others have ended since."""
        run = tail.run
        if run.id in self._ended:
            self.forget(run.id)
        tail.weight += size_of(run.definition.input) + size_of(run.outcome.output)
        self._ended[run.id] = tail
        self._ended_weight += tail.weight
        while len(self._ended) > _ENDED_TAILS or self._ended_weight > _WEIGHT_OF_ENDED:
            _, oldest = self._ended.popitem(last=False)
            self._ended_weight -= oldest.weight

    def forget(self, run_id: str) -> None:
        """Believe storage from now on: the run does not execute here any more, or another server wrote to it."""
        self._tails.pop(run_id, None)
        ended = self._ended.pop(run_id, None)
        if ended is not None:
            self._ended_weight -= ended.weight

    def drop(self, run_id: str) -> None:
        """Remember nothing of the run: it was removed, and another one may get its id."""
        self.forget(run_id)
        for place in [place for place in self._stored if place[0] == run_id]:
            self._stored_weight -= self._stored.pop(place).weight
        for place in [place for place in self._reading if place[0] == run_id]:
            del self._reading[place]

    def _tail(self, run_id: str) -> Tail | None:
        return self._tails.get(run_id) or self._ended.get(run_id)

    async def get(self, run_id: str) -> Run:
        """The newest committed version. NotFound."""
        tail = self._tail(run_id)
        return tail.run if tail else await self._repository.get(run_id)

    async def reread(self, run_id: str) -> Run:
        """The same from storage, whatever is remembered here."""
        self.forget(run_id)
        return await self._repository.get(run_id)

    async def holding(self, run_id: str, sequence: int) -> Run:
        """The same; from storage where what is remembered here ends before `sequence`: another server may have written
        more since, and this one not have heard of it yet."""
        run = await self.get(run_id)
        if sequence <= run.last_sequence:
            return run
        stored = await self._repository.get(run_id)
        if stored.version > run.version:
            self.forget(run_id)
        return stored

    async def read(self, run_id: str, after: int) -> Batch | None:
        """The next events behind `after`, or None where there are none yet."""
        tail = self._tail(run_id)
        if tail is not None:
            if after >= tail.run.last_sequence:
                return None
            batch = tail.read(after)
            if batch is not None:
                return batch
        return await self._read_stored((run_id, after))

    async def _read_stored(self, place: tuple[str, int]) -> Batch | None:
        """From storage, once for all who are at the same place at about the same time."""
        batch = self._stored.get(place)
        if batch is not None:
            self._stored.move_to_end(place)
            return batch
        reading = self._reading.get(place)
        if reading is not None:
            batch = await asyncio.shield(reading)
            if batch is not None:
                return batch
            # That reading may have begun before what this watcher was woken for.
        reading = self._reading[place] = asyncio.ensure_future(self._load(place))
        reading.add_done_callback(lambda done: self._has_read(place, done))
        return await asyncio.shield(reading)

    async def _load(self, place: tuple[str, int]) -> Batch | None:
        events = await self._repository.events(*place, EVENTS_PER_BATCH)
        return next(batches(tuple(events)), None) if events else None

    def _has_read(self, place: tuple[str, int], done: "asyncio.Future[Batch | None]") -> None:
        newest = self._reading.get(place) is done
        if newest:
            del self._reading[place]
        if done.cancelled() or done.exception() is not None or not newest:
            return
        batch = done.result()
        # One that is not full would hide what is written behind it, though never wrongly.
        if batch is not None and batch.full:
            self._stored[place] = batch
            self._stored_weight += batch.weight
            while self._stored_weight > _WEIGHT_OF_READ:
                _, oldest = self._stored.popitem(last=False)
                self._stored_weight -= oldest.weight
