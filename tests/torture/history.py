"""What clients sent, were told and saw, one JSON line each, written outside of the server as it happens."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


class History:
    """Appends to a file; `note` is for clients, `read` for the judge."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)
        self._begin = time.monotonic()

    def note(self, what: str, **facts: Any) -> None:
        """One fact, with the seconds since the history began."""
        line = {"t": round(time.monotonic() - self._begin, 6), "what": what, **facts}
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Nothing more happens."""
        self._file.close()

    def read(self) -> Iterator[dict[str, Any]]:
        """All facts, in the order in which they were written."""
        with self.path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
