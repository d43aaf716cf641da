"""Code that only a process of its own can stand: it dies, spins, hides what it starts, and talks nonsense."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from runcast.provider.errors import Cancelled
from runcast.provider.reporter import BlockingChannel
from runcast.server.executor.child import Line
from runcast.server.model.call import Call, End
from runcast.server.model.event import SaveCheckpoint
from tests.executor.code import BLOCKING, blocking, line, run_blocking


def load(_providers: Sequence[str]) -> Callable[[Call, BlockingChannel], End]:
    """What the forkserver is told to run attempts by."""
    assert BLOCKING
    return run_blocking


def load_with_child(providers: Sequence[str]) -> Callable[[Call, BlockingChannel], End]:
    """A provider's module that starts a program when it is imported."""
    child = subprocess.Popen(["sleep", "600"])
    Path(providers[0]).write_text(str(child.pid))
    return run_blocking


def load_and_exit(_providers: Sequence[str]) -> Callable[[Call, BlockingChannel], End]:
    """A provider's module that ends the process that imports it."""
    os._exit(3)


def load_and_fail(providers: Sequence[str]) -> Callable[[Call, BlockingChannel], End]:
    """A provider's module that cannot be imported."""
    raise ModuleNotFoundError(f"No module named {providers[0]!r}")


@blocking
def crash(_call: Call, channel: BlockingChannel) -> str:
    channel.report(line("started"))
    os.kill(os.getpid(), signal.SIGSEGV)
    return "null"


@blocking
def exit_7(_call: Call, channel: BlockingChannel) -> str:
    channel.commit(line("started"))
    os._exit(7)


@blocking
def spin(_call: Call, channel: BlockingChannel) -> str:
    try:
        channel.report(line("started"))
        while True:
            pass
    finally:
        channel.report(line("tidied"))


@blocking
def sleep(_call: Call, channel: BlockingChannel) -> str:
    try:
        channel.report(line("started"))
        time.sleep(600)
    finally:
        channel.report(line("tidied"))
    return "null"


@blocking
def ignore_signals(_call: Call, channel: BlockingChannel) -> str:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel.report(line("started"))
    while True:
        pass


@blocking
def write_raw(_call: Call, _channel: BlockingChannel) -> str:
    os.write(1, b"one\ntwo \xff")
    os.write(2, b"oh no\n")
    subprocess.run(["echo", " from below"], check=True)
    os.write(1, b"without an end")
    return "null"


@blocking
def write_for_ever(_call: Call, channel: BlockingChannel) -> str:
    channel.report(line("started"))
    subprocess.run(["yes", "x" * 100], check=True)
    return "null"


@blocking
def tell_surroundings(_call: Call, channel: BlockingChannel) -> str:
    for fd in sorted(Path("/proc/self/fd").iterdir(), key=lambda path: int(path.name)):
        try:
            channel.report(line(f"fd {fd.name} {fd.readlink()}"))
        except OSError:
            continue  # the one that was open to list them
    for name in ("grpc", "google.protobuf", "runcast.v1"):
        channel.report(line(f"{name} {name in sys.modules}"))
    channel.report(line(f"main {getattr(sys.modules['__main__'], '__file__', 'empty')}"))
    return "null"


@blocking
def breed(call: Call, channel: BlockingChannel) -> str:
    """Start a child, one in a session of its own, and one whose own parent is gone; then do as the input says."""
    kept = [subprocess.Popen(["sleep", "600"]), subprocess.Popen(["sleep", "600"], start_new_session=True)]
    script = "sleep 600 >/dev/null & echo $!; exec setsid sh -c 'sleep 600 >/dev/null & echo $!'"
    orphans = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=False, timeout=5)
    pids = [str(child.pid) for child in kept] + orphans.stdout.decode().split()
    channel.report(line("bred " + " ".join(pids)))
    channel.report(line("started"))
    return BLOCKING[call.input](call, channel)


@blocking
def talk_nonsense(_call: Call, channel: BlockingChannel) -> str:
    assert isinstance(channel, Line)
    os.write(channel._writing, b"\0\x03" + bytes(8) + b"foo")
    time.sleep(600)
    return "null"


@blocking
def talk_at_length(_call: Call, channel: BlockingChannel) -> str:
    assert isinstance(channel, Line)
    os.set_blocking(channel._writing, True)
    for _ in range(70):
        for piece in range(1, 260):
            os.write(channel._writing, b"\x0f\xf0" + (1 << 63 | piece).to_bytes(8) + b"x" * 4080)
    time.sleep(600)
    return "null"


@blocking
def hang_up(_call: Call, channel: BlockingChannel) -> str:
    assert isinstance(channel, Line)
    os.closerange(3, 256)
    channel.commit(line("lost"))
    return "null"


@blocking
def signal_itself(_call: Call, channel: BlockingChannel) -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)
    channel.report(line("still here"))
    return "null"


@blocking
def save_from_threads(_call: Call, channel: BlockingChannel) -> str:
    def save(number: int) -> None:
        for _ in range(20):
            channel.commit(SaveCheckpoint(str(number).encode()))
            channel.report(line(str(number)))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "null"


@blocking
def report_until_broken(_call: Call, channel: BlockingChannel) -> str:
    """Report without a pause, so that whatever breaks it mostly breaks it there."""
    number = 0
    try:
        channel.report(line("started"))
        while True:
            number += 1
            channel.report(line(f"n {number}"))
    except Cancelled:
        channel.commit(line("tidied"))
        raise


@blocking
def tidy_slowly(call: Call, channel: BlockingChannel) -> str:
    channel.report(line("started"))
    while not channel.cancelled():
        time.sleep(0.002)
    try:
        time.sleep(float(call.input))
        channel.report(line("tidied"))
    except Cancelled:
        channel.report(line("broken"))
    raise Cancelled


def talk(worker: int) -> int:
    """What a worker of a pool does."""
    assert POOL_CHANNEL
    for number in range(20):
        POOL_CHANNEL[0].report(line(f"{worker} {number} " + "x" * 10_000))
    return os.getpid()


POOL_CHANNEL: list[BlockingChannel] = []


@blocking
def have_a_pool(_call: Call, channel: BlockingChannel) -> str:
    """Fork workers, which tell much at the same time, and end them."""
    POOL_CHANNEL.append(channel)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        workers = pool.map(talk, range(6), chunksize=1)
    return f'"{len(set(workers) - {os.getpid()})}"'
