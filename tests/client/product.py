"""The real server, as a program of its own."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

PROVIDERS = Path(__file__).with_name("provided.py")
_ANNOUNCED = re.compile(r"listening on \S+:(\d+)")


class Product:
    """A running server of this store, on a free port."""

    def __init__(self, storage: str = "memory://") -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "runcast.server", "--listen", "127.0.0.1:0"),
                *("--storage", storage, "--providers", str(PROVIDERS), "--log-level", "ERROR"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = _ANNOUNCED.search(line)
        if not found:
            self.kill()
        assert found, f"the server did not say where it listens, but {line!r}"
        self.port = int(found[1])

    def kill(self) -> None:
        """End it without a word, as a power cut does; nothing happens where it has ended before."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    async def drain(self) -> None:
        """Ask it to shut down, and return once it has."""
        self._process.terminate()
        assert await asyncio.to_thread(self._process.wait, 30) == 0


@asynccontextmanager
async def serving(storage: str) -> AsyncIterator[Product]:
    """A server for a part of one test, while whose start the test goes on."""
    product = await asyncio.to_thread(Product, storage)
    try:
        yield product
    finally:
        product.kill()
