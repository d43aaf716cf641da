"""File: every state that a crash can leave of its files, at every step; each opens with all that was acknowledged."""

import errno
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path

import pytest

from runcast.server.repository.file.log import Log
from tests.repository.simdisk import SimulatedDisk

PATH = Path("/folder/runs")
Saying = tuple[str, ...]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A torn tail is told each time."""
    caplog.set_level("ERROR")


SHARE = int(os.environ.get("RUNCAST_CRASH_SHARE", "8"))
"""One of so many crashes is followed by every other crash there can be: all of them take minutes."""


class Store:
    """A state that is a list of words, kept by the log as the repository keeps its own."""

    def __init__(self, disk: SimulatedDisk) -> None:
        numbers = itertools.count(hash(frozenset(disk.tree().items())))
        self.disk = disk
        self.log = Log(PATH, disk, lambda: (next(numbers) % 2**128).to_bytes(16, "big"))
        self.words: Saying = ()
        self.attempted: Saying = ()
        self.doubtful: list[Saying] = []

    def open(self) -> Saying:
        """What is stored."""
        read: list[str] = []
        self.log.open(
            lambda payload: read.append(bytes(payload).decode()), lambda: (word.encode() for word in read)
        )
        self.words = self.attempted = tuple(read)
        return self.words

    def say(self, word: str) -> None:
        """Store a word; durable, then part of the state."""
        self.attempted = (*self.words, word)
        if self.log.broken:
            self.fold()
        self.log.append(word.encode())
        self.words = self.attempted

    def fold(self) -> None:
        """A new generation."""
        self.log.renew(self.payloads())

    def close(self) -> None:
        """Leave the snapshot alone."""
        self.log.seal(self.payloads)
        self.log.close()

    def payloads(self) -> Iterator[bytes]:
        """The state as the snapshot has it."""
        return (word.encode() for word in self.words)


def live(store: Store) -> None:
    """All that a server does with its files: made, filled, folded, closed, and opened again, empty and not."""
    store.open()
    store.close()
    store.open()
    store.say("a")
    store.say("bb")
    store.fold()
    store.say("ccc")
    store.close()
    store.open()
    store.say("dd")
    store.close()


def opened(disk: SimulatedDisk) -> Saying:
    """What a server finds on the disk."""
    return Store(disk).open()


_found: dict[frozenset[tuple[Path, bytes]], Saying] = {}


def opened_after_a_crash(tree: dict[Path, bytes]) -> Saying:
    """What a server finds in these files; the same ones are left in many ways."""
    key = frozenset(tree.items())
    if key not in _found:
        _found[key] = opened(SimulatedDisk(tree))
    return _found[key]


def check_lost_power(
    disk: SimulatedDisk, low: Saying, high: Saying, where: str, doubtful: Sequence[Saying] = ()
) -> Iterator[dict[Path, bytes]]:
    """Each state that is left opens with something between what was acknowledged and what was attempted."""
    for tree in disk.crashed():
        found = opened_after_a_crash(tree)
        assert low == found[: len(low)], f"{where}: {low} was acknowledged, and {found} is there"
        assert found == high[: len(found)] or found in doubtful, (
            f"{where}: {found} is there, and {high} was attempted"
        )
        yield tree


def watched(store: Store, at: Callable[[str], None]) -> None:
    """Call `at` before each step of the store's life, and after the last."""
    store.disk.before = at
    live(store)
    at("the end")


def test_whatever_a_loss_of_power_leaves_opens_with_all_that_was_acknowledged() -> None:
    store = Store(SimulatedDisk({}))
    trees: set[frozenset[tuple[Path, bytes]]] = set()

    def lose_power(step: str) -> None:
        disk = deepcopy(store.disk, {id(store.disk.before): None})
        for tree in check_lost_power(disk, store.words, store.attempted, step):
            trees.add(frozenset(tree.items()))

    watched(store, lose_power)
    assert len(trees) > 500, len(trees)


def test_a_crash_while_a_store_is_opened_after_a_crash_loses_nothing_either() -> None:
    store = Store(SimulatedDisk({}))
    seen: set[tuple[object, ...]] = set()

    def lose_power_again(step: str) -> None:
        for tree in store.disk.crashed():
            key = (frozenset(tree.items()), store.words, store.attempted)
            if key in seen:
                continue
            seen.add(key)
            if len(seen) % SHARE:
                continue
            second = Store(SimulatedDisk(tree))
            second.words, second.attempted = store.words, store.attempted

            def at(again: str, second: Store = second) -> None:
                where = f"{step}, then {again}"
                for _ in check_lost_power(second.disk, second.words, second.attempted, where):
                    pass

            second.disk.before = at
            second.open()
            second.say("z")
            at("said")

    watched(store, lose_power_again)


def test_what_a_server_finds_after_a_kill_is_durable_before_anybody_sees_it() -> None:
    store = Store(SimulatedDisk({}))

    def kill(step: str) -> None:
        disk = deepcopy(store.disk, {id(store.disk.before): None})
        disk.before = lambda step: None
        found = opened(disk)
        assert store.words == found[: len(store.words)]
        assert found == store.attempted[: len(found)]
        for _ in check_lost_power(disk, found, found, f"killed before {step}"):
            pass

    watched(store, kill)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_step_that_fails_loses_nothing_whatever_the_power_does_then(code: int, times: int) -> None:
    for first in itertools.count():
        store = Store(SimulatedDisk({}))
        steps = itertools.count()

        def fail(step: str, steps: Iterator[int] = steps, store: Store = store, first: int = first) -> None:
            look(store, f"before {step}")
            if first <= next(steps) < first + times:
                raise OSError(code, step)

        store.disk.before = fail
        if not survive(store):
            assert first > 40
            break


def survive(store: Store) -> bool:
    """Live with errors; what is left is looked at after each step. Whether any step failed."""
    failed = False
    for verb in ("open", "a longer word", "bb", "fold", "a long word", "c", "close", "open", "word", "e"):
        while not done(store, verb):
            failed = True
            if verb != "open":
                break  # the next, shorter word follows; what could not be folded or sealed goes on as it is
    return failed


def done(store: Store, verb: str) -> bool:
    """Do it once, and look at what a loss of power would leave then; whether it went well."""
    words, attempted = store.words, store.attempted
    try:
        {"open": store.open, "fold": store.fold, "close": store.close}.get(verb, lambda: store.say(verb))()
    except OSError:
        if verb in ("open", "close"):  # another server comes
            store.__init__(store.disk)  # type: ignore[misc]
            store.words, store.attempted = words, attempted
        store.doubtful.append(store.attempted)
        went_well = False
    else:
        went_well = True
        assert verb != "open" or store.words in (words, attempted, *store.doubtful)
        store.doubtful.clear()
    look(store, f"{verb}: {went_well}")
    return went_well


def look(store: Store, where: str) -> None:
    """A loss of power now would leave what was acknowledged."""
    before, store.disk.before = store.disk.before, lambda step: None
    for _ in check_lost_power(store.disk, store.words, store.attempted, where, store.doubtful):
        pass
    store.disk.before = before
