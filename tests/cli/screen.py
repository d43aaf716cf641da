"""A terminal for tests: a program runs on it as on a person's, and what is on the screen can be read."""

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence

# Makes the terminal the program's own, so that Ctrl-C on it becomes a signal.
_ON_TERMINAL = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
_CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")
_UNFINISHED = re.compile(r"\x1b(?:\[[?\d;]*)?$")
# What would say otherwise than this terminal: pytest-xdist sets COLUMNS, and CI is CI.
_NOT_INHERITED = ("CI", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
PATIENCE = 20.0


class Display:
    """What a terminal shows after it was sent text: as much of one as rich and this program use."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        """Draw."""
        position = 0
        while position < len(text):
            control = _CONTROL.match(text, position)
            if control:
                self._obey(control[1], control[2])
                position = control.end()
            else:
                self._put(text[position])
                position += 1

    def _obey(self, argument: str, letter: str) -> None:
        match letter:
            case "A":
                self.row = max(self.row - int(argument or 1), 0)
            case "K":
                self.lines[self.row] = [] if argument == "2" else self.lines[self.row][: self.column]
            case "m" | "h" | "l":
                pass
            case _:
                raise AssertionError(f"a sequence that this terminal does not know: CSI {argument}{letter}")

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        elif character >= " ":
            if self.column == self.columns:
                self.column = 0
                self._down()
            line = self.lines[self.row]
            line.extend(" " * (self.column + 1 - len(line)))
            line[self.column] = character
            self.column += 1
        else:
            raise AssertionError(f"a control character reached the terminal: {character!r}")

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append([])

    @property
    def text(self) -> str:
        """All lines, also those that a real screen would have scrolled away."""
        return "\n".join("".join(line).rstrip() for line in self.lines)


class Screen:
    """`runcast` with these arguments on a terminal of so many columns; to be closed."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str] | None = None, *, columns: int = 100
    ) -> None:
        self._near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, "-m", "runcast.cli", *arguments],
            stdin=far,
            stdout=far,
            stderr=far,
            env={**inherited, "TERM": "xterm-256color", "PYTHONUTF8": "1", **(environment or {})},
        )
        os.close(far)
        self.display = Display(columns)
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until the screen shows this; AssertionError with the screen where it does not come."""
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self.display.text)) is None:
            if not self._read(deadline):
                raise AssertionError(f"{pattern!r} did not come; the screen:\n{self.display.text}")
        return found

    def press(self, keys: str) -> None:
        """Type; "\x03" is Ctrl-C."""
        os.write(self._near, keys.encode())

    def end(self) -> int:
        """Wait for the program's end; its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(max(deadline - time.monotonic(), 0.1))

    def _read(self, deadline: float) -> bool:
        """Take in what comes next; False once the program has ended, or time is up."""
        ready, _, _ = select.select([self._near], [], [], max(deadline - time.monotonic(), 0.0))
        if not ready:
            return False
        try:
            data = os.read(self._near, 65_536)
        except OSError:  # so Linux says that nobody has the other side open any more
            return False
        text = self._rest + self._decoder.decode(data)
        cut = _UNFINISHED.search(text)
        text, self._rest = (text[: cut.start()], cut[0]) if cut else (text, "")
        self.raw += text
        self.display.feed(text)
        return bool(data)

    def close(self) -> None:
        """End the program where it still runs, and the terminal."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
        os.close(self._near)
