"""What happens in the process of one attempt: it runs the provider, tells the server, and ends when it is asked to."""

import contextlib
import faulthandler
import itertools
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import FrameType
from typing import NoReturn, Protocol

from runcast.server.executor import tree, wire
from runcast.server.executor.attempt import broken
from runcast.server.model.call import Call, End, Raised, Returned, Stopped
from runcast.server.model.errors import Fenced, RuncastError
from runcast.server.model.event import Report

# How many frames may wait for the socket before the provider waits; a large one is waited for at once.
MANY, LARGE = 256, 16_384


class Cancelled(BaseException):
    """Raised where the provider's main thread stands when it has not ended by itself."""


class BlockingChannel(Protocol):
    """What a blocking provider tells through, from any thread."""

    def report(self, report: Report) -> None: ...
    def commit(self, report: Report) -> None: ...
    def cancelled(self) -> bool: ...


Run = Callable[[Call, BlockingChannel], End]


def main(run: Run, parent: int, connection: int, out: int, err: int) -> NoReturn:
    """Run the one attempt that comes over `connection`, in a session of its own, and exit."""
    os.setsid()
    tree.adopt_orphans()  # so that this process has all that it started below it, and its parent finds it there
    tree.die_with_parent(parent)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    faulthandler.enable()
    line = Line(socket.socket(fileno=connection))
    line.finish(_execute(run, line.begin(), line))
    os._exit(0)


def _execute(run: Run, call: Call, line: "Line") -> End:
    ends: list[End] = []
    try:
        signal.signal(signal.SIGTERM, line.interrupt)
        try:
            ends.append(run(call, line))
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

    The main thread may be broken anywhere by `interrupt`, so it holds no lock and writes nothing itself: it puts
    frames into a queue whose operations are atomic, and waits at gates, which another thread opens.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._frames = wire.to_process()
        self._out: SimpleQueue[bytes | SimpleQueue[None] | None] = SimpleQueue()
        self._gates: dict[int, SimpleQueue[wire.Committed]] = {}
        self._numbers = itertools.count(1)
        self._main = threading.get_ident()
        self._armed = False
        self._asked = False
        self._refused = ""
        self._sender = threading.Thread(target=self._send, name="reports", daemon=True)

    def begin(self) -> Call:
        """The call, once it has come; from then on the line is read and written by threads of its own."""
        while data := self._socket.recv(1 << 18):
            for message in self._frames.feed(data):
                if isinstance(message, wire.Begin):
                    call = message.call
                    threading.Thread(target=self._receive, name="requests", daemon=True).start()
                    self._sender.start()
                    return call
        os._exit(1)  # the server is gone

    # What the provider calls, in any thread.

    def report(self, report: Report) -> None:
        """Send a report; waits while too much is on its way."""
        self._check()
        frame = wire.frame(wire.Told(report))
        self._out.put(frame)
        if len(frame) > LARGE or self._out.qsize() > MANY:
            gate: SimpleQueue[None] = SimpleQueue()
            self._out.put(gate)
            gate.get()

    def commit(self, report: Report) -> None:
        """Send a report and wait until it is durable."""
        self._check()
        number = next(self._numbers)
        gate = self._gates[number] = SimpleQueue()
        self._out.put(wire.frame(wire.Commit(number, report)))
        answer = gate.get()
        self._gates.pop(number, None)
        if answer.reason == Fenced.reason:
            raise Fenced(answer.message)
        if answer.reason:
            raise RuncastError(answer.message, reason=answer.reason)

    def cancelled(self) -> bool:
        """Whether the code was asked to end."""
        return self._asked

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
        """Send all that waits, and the end."""
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if not isinstance(end, Returned | Raised | Stopped):
            end = broken(TypeError(f"an attempt cannot end as {end!r}"))
        try:
            self._out.put(wire.frame(wire.Ended(end)))
        except Exception as error:  # noqa: BLE001 - an end that cannot be told becomes one that can
            self._out.put(wire.frame(wire.Ended(broken(error))))
        self._out.put(None)
        self._sender.join()

    # The two threads.

    def _send(self) -> None:
        ended = False
        while not ended:
            frames: list[bytes] = []
            gates: list[SimpleQueue[None]] = []
            item = self._out.get()
            with contextlib.suppress(Empty):
                while item is not None:
                    if isinstance(item, bytes):
                        frames.append(item)
                    else:
                        gates.append(item)
                    item = self._out.get_nowait()
                ended = True
            with contextlib.suppress(OSError):  # the server is gone, and this process will be
                self._socket.sendall(b"".join(frames))
            for gate in gates:
                gate.put(None)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(1 << 16):
                for message in self._frames.feed(data):
                    self._take(message)

    def _take(self, message: wire.ToProcess) -> None:
        match message:
            case wire.Committed(number):
                if gate := self._gates.get(number):
                    gate.put(message)
            case wire.Refused(text):
                self._refused = text
            case wire.Stop(urgent):
                self._asked = True
                if urgent and (main := self._main):
                    self._armed = True
                    signal.pthread_kill(main, signal.SIGTERM)
            case _:
                pass
