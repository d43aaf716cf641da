"""Several changes of one run, committed as one."""

from collections.abc import Callable
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from runcast.server.model import attempts, lifecycle
from runcast.server.model.call import Returned
from runcast.server.model.change import Change, Part, fold
from runcast.server.model.event import SaveCheckpoint, Summary
from runcast.server.model.run import Checkpoint, Failure, Progress, State, StopCause, Timeouts
from tests.model.history import History, Store
from tests.model.life import SECOND, START, Life, blank, definition, retries


@cache
def a_long_life() -> list[Change]:
    """A life with every kind of change: retries, checkpoints, failures, a pause, a lost owner, an end."""
    life = Life(definition(retry=retries(4), pausable=True, idempotent=True), start_in=SECOND)
    kept = [life.created]
    chapters: list[Callable[[], Change | None]] = [
        lambda: life.report(Progress(0.1), SaveCheckpoint(b"one")),
        life.end,
        lambda: life.report(Failure("a"), SaveCheckpoint(b"two")),
        life.lose,
        lambda: life.report(Summary("nearly")),
        lambda: life.ask_to_stop(StopCause.RELEASE),
        life.end,
        life.pause,
        lambda: life.end(Returned("null")),
    ]
    for chapter in chapters:
        while not life.run.state.executing:
            life.now = max(life.now, life.run.next_attempt_time or 0)
            change = life.claim() if life.run.state is State.QUEUED else life.expire()
            assert change is not None
            kept.append(change)
        change = chapter()
        assert change is not None
        kept.append(change)
    assert life.run.state is State.SUCCEEDED_WITH_ERRORS
    return kept


def stored(changes: list[Change]) -> Store:
    """What is left behind when these are committed in order."""
    store = Store()
    for change in changes:
        store.save(change)
    return store


@given(st.lists(st.integers(1, 6), min_size=1, max_size=20))
def test_folded_in_any_pieces_a_life_leaves_behind_what_it_does_change_by_change(sizes: list[int]) -> None:
    pieces, rest = [], a_long_life()
    for size in sizes:
        piece, rest = rest[:size], rest[size:]
        if piece:
            pieces.append(fold(piece))
    folded, singly = stored(pieces + rest), stored(a_long_life())
    assert blank(folded.read()) == blank(singly.read())
    assert (folded.events, folded.closed, folded.checkpoint) == (
        singly.events,
        singly.closed,
        singly.checkpoint,
    )


def test_a_single_change_is_folded_into_itself() -> None:
    assert fold(a_long_life()[:1]) is a_long_life()[0]


def test_folded_changes_raise_the_version_by_one() -> None:
    assert fold(a_long_life()[3:7]).run.version == a_long_life()[3].run.version == 3


def test_a_folded_change_rewrites_every_part_that_one_of_them_rewrites() -> None:
    assert {change.parts for change in a_long_life()} == {Part.NONE, Part.DEFINITION, Part.OUTCOME}
    assert fold(a_long_life()).parts == Part.DEFINITION | Part.OUTCOME


def test_a_folded_change_carries_the_newest_checkpoint_also_where_the_last_change_has_none() -> None:
    newest = [change.checkpoint for change in a_long_life() if change.checkpoint][-1]
    assert a_long_life()[-1].checkpoint is None
    assert fold(a_long_life()).checkpoint == newest


def test_the_next_change_is_decided_on_the_folded_run_one_version_later() -> None:
    created = lifecycle.create("run_1", definition(), START)
    claimed = lifecycle.claim(created.run, "boot_1", START)
    told = attempts.report(claimed.run, 1, [SaveCheckpoint(b"one")], START)
    folded = fold([created, claimed, told])
    history = History()
    history.commit(folded, START)
    history.commit(attempts.end(folded.run, 1, Returned("null"), START, 0.5), START)
    assert (history.read().version, history.read().state) == (1, State.SUCCEEDED)


@given(st.one_of(st.none(), st.integers(1, SECOND)), st.sampled_from([None, Checkpoint(7, b"seen", 2)]))
def test_a_run_created_as_claimed_is_what_creating_and_claiming_fold_into(
    run_timeout: int | None, checkpoint: Checkpoint | None
) -> None:
    what = definition(timeouts=Timeouts(run=run_timeout))
    created = lifecycle.create("a", what, START, checkpoint=checkpoint)
    claimed = lifecycle.claim(created.run, "boot", START)
    assert lifecycle.create_claimed("a", what, "boot", START, checkpoint) == fold((created, claimed))
