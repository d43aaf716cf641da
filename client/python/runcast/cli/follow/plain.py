"""Lines for logs, pipes and simple terminals: all that a run says, and its progress now and then."""

import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from runcast.cli import text
from runcast.cli.follow.lines import Line, Transcript
from runcast.cli.follow.standing import Standing, local_clock

if TYPE_CHECKING:
    from runcast.client import Run, RunEvent

EVERY = 2.0
"""Seconds between two lines of progress, at least."""
_REPLAYED = 20
_TURNS = ("state_changed", "attempt_started", "attempt_finished")


class Plain:
    """Writes to stderr, or to `stream`; `now` is this machine's time in seconds.

    What is replayed has its progress too: its first and its last line, and some twenty at most between.
    """

    def __init__(self, stream: TextIO | None = None, now: Callable[[], float] = time.time) -> None:
        self._stream = stream or sys.stderr
        self._now = now
        self._transcript = Transcript()
        self._standing: Standing | None = None
        self._told = 0.0
        self._untold = False
        self._past: Standing | None = None
        self._past_told = 0.0
        self._past_untold = ""
        self._spacing = EVERY

    def begin(self, run: "Run") -> None:
        from runcast.client import Run

        self._standing = Standing(run, self._now)
        self._past = Standing(Run(id=run.id, provider=run.provider, state=Run.STATE_RUNNING), self._now)
        if run.HasField("start_time"):
            until = run.end_time.ToNanoseconds() / 1e9 if run.HasField("end_time") else self._now()
            self._spacing = max(EVERY, (until - run.start_time.ToNanoseconds() / 1e9) / _REPLAYED)

    def event(self, event: "RunEvent", *, live: bool) -> None:
        if self._standing is None:
            return
        self._standing.take(event, live=live)
        if live or event.WhichOneof("event") in _TURNS:
            self._end_replay()
        for each in self._transcript.lines(event):
            self._write(as_text(each))
        if event.WhichOneof("event") == "progress":
            if live:
                self._untold = True
            else:
                self._replay(event)
        self.refresh()

    def _replay(self, event: "RunEvent") -> None:
        """Tell of progress that was made some time ago, by the clock of then."""
        assert self._past is not None
        self._past.take(event, live=False)
        at = event.time.ToNanoseconds() / 1e9
        self._past_untold = f"{local_clock(at)} {progress_line(self._past, past=True)}"
        if at - self._past_told >= self._spacing:
            self._past_told = at
            self._end_replay()

    def _end_replay(self) -> None:
        if self._past_untold:
            self._write(self._past_untold)
            self._past_untold = ""

    def note(self, words: str) -> None:
        self._write(f"{local_clock(self._now())} {text.line(words)}")

    def refresh(self) -> None:
        if self._standing is not None and self._untold and self._now() - self._told >= EVERY:
            self._told, self._untold = self._now(), False
            self._write(f"{local_clock(self._standing.time)} {progress_line(self._standing)}")

    def end(self, run: "Run | None") -> None:
        self._end_replay()
        for each in self._transcript.rest(self._now()):
            self._write(as_text(each))

    def _write(self, words: str) -> None:
        self._stream.write(words + "\n")
        self._stream.flush()


def as_text(line: Line) -> str:
    """A line with its time of day, and its level where that is worth knowing."""
    return " ".join(each for each in (local_clock(line.time), line.level, line.text, line.details) if each)


def progress_line(standing: Standing, *, past: bool = False) -> str:
    """`40% 4/10 seconds 1.0/s, 6.0 s left · stage · message`, as much of it as is known; in the `past` nothing is
    left."""
    done, speed, left = standing.fraction, standing.speed, None if past else standing.left
    counted = standing.counted
    figures = [
        "" if done is None else f"{done:4.0%}",
        counted,
        text.rate(speed, text.line(standing.progress.unit)) if speed and counted else "",
    ]
    figure = " ".join(each for each in figures if each)
    figure += f", {text.duration(math.ceil(left))} left" if left is not None and figure else ""
    return " · ".join(each for each in (figure.strip(), standing.saying) if each)
