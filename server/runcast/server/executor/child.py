"""What happens in the process of one attempt: it runs the provider, tells the server, and ends when it is asked to."""

import _thread
import contextlib
import faulthandler
import itertools
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import FrameType
from typing import NoReturn

from runcast.provider.errors import Cancelled
from runcast.provider.reporter import BlockingChannel
from runcast.server.executor import tree, wire
from runcast.server.executor.attempt import broken
from runcast.server.model.call import Answer, Call, End, Question, Raised, Returned, Stopped
from runcast.server.model.errors import Fenced, RuncastError
from runcast.server.model.event import Report

_CHUNK = 65_536
Run = Callable[[Call, BlockingChannel], End]


def main(run: Run, parent: int, descriptors: Sequence[int]) -> NoReturn:
    """Run the one attempt that comes from the server, in a session of its own, and exit.

    The descriptors: what to read from, what to write to, and what becomes the standard output and error.
    """
    reading, writing, out, err = descriptors
    os.setsid()
    tree.adopt_orphans()  # so that this process has all that it started below it, and its parent finds it there
    tree.die_with_parent(parent)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    faulthandler.enable()
    # What the provider forks is ended as any process is, by whoever forked it (a pool ends its workers by this signal).
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    line = Line(reading, writing)
    line.finish(_execute(run, line))
    os._exit(0)


def _execute(run: Run, line: "Line") -> End:
    ends: list[End] = []
    try:
        signal.signal(signal.SIGTERM, line.interrupt)
        call = line.begin()
        try:
            ends.append(Stopped() if line.asked else run(call, line))
        except Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - a run must end, whatever it runs raises
            ends.append(broken(error))
        line.disarm()
    except Cancelled:  # raised once at most: nothing breaks what follows
        line.disarm()
    return ends[0] if ends else Stopped()


class Line:
    """The attempt's connection to the server.

    The main thread may be broken anywhere by `interrupt`, so nothing here holds a lock: a report is written at once by
    whoever makes it (it survives a crash right after), in pieces that are each written as a whole or not at all.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._messages = wire.to_process()
        self._numbers = itertools.count(1)
        self._commits: dict[int, SimpleQueue[wire.Committed]] = {}
        self._answers: dict[int, SimpleQueue[wire.Answered]] = {}
        self._main = threading.get_ident()
        self._armed = False
        self.asked = False
        self._refused = ""

    def begin(self) -> Call:
        """The call, once it has come; from then on a thread of its own hears what the server says."""
        call: Call | None = None
        while call is None:
            data = os.read(self._reading, _CHUNK)
            if not data:
                os._exit(1)  # the server is gone
            for message in self._messages.feed(data):
                if isinstance(message, wire.Begin):
                    call = message.call
                else:
                    self._take(message)
        _thread.start_new_thread(self._hear, ())  # unlike a Thread it is not waited for until it has begun
        return call

    # What the provider calls, in any thread.

    def report(self, report: Report) -> None:
        """Send a report; waits while too much is on its way."""
        self._check()
        self._send(wire.Told(report))

    def commit(self, report: Report) -> None:
        """Send a report and wait until it is durable."""
        self._check()
        number = next(self._numbers)
        answers = self._commits[number] = SimpleQueue()
        self._send(wire.Commit(number, report))
        answer = answers.get()
        self._commits.pop(number, None)
        _raise_refusal(answer)

    def answer(self, question: Question) -> Answer:
        """Send a question and wait for what comes of it."""
        self._check()
        number = next(self._numbers)
        answers = self._answers[number] = SimpleQueue()
        self._send(wire.Asked(number, question))
        answer = answers.get()
        self._answers.pop(number, None)
        _raise_refusal(answer)
        assert answer.answer is not None
        return answer.answer

    def cancelled(self) -> bool:
        """Whether the code was asked to end. Once the main thread knows, its clean-up is not broken by `interrupt`."""
        if self.asked and threading.get_ident() == self._main:
            self._main = 0
        return self.asked

    def _check(self) -> None:
        if self._refused:
            raise Fenced(self._refused)

    # What the main thread does around the provider.

    def interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Handle SIGTERM: break the main thread, once, when the server wants it; a signal from elsewhere is not heard."""
        if self._armed and self._main:
            self._main = 0
            raise Cancelled

    def disarm(self) -> None:
        """Let nothing break the main thread any more."""
        self._main = 0

    def finish(self, end: End) -> None:
        """Send the end."""
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if not isinstance(end, Returned | Raised | Stopped):
            end = broken(TypeError(f"an attempt cannot end as {end!r}"))
        try:
            self._send(wire.Ended(end))
        except Exception as error:  # noqa: BLE001 - an end that cannot be told becomes one that can
            self._send(wire.Ended(broken(error)))

    def _send(self, message: wire.FromProcess) -> None:
        # With the process id, for what the provider forks may write as well.
        number = os.getpid() << 32 | next(self._numbers)
        for piece in wire.pieces(message, number):
            while not self._write(piece):
                room = select.poll()
                room.register(self._writing, select.POLLOUT)
                room.poll()

    def _write(self, piece: bytes) -> bool:
        try:
            os.write(self._writing, piece)
        except BlockingIOError:
            return False
        except OSError:
            os._exit(1)  # the server is gone, or the provider closed what it did not open
        return True

    # The thread that hears.

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._reading, _CHUNK):
                for message in self._messages.feed(data):
                    self._take(message)
        os._exit(1)  # as above

    def _take(self, message: wire.ToProcess) -> None:
        match message:
            case wire.Committed(number):
                if commits := self._commits.get(number):
                    commits.put(message)
            case wire.Answered(number):
                if answers := self._answers.get(number):
                    answers.put(message)
            case wire.Refused(text):
                self._refused = text
            case wire.Stop(urgent):
                self.asked = True
                if urgent and (main := self._main):
                    self._armed = True
                    signal.pthread_kill(main, signal.SIGTERM)
            case _:
                pass


def _raise_refusal(answer: wire.Committed | wire.Answered) -> None:
    if answer.reason == Fenced.reason:
        raise Fenced(answer.message)
    if answer.reason:
        raise RuncastError(answer.message, reason=answer.reason)
