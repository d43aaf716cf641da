"""Group commit: while one commit is on its way, the next one gathers; nobody waits for a timer."""

import asyncio
import logging
from collections.abc import Callable

from runcast.server.model.change import Change, Group, Refused, Result, Saved
from runcast.server.model.errors import RuncastError, Unavailable
from runcast.server.repository.abc import Repository

log = logging.getLogger(__name__)
_GROUPS_PER_COMMIT = 1_000
_SECONDS_BETWEEN_COMPLAINTS = 60.0

Done = Callable[[Result | RuncastError], None]


class Committer:
    """The one way to the repository's writing verb: durable, then visible (`publish`), then acknowledged (`done`).

    `doubt` hears of changes that failed: a store that breaks in the middle may have kept them.
    """

    def __init__(
        self, repository: Repository, publish: Callable[[Change], None], doubt: Callable[[Change], None]
    ) -> None:
        self._repository = repository
        self._publish = publish
        self._doubt = doubt
        self._waiting: list[tuple[Group, Done]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._complained: float | None = None

    def open(self) -> None:
        """Begin to commit."""
        self._task = asyncio.create_task(self._commit_for_ever(), name="committer")

    async def close(self) -> None:
        """Commit what waits, then stop; idempotent."""
        while not self._idle.is_set():
            await self._idle.wait()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def submit(self, group: Group, done: Done) -> None:
        """Commit the group soon and tell `done` what became of it, after its changes were published.

        Unavailable where the store cannot be written now; any other error is the group's own, and stays.
        """
        if self._task is None:
            done(Unavailable("the server is shutting down"))
            return
        self._waiting.append((group, done))
        self._idle.clear()
        self._wake.set()

    async def save(self, group: Group) -> Result:
        """The same for whoever can wait; raises what `done` would be told as an error."""
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def done(result: Result | RuncastError) -> None:
            if outcome.done():
                return
            if isinstance(result, RuncastError):
                outcome.set_exception(result)
            else:
                outcome.set_result(result)

        self.submit(group, done)
        return await outcome

    async def _commit_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            batch = self._waiting[:_GROUPS_PER_COMMIT]
            del self._waiting[:_GROUPS_PER_COMMIT]
            if not self._waiting:
                self._wake.clear()
            results = await self._save([group for group, _ in batch])
            for (group, done), result in zip(batch, results, strict=True):
                try:
                    if type(result) is Saved:
                        for change in group.changes:
                            self._publish(change)
                    elif isinstance(result, Unavailable):
                        for change in group.changes:
                            self._doubt(change)
                    done(result)
                except Exception:
                    log.exception("what follows a commit failed")
            if not self._waiting:
                self._idle.set()

    async def _save(self, groups: list[Group]) -> list[Result | RuncastError]:
        try:
            results = await self._repository.save(groups)
            self._is_well()
            return [result.error if isinstance(result, Refused) else result for result in results]
        except RuncastError as error:
            self._complain(error)
            return [error] * len(groups)
        except Exception:
            # One of them cannot be stored at all: it is searched for, so that the others do not fail with it.
            if len(groups) > 1:
                middle = len(groups) // 2
                return [*await self._save(groups[:middle]), *await self._save(groups[middle:])]
            log.exception("a change cannot be stored")
            return [RuncastError("what was to be stored cannot be: the server's log says why")]

    def _complain(self, error: RuncastError) -> None:
        """Say it once a minute and not for each call: a disk that is full stays full for a while."""
        now = asyncio.get_running_loop().time()
        if self._complained is None or now - self._complained >= _SECONDS_BETWEEN_COMPLAINTS:
            self._complained = now
            log.warning("nothing can be stored, and whoever asks for it is told to try again: %s", error)

    def _is_well(self) -> None:
        if self._complained is not None:
            self._complained = None
            log.warning("the store can be written again")
