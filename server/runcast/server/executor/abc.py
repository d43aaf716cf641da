"""The interface that every executor keeps; `tests/executor` holds each of them to it."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from runcast.server.model.call import Call, Sink
from runcast.server.model.run import Execution, StopCause


class Running(ABC):
    """One attempt that was started. Both verbs are idempotent, never block and never raise, also after its end."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether its code may still run: True until its slot is given back, so also once it is abandoned."""

    @abstractmethod
    def stop(self, cause: StopCause, grace: float) -> None:
        """Ask the code to end within `grace` seconds; whoever asks calls `kill` when the grace is over.

        Asked again with less grace, it becomes more urgent. What the code then does is its own: it may still return.
        """

    @abstractmethod
    def kill(self) -> None:
        """End the code now, with all that it started; what has not ended a moment later, the sink gets as Abandoned."""


class Executor(ABC):
    """Runs providers of one kind, at most `slots` at a time. All methods are called on the event loop's thread.

    A slot is taken by `acquire` before an attempt is claimed, and given back by `release` if it was not started after
    all, or by the executor itself when the code has really ended: before the sink's `ended`, except for an abandoned
    attempt, whose slot stays taken until its code returns. One that waits for children lends its slot meanwhile, and has
    it back at once: for a moment more may be taken than there are. `on_free` is called after each slot that comes free.
    """

    kind: Execution
    slots: int
    taken: int = 0
    on_free: Callable[[], None] = staticmethod(lambda: None)

    @property
    def free(self) -> int:
        """How many more attempts may be acquired now; below 0 while more are taken than there are."""
        return self.slots - self.taken

    def acquire(self) -> bool:
        """Take a slot, if there is one."""
        if self.taken >= self.slots:
            return False
        self.taken += 1
        return True

    def release(self) -> None:
        """Give back a slot."""
        self.taken -= 1
        self.on_free()

    async def open(self) -> None:
        """Make ready what attempts need. Called once, from the main thread's loop, before any gRPC server exists."""

    async def close(self) -> None:
        """End whatever still runs, at once, and free everything; idempotent."""

    @abstractmethod
    def start(self, call: Call, sink: Sink) -> Running:
        """Begin one attempt, for which a slot was acquired; returns without waiting for it.

        Whatever keeps it from running is told to the sink as any end is: later, never from within this call.
        """
