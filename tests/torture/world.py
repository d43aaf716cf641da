"""Servers under torture: started, killed, frozen and started again on one store and one port, and what they leave behind."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent.parent
PROVIDERS = str(Path(__file__).with_name("provided.py"))
_LISTENING = re.compile(r"listening on \S+?:(\d+)")
_START = 30.0


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class World:
    """One server at a time on `port`; a context manager that lets nothing live on. `errors` are the servers' last words."""

    def __init__(
        self, storage: str, providers: Sequence[str] = (PROVIDERS,), *, flags: Sequence[str] = ()
    ) -> None:
        self.storage = storage
        self.port = free_port()
        self.mark = uuid.uuid4().hex
        self.errors: list[str] = []
        self.boots = 0
        self._providers = providers
        seeded = os.environ.get("TORTURE_BUG")
        self._flags = [*flags, *(["--bug", seeded] if seeded else [])]
        self._readers: list[threading.Thread] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """Where clients find the server, whichever it is."""
        return f"127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[str]:
        """The server that was started last."""
        assert self._process is not None
        return self._process

    async def start(self, *flags: str) -> float:
        """Start a server and wait until it serves, or has died; answers how many seconds that took."""
        begin = time.monotonic()
        command = [
            sys.executable, "-m", "tests.torture.server", "--listen", self.address, "--storage", self.storage,
            "--log-level", "ERROR", *self._flags, *flags,
        ]  # fmt: skip
        for provider in self._providers:
            command += ["--providers", provider]
        known = {name: value for name, value in os.environ.items() if not name.startswith("RUNCAST_")}
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=known | {"MARK": self.mark, "PYTHONPATH": path}, start_new_session=True,
        )  # fmt: skip
        self.boots += 1
        reader = threading.Thread(target=self._read_errors, args=(self._process,), daemon=True)
        reader.start()
        self._readers.append(reader)
        assert self._process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(self._process.stdout.readline), _START)
        if not _LISTENING.search(line) and "--die" not in flags:
            await self.died(_START)
            raise AssertionError(f"the server did not start: {''.join(self.errors[-30:])}")
        return time.monotonic() - begin

    def _read_errors(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.errors.append(line)

    async def died(self, within: float) -> bool:
        """Whether the server ends by itself in that time."""
        end = time.monotonic() + within
        while self.process.poll() is None:
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.005)
        self._let_go()
        return True

    async def kill(self) -> None:
        """SIGKILL, now."""
        self.process.kill()
        await self.died(10)

    async def stop(self) -> int:
        """SIGTERM, a drain, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        if not await self.died(30):
            raise AssertionError("the server does not leave")
        code = self.process.returncode
        assert code is not None
        return code

    def freeze(self) -> None:
        """SIGSTOP: alive and silent."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def left(self) -> list[int]:
        """All processes that any server of this world started and that are still there, wherever they fled."""
        wanted = f"MARK={self.mark}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                with contextlib.suppress(OSError):
                    if wanted in (folder / "environ").read_bytes().split(b"\0"):
                        found.append(int(folder.name))
        return found

    async def emptied(self, within: float = 2.0) -> float | None:
        """How many seconds it takes until nothing is left; None where it takes longer."""
        begin = time.monotonic()
        while self.left():
            if time.monotonic() - begin > within:
                return None
            await asyncio.sleep(0.02)
        return time.monotonic() - begin

    def _let_go(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait(10)
            self._let_go()
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for reader in self._readers:
            reader.join(5)
