"""Turns what a provider writes, in pieces of any size, into lines."""

import threading
from collections.abc import Callable

from runcast.provider.text import LONGEST

_MANY = 1024


class Lines:
    """Collects the writes to one stream and tells each line once it is complete; safe to use from several threads.

    Of a line that overwrites itself (`\\r`) the last version counts, as on a terminal.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._lock = (
            threading.RLock()
        )  # whoever is broken off in here by a signal must not find it taken by itself
        self._pieces: list[str] = []
        self._held = 0
        self._cut = 0

    def write(self, text: str) -> None:
        """Take a piece; it may hold no newline, or many."""
        lines: list[str] = []
        with self._lock:
            *complete, rest = text.split("\n")
            for piece in complete:
                self._add(piece)
                lines.append(self._take())
            if rest:
                self._add(rest)
        for line in lines:
            self._tell(line)

    def close(self) -> None:
        """Tell what stands there without a newline."""
        with self._lock:
            line = self._take() if self._held else ""
        if line:
            self._tell(line)

    def _add(self, piece: str) -> None:
        start = piece.rfind("\r", 0, -1) + 1
        if start:
            self._pieces, self._held, self._cut = [], 0, 0
        room = max(0, LONGEST + 1 - self._held)
        new = piece[start : start + room]
        self._cut += len(piece) - start - len(new)
        if new:
            self._pieces.append(new)
            self._held += len(new)
            if self._held > LONGEST or len(self._pieces) > _MANY:
                joined = _last_version("".join(self._pieces))
                self._pieces, self._held = [joined], len(joined)

    def _take(self) -> str:
        line = _last_version("".join(self._pieces)).removesuffix("\r")
        if self._cut:
            line = f"{line[: LONGEST - 64]}… [{self._cut + 64:,} more characters cut]"
        self._pieces, self._held, self._cut = [], 0, 0
        return line


def _last_version(line: str) -> str:
    start = line.rfind("\r", 0, -1) + 1
    return line[start:]
