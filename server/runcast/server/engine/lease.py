"""The server's one lease: renewed while it lives, and the server's own fence when it cannot be."""

import asyncio
import logging
from collections.abc import Callable

from runcast.server.engine.clock import Clock
from runcast.server.model.errors import RuncastError
from runcast.server.repository.abc import Repository

log = logging.getLogger(__name__)
TTL_SECONDS = 15.0


class Lease:
    """Says whether this server may still act as an owner; measured on the monotonic clock, from before each renewal.

    Not renewed for two thirds of its time: `fresh` is False, no new work is taken. For all of it: `held` is False,
    `on_lost` is called and whatever runs here must be killed, because another server may go on with it. Where the store
    is this server's alone nobody can: a lease that is renewed late, after its loop or its whole process stood still or
    the store was away, was held all the time.
    """

    def __init__(
        self, repository: Repository, boot_id: str, clock: Clock, on_lost: Callable[[], None]
    ) -> None:
        self._repository = repository
        self._boot_id = boot_id
        self._clock = clock
        self._on_lost = on_lost
        self._renewed = clock.monotonic()
        self._lost = False
        self._task: asyncio.Task[None] | None = None

    @property
    def fresh(self) -> bool:
        """Whether new work may be taken."""
        return self._clock.monotonic() - self._renewed < TTL_SECONDS * 2 / 3

    @property
    def held(self) -> bool:
        """Whether what was taken is still this server's."""
        return self._repository.exclusive or not self._late

    @property
    def _late(self) -> bool:
        return self._clock.monotonic() - self._renewed >= TTL_SECONDS

    async def open(self) -> None:
        """Take the lease and keep it renewed."""
        await self._renew()
        self._task = asyncio.create_task(self._keep(), name="lease")

    async def close(self) -> None:
        """Give it up: what is still owned may be taken at once."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        try:
            await self._repository.retire(self._boot_id)
        except RuncastError as error:
            log.warning("the server's lease could not be given up, and runs out by itself: %s", error)

    async def _renew(self) -> None:
        before = self._clock.monotonic()
        await self._repository.beat(self._boot_id, int(TTL_SECONDS * 1_000_000))
        self._renewed, self._lost = before, False

    async def _keep(self) -> None:
        third, soon = TTL_SECONDS / 3, TTL_SECONDS / 15
        while True:
            await asyncio.sleep(min(third if self.fresh else soon, self._left()))
            self._look()
            try:
                async with asyncio.timeout(min(third, self._left())):
                    await self._renew()
            except (RuncastError, TimeoutError) as error:
                log.warning("the server's lease could not be renewed: %s", error)
            except Exception:
                log.exception("the renewal of the server's lease failed")
            self._look()

    def _left(self) -> float:
        """Neither a pause nor a renewal that hangs may last beyond the end of the lease, if that is still to come."""
        left = self._renewed + TTL_SECONDS - self._clock.monotonic()
        return left if left > 0 else TTL_SECONDS / 3

    def _look(self) -> None:
        """Also before each renewal: after a standstill of the process the lease may be another server's by now."""
        if self._lost or not self._late:
            return
        self._lost = True
        if self.held:
            stood = self._clock.monotonic() - self._renewed
            log.warning(
                "the server's lease was not renewed for %.0f s; nobody else can use its store: it goes on",
                stood,
            )
        else:
            log.error("the server's lease has run out: everything that executes here is stopped")
            self._on_lost()
