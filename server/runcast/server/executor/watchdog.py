"""Notices, from a thread of its own, that the event loop is blocked, and says in the log by whom."""

import asyncio
import logging
import sys
import threading
import traceback

_log = logging.getLogger(__name__)


class Watchdog:
    """Asks the loop for a sign of life every `patience` seconds; tells once of each time that it waits longer for it."""

    def __init__(self, patience: float = 1.0) -> None:
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog of the event loop", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; takes no longer than it takes to wake up."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(self._patience):
            alive = threading.Event()
            try:
                self._loop.call_soon_threadsafe(alive.set)
            except RuntimeError:
                return  # the loop was closed
            if not alive.wait(self._patience) and not self._closed.is_set():
                self._tell()
                while not alive.wait(self._patience) and not self._closed.is_set():
                    pass

    def _tell(self) -> None:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the one way to see what a thread is doing
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        name = task.get_name() if task else "no task"
        message = (
            "the event loop has been blocked for %.1f s by %s; its code must await, or run in a process:\n%s"
        )
        _log.warning(message, self._patience, name, stack)
