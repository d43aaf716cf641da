"""The processes below this one: adopting orphans, finding what was started, killing all of it (Linux)."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PATIENCE = 1.5
# Looked up before anything is forked: in a child, whatever is touched for the first time is a page to copy.
_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, also one that has left for a session of its own."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Be killed when the process `parent` ends, also if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Take back `die_with_parent`."""
    _prctl(_PR_SET_PDEATHSIG, 0)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def children(pid: int) -> set[int]:
    """The process ids of the direct children of `pid`, zombies included; none where it does not exist."""
    found: set[int] = set()
    for listed in _threads(pid):
        with contextlib.suppress(OSError):
            found.update(map(int, listed.read_text().split()))
    return found


def _threads(pid: int) -> Iterator[Path]:
    try:
        yield from (task / "children" for task in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return


def descendants(pid: int) -> set[int]:
    """All processes below `pid`, without itself."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        new = children(waiting.pop()) - found
        found |= new
        waiting.extend(new)
    return found


def kill(pid: int) -> None:
    """SIGKILL to a process, if it is there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def kill_group(pid: int) -> None:
    """SIGKILL to a process and to the group that it leads, if it leads one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    kill(pid)


def reap() -> Iterator[tuple[int, int]]:
    """Each child that has ended, with its wait status.

    Its group is killed while it is still a zombie: until then nobody else can be given the group's number.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        kill_group(ended.si_pid)
        yield os.waitpid(ended.si_pid, 0)


def sweep(spared: set[int]) -> list[tuple[int, int]]:
    """Kill and reap all children of this process but the `spared`, with all below them; the spared that ended meanwhile.

    Needs `adopt_orphans`: whoever is orphaned by a kill turns up as a child here and is killed in the next round.
    Gives up on what does not die (a process in the kernel's hands) after a moment; the next sweep tries again.
    """
    ended: list[tuple[int, int]] = []
    gone: set[int] = set()
    deadline = time.monotonic() + _PATIENCE
    while strays := children(os.getpid()) - spared:
        for stray in strays:
            for process in (stray, *descendants(stray)):
                kill(process)
        for pid, status in reap():
            gone.add(pid)
            if pid in spared:
                ended.append((pid, status))
        if not strays - gone:
            continue
        if time.monotonic() > deadline:
            break
        time.sleep(0.001)
    return ended
