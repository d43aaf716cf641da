"""The forkserver's program: loads the providers once, forks a process per attempt, and kills what is left of each."""

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable

from runcast.server.executor import child, tree, wire
from runcast.server.model.errors import RuncastError

_DESCRIPTORS = 4
_LONGEST_ERROR = 16_384


def main(control: int, server: int) -> None:
    """Serve the server at the other end of `control` until it closes it or dies, then kill everything and return."""
    channel = socket.socket(fileno=control)
    # Whoever ends the server may send this to all its processes; they end when the server says so, or with it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tree.adopt_orphans()
    tree.die_with_parent(server)  # a module that hangs while it is loaded must not outlive the server …
    run = _load(channel)
    if run is not None:
        sys.stdout.flush()  # or each child would write what still waits here, to its run's log
        tree.outlive_parent()  # … but from now on there may be children to kill when it dies
        gc.collect()
        gc.freeze()  # a collection in a child would write to every page that it shares with this process
        _Forkserver(channel, run).serve()


def _load(channel: socket.socket) -> child.Run | None:
    asked = wire.to_forkserver(channel.recv(1 << 20))
    assert isinstance(asked, wire.Load)
    sys.path[:] = asked.path
    module, _, function = asked.loader.partition(":")
    try:
        loader: Callable[[list[str]], child.Run] = getattr(importlib.import_module(module), function)
        run = loader(asked.providers)
    except RuncastError as wrong:
        channel.send(wire.encode(wire.Ready(wrong.message[-_LONGEST_ERROR:])))
        return None
    except BaseException:  # noqa: BLE001 - providers are strangers' code; whatever they raise is told
        error = traceback.format_exc(chain=False)[-_LONGEST_ERROR:]
        channel.send(wire.encode(wire.Ready(error)))
        return None
    channel.send(wire.encode(wire.Ready()))
    return run


class _Forkserver:
    def __init__(self, channel: socket.socket, run: child.Run) -> None:
        self._channel = channel
        self._run = run
        self._live: dict[int, int] = {}
        # What a provider's module started when it was loaded belongs to no attempt.
        self._spared = tree.children(os.getpid())
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> None:
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        waiting = select.poll()
        waiting.register(self._channel, select.POLLIN)
        waiting.register(self._wake, select.POLLIN)
        try:
            while True:
                for descriptor, _ in waiting.poll():
                    if descriptor == self._wake:
                        self._bury()
                    elif not self._obey():
                        return
        except OSError:
            return  # the server died while it was told something
        finally:
            self._end()

    def _obey(self) -> bool:
        space = socket.CMSG_SPACE(_DESCRIPTORS * 4)
        data, ancillary, _, _ = self._channel.recvmsg(4096, space, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        match wire.to_forkserver(data):
            case wire.Fork(attempt):
                self._fork(attempt, [fd for _, _, raw in ancillary for fd in memoryview(raw).cast("i")])
            case wire.Kill(attempt) if attempt in self._live:
                tree.kill_group(self._live[attempt])
            case _:
                pass
        return True

    def _fork(self, attempt: int, descriptors: list[int]) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(wire.Gone(attempt, 0, f"no process could be forked: {error}"))
        else:
            if pid == 0:
                self._become(parent, descriptors)
            self._live[attempt] = pid
            self._tell(wire.Forked(attempt, pid))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _become(self, parent: int, descriptors: list[int]) -> None:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # Of the server's end there is one holder, the server: its end-of-file is what ends this tree.
            for own in (self._channel.detach(), self._wake, self._waker):
                os.close(own)
            child.main(self._run, parent, descriptors)
        except BaseException:  # noqa: BLE001 - what is above this frame belongs to the forkserver
            traceback.print_exc()
        finally:
            os._exit(1)

    def _bury(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake, 4096):
                pass
        ended = list(tree.reap())
        for pid, _ in ended:
            self._spared.discard(pid)
        lost = {pid for pid, _ in ended}
        ended += tree.sweep((set(self._live.values()) | self._spared) - lost)
        status = dict(ended)
        for attempt, pid in list(self._live.items()):
            if pid in status:
                del self._live[attempt]
                self._tell(wire.Gone(attempt, status[pid]))

    def _tell(self, message: wire.FromForkserver) -> None:
        self._channel.send(wire.encode(message))

    def _end(self) -> None:
        for pid in self._live.values():
            tree.kill_group(pid)
        tree.sweep(set())
