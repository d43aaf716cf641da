"""Hints within one process."""

from runcast.server.notifier.abc import Notifier, Subscription


class LocalNotifier(Notifier):
    """A set of subscriptions for each run that somebody waits for."""

    def __init__(self) -> None:
        self._any: dict[str, set[Subscription]] = {}
        self._final: dict[str, set[Subscription]] = {}

    def publish(self, run_id: str, *, final: bool) -> None:
        """Hint at those who wait for this run."""
        for subscription in self._any.get(run_id, ()):
            subscription.hint()
        if final:
            for subscription in self._final.get(run_id, ()):
                subscription.hint()

    def wake_all(self) -> None:
        """Hint at everyone."""
        for table in (self._any, self._final):
            for waiting in table.values():
                for subscription in waiting:
                    subscription.hint()

    def subscribe(self, run_id: str, *, final_only: bool = False) -> Subscription:
        """Wait for this run."""
        return _LocalSubscription(self._final if final_only else self._any, run_id)

    @property
    def waiting(self) -> int:
        """How many subscriptions there are."""
        return sum(len(waiting) for table in (self._any, self._final) for waiting in table.values())


class _LocalSubscription(Subscription):
    def __init__(self, table: dict[str, set[Subscription]], run_id: str) -> None:
        super().__init__()
        self._table = table
        self._run_id = run_id
        table.setdefault(run_id, set()).add(self)

    def leave(self) -> None:
        waiting = self._table.get(self._run_id)
        if waiting is not None:
            waiting.discard(self)
            if not waiting:
                del self._table[self._run_id]
