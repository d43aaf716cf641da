"""File: truncated anywhere, or with a bit flipped anywhere, a store is refused, or is cut at its torn tail only."""

import itertools
import os
import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from runcast.server.model.errors import StorageError
from runcast.server.repository.file.framing import _OVERHEAD, START
from tests.repository.simdisk import SimulatedDisk
from tests.repository.test_file_crash_states import PATH, Saying, Store

JOURNAL = PATH.with_name("runs.journal")
FLIPS = int(os.environ.get("RUNCAST_FLIPS", "1000"))


def left() -> tuple[dict[Path, bytes], Saying, list[int]]:
    """What a kill leaves of a store, what it holds, and where each word of the journal ends."""
    store = Store(SimulatedDisk({}))
    store.open()
    for word in ("a", "bb"):
        store.say(word)
    store.fold()
    ends = [START]
    for word in ("ccc", "d", "a longer word", "e"):
        store.say(word)
        ends.append(store.log.journal_size)
    return store.disk.tree(), store.words, ends


def found(tree: Mapping[Path, bytes]) -> Saying | None:
    """What a server finds, also a second time; None where it is refused, and then nothing was changed."""
    disk = SimulatedDisk(tree)
    try:
        words = Store(disk).open()
    except StorageError as error:
        assert disk.tree() == tree
        message = str(error)
        assert message.startswith(f"file store {PATH}: ")
        assert any(remedy in message for remedy in ("restore a copy", "put it back", "start that version"))
        return None
    assert Store(disk).open() == words
    return words


def test_a_journal_that_is_cut_anywhere_has_all_that_is_whole_in_it(caplog: pytest.LogCaptureFixture) -> None:
    tree, words, ends = left()
    journal = tree[JOURNAL]
    assert ends[-1] == len(journal)
    for size in range(len(journal)):
        caplog.clear()
        whole = sum(end <= size for end in ends)
        left_over = words[: 2 + whole - 1] if whole else None
        assert found({**tree, JOURNAL: journal[:size]}) == left_over, size
        torn = size - ends[whole - 1]
        if whole and torn:
            assert f"{torn} bytes are cut off" in caplog.text


def test_a_snapshot_that_is_cut_anywhere_is_refused() -> None:
    tree, _, _ = left()
    for size in range(1, len(tree[PATH])):
        assert found({**tree, PATH: tree[PATH][:size]}) is None, size


def test_a_snapshot_that_has_grown_is_refused() -> None:
    tree, _, _ = left()
    assert found({**tree, PATH: tree[PATH] + b"\0"}) is None


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 5000, b"\xf5\x00rc", b"\xf5\x00rc" + b"\xff" * 100])
def test_rubbish_behind_the_journal_is_cut(tail: bytes, caplog: pytest.LogCaptureFixture) -> None:
    tree, words, _ = left()
    assert found({**tree, JOURNAL: tree[JOURNAL] + tail}) == words
    assert f"{len(tail)} bytes are cut off" in caplog.text


def test_a_record_that_is_missing_in_the_middle_is_refused() -> None:
    tree, _, ends = left()
    journal = tree[JOURNAL]
    for start, end in itertools.pairwise(ends[:-1]):
        assert found({**tree, JOURNAL: journal[:start] + journal[end:]}) is None


def test_a_record_of_an_earlier_journal_is_none_of_this_one() -> None:
    store = Store(SimulatedDisk({}))
    store.open()
    store.say("old")
    old = store.disk.tree()[JOURNAL][START:]
    store.fold()
    assert found({**store.disk.tree(), JOURNAL: store.disk.tree()[JOURNAL] + old}) == ("old",)


def test_flipped_bits_are_found_wherever_they_are(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR")
    seed = random.randrange(10**6)
    choose = random.Random(seed)
    tree, words, ends = left()
    for _ in range(FLIPS):
        path = choose.choice([PATH, JOURNAL])
        content = bytearray(tree[path])
        spots = [choose.randrange(len(content) * 8) for _ in range(choose.choice([1, 1, 2, 5]))]
        for spot in spots:
            content[spot // 8] ^= 1 << spot % 8
        if content == tree[path]:
            continue
        where = f"seed {seed}: bits {spots} of {path.name}"
        assert found({**tree, path: bytes(content)}) in expected(path, spots, words, ends), where


def expected(path: Path, spots: Sequence[int], words: Saying, ends: Sequence[int]) -> list[Saying | None]:
    """What may be found after these bits were flipped: nothing, or all but the last word of the journal.

    A last record that is damaged cannot be told from a write that the power cut short. Nor can several, where the head
    of each is damaged.
    """
    hit = {bisect_right(ends, spot // 8) - 1 for spot in spots}
    heads = {n for n in hit if any(ends[n] <= spot // 8 < ends[n] + _OVERHEAD for spot in spots)}
    records = len(ends) - 1
    if path == PATH or -1 in hit:
        return [None]
    whole = words[: len(words) - records + min(hit)]
    if min(hit) == records - 1:
        return [whole]
    return [None, whole] if heads >= {*range(min(hit), records)} else [None]


def test_every_single_flipped_bit_is_found(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR")
    tree, words, ends = left()
    for path in (PATH, JOURNAL):
        for spot in range(len(tree[path]) * 8):
            content = bytearray(tree[path])
            content[spot // 8] ^= 1 << spot % 8
            tail = path == JOURNAL and spot // 8 >= ends[-2]
            assert found({**tree, path: bytes(content)}) == (words[:-1] if tail else None), (path, spot)
