"""Owners who want a run enough that it depends on their stream: each stream is a lease on it, stored with the run."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from runcast.server.engine.clock import Clock
from runcast.server.engine.control import Control
from runcast.server.model import attachment as model
from runcast.server.model.change import Change
from runcast.server.model.errors import NotFound, RuncastError
from runcast.server.model.run import Attachment, OnDisconnect, Run

log = logging.getLogger(__name__)
_HOLD = 60_000_000


class Held:
    """One open stream of an owner; `kept` says that its end is the server's doing, or that nothing depends on it."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept = False


class Attachments:
    """The owners' streams that are open on this server.

    A lease is `hold` microseconds long and renewed when half of it has passed: where the server dies, it runs out, and
    the owner's grace begins when a server sees that.
    """

    def __init__(self, control: Control, clock: Clock, hold: int = _HOLD) -> None:
        self._control = control
        self._clock = clock
        self._hold = hold
        self._open: dict[tuple[str, str], int] = {}
        self._renewed: dict[tuple[str, str], int] = {}
        self._hung_up: Counter[tuple[str, str]] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def detach(self, run_id: str, attachment_id: str) -> None:
        """Let the run go on by itself, if it depends on this owner. NotFound."""
        await self._control.decide(run_id, lambda run, now: model.detach(run, attachment_id, now))

    @asynccontextmanager
    async def stream(
        self, run_id: str, attachment_id: str, policy: OnDisconnect, grace: int
    ) -> AsyncIterator[Held]:
        """While a stream is open on which the run depends; a later owner takes the place of an earlier one.

        When it ends, and is not `kept`, the owner's grace begins. NotFound.
        """
        key, held = (run_id, attachment_id), Held()
        attachment = self.interest(attachment_id, policy, grace)
        self._open[key] = self._open.get(key, 0) + 1
        self._renewed[key] = self._clock.now()
        known = False
        try:
            await self._control.decide(run_id, lambda run, now: model.attach(run, attachment, now))
            known = True
            yield held
        finally:
            if self._hung_up[key]:
                self._hung_up[key] -= 1
            elif self._closed(key) and not held.kept:
                self._soon(self._leave(run_id, attachment, known=known))
            self._hung_up += Counter()  # drops what is zero

    def hang_up(self, run_id: str, attachment_id: str, policy: OnDisconnect, grace: int) -> None:
        """The owner says no more on a stream that is still sent to it: to the run it is gone."""
        key = (run_id, attachment_id)
        if key in self._open:
            self._hung_up[key] += 1
            if self._closed(key):
                interest = self.interest(attachment_id, policy, grace)
                self._soon(self._leave(run_id, interest, known=True))

    def _closed(self, key: tuple[str, str]) -> bool:
        """One stream of the owner less; whether it was the last."""
        self._open[key] -= 1
        if self._open[key]:
            return False
        del self._open[key]
        self._renewed.pop(key, None)
        return True

    def interest(self, attachment_id: str, policy: OnDisconnect, grace: int) -> Attachment:
        """What an open stream of this owner stores with the run."""
        return Attachment(attachment_id, policy, grace, self._clock.now() + self._hold)

    def gone(self, run_id: str, attachment: Attachment) -> None:
        """The stream that started the run for this owner ended before it was told of it."""
        self._soon(self._leave(run_id, attachment, known=False))

    async def _leave(self, run_id: str, attachment: Attachment, *, known: bool) -> None:
        """An owner that was `known` and is not any more has been followed by another, or let the run go."""

        def left(run: Run, now: int) -> Change | None:
            return None if known and run.attachment is None else model.leave(run, attachment, now)

        await self._control.decide(run_id, left)

    def renew(self) -> None:
        """Renew the leases that have lasted for half of their time; called at every sweep."""
        now = self._clock.now()
        for key in self._open:
            if now - self._renewed.get(key, 0) >= self._hold // 2:
                self._renewed[key] = now
                self._soon(self._renew(*key))

    async def _renew(self, run_id: str, attachment_id: str) -> None:
        until = self._clock.now() + self._hold

        def held(run: Run, now: int) -> Change | None:
            # Decided again where somebody else was first: the owner may have gone in the meantime.
            still = (run_id, attachment_id) in self._open
            return model.hold(run, attachment_id, now, until) if still else None

        await self._control.decide(run_id, held)

    def _soon(self, work: Coroutine[object, object, None]) -> None:
        # Not by the stream itself: its own task is being cancelled, or is needed for something else.
        task = asyncio.get_running_loop().create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except NotFound:
            return
        except RuncastError as error:
            # The lease runs out instead.
            log.warning("what became of an owner's stream could not be stored: %s", error)

    async def close(self) -> None:
        """Store what became of the streams that ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)
