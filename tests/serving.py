"""A real server as a process of its own, on a free port of the loopback."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_LISTENING = re.compile(r"listening on (\S+?:\d+)")


class ServerProcess:
    """`python -m runcast.server` as a person starts it; a context manager that ends it, by its id."""

    def __init__(
        self,
        storage: str = "memory://",
        providers: Sequence[str] = ("examples",),
        *,
        listen: str = "127.0.0.1:0",
        cwd: Path | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        command = [sys.executable, "-m", "runcast.server", "--listen", listen, "--storage", storage, *flags]
        for provider in providers:
            command += ["--providers", provider]
        foreign = ("RUNCAST_", "PYTHONDONTWRITEBYTECODE")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
        self.errors: list[str] = []
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        self.address = self._await_address()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line)

    def _await_address(self) -> str:
        assert self.process.stdout is not None
        found = _LISTENING.search(self.process.stdout.readline())
        if found is None:
            self.process.wait(10)
            self._close()
            raise AssertionError(f"the server did not start: {''.join(self.errors)}")
        return found.group(1)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self.process.pid

    def stop(self) -> int:
        """SIGTERM, a drain, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._close()
        return code

    def kill(self) -> None:
        """SIGKILL: no good-bye."""
        self.process.kill()
        self.process.wait(10)
        self._close()

    def _close(self) -> None:
        self._reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        self._close()
