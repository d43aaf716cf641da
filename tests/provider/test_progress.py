"""Progress is merged, told at most ten times a second, never lost, and knows when it will end."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runcast.provider import Cancelled, Context
from runcast.provider.progress import INTERVAL, Teller
from runcast.provider.testing import HandClock
from runcast.server.model.run import Progress

# A shared machine is slow at times; what is tested here is not how fast it is.
UNHURRIED = settings(deadline=None)


class Sent:
    """A teller with a clock that is moved by hand, and what it sent, with when."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.all: list[Progress] = []
        self.times: list[float] = []
        self.teller = Teller(self._send, self.clock.later, self.clock)
        self.tell = self.teller.tell

    def _send(self, progress: Progress) -> None:
        self.all.append(progress)
        self.times.append(self.clock.monotonic())


@pytest.fixture
def sent() -> Sent:
    return Sent()


def test_the_first_is_sent_at_once(sent: Sent) -> None:
    sent.tell(1, 4)
    assert sent.all == [Progress(0.25, 1, 4)]


def test_what_comes_within_a_tenth_of_a_second_is_sent_once_with_the_latest_values(sent: Sent) -> None:
    for number in range(50):
        sent.tell(number, 100)
    sent.clock.advance(INTERVAL)
    assert [progress.completed for progress in sent.all] == [0, 49]


def test_the_latest_is_sent_although_nothing_more_is_said(sent: Sent) -> None:
    sent.tell(1)
    sent.tell(2)
    assert len(sent.all) == 1
    sent.clock.advance(3600)
    assert [progress.completed for progress in sent.all] == [1, 2]


def test_nothing_is_sent_twice(sent: Sent) -> None:
    sent.tell(1)
    sent.clock.advance(3600)
    sent.teller.flush()
    assert len(sent.all) == 1


@UNHURRIED
@given(st.lists(st.tuples(st.floats(0, 0.3), st.integers(0, 1000)), min_size=1, max_size=60))
def test_no_two_are_sent_within_a_tenth_of_a_second_and_the_last_always_is(
    steps: list[tuple[float, int]],
) -> None:
    sent = Sent()
    for pause, completed in steps:
        sent.clock.advance(pause)
        sent.tell(completed)
    sent.clock.advance(INTERVAL)
    gaps = [later - earlier for earlier, later in zip(sent.times, sent.times[1:], strict=False)]
    assert all(gap > INTERVAL - 1e-9 for gap in gaps)
    assert sent.all[-1].completed == steps[-1][1]


def test_what_is_not_said_again_stays(sent: Sent) -> None:
    sent.tell(1, 10, unit="files", stage="reading", message="a")
    sent.clock.advance(1)
    sent.tell(2)
    sent.clock.advance(1)
    sent.tell(message="b")
    last = sent.all[-1]
    assert (last.completed, last.total, last.unit, last.stage) == (2, 10, "files", "reading")
    assert last.message == "b"


def test_a_new_stage_counts_anew_and_the_old_one_is_seen_to_its_end(sent: Sent) -> None:
    sent.tell(1, 2, stage="first", unit="files", message="m")
    sent.tell(2)
    sent.tell(stage="second")
    sent.clock.advance(1)
    assert sent.all[1:] == [
        Progress(1.0, 2, 2, "files", "first", "m"),
        Progress(None, 0, 0, "files", "second", ""),
    ]


def test_naming_the_same_stage_again_changes_nothing(sent: Sent) -> None:
    sent.tell(1, 2, stage="only")
    sent.tell(2, stage="only")
    sent.clock.advance(1)
    assert sent.all[-1].total == 2


def test_the_end_is_estimated_from_the_rate(sent: Sent) -> None:
    sent.tell(0, 100)
    assert sent.all[0].estimated_end_time is None
    sent.clock.advance(10)
    sent.tell(25)
    assert sent.all[-1].estimated_end_time == sent.clock.now() + 30_000_000
    sent.clock.advance(30)
    sent.tell(100)
    assert sent.all[-1].estimated_end_time is None


def test_what_was_done_by_an_earlier_attempt_does_not_count_for_the_rate(sent: Sent) -> None:
    sent.tell(50, 100)
    sent.clock.advance(10)
    sent.tell(60)
    assert sent.all[-1].estimated_end_time == sent.clock.now() + 40_000_000


def test_the_end_is_estimated_from_a_fraction_too(sent: Sent) -> None:
    sent.tell(fraction=0)
    sent.clock.advance(5)
    sent.tell(fraction=0.5)
    assert sent.all[-1] == Progress(0.5, estimated_end_time=sent.clock.now() + 5_000_000)


def test_a_count_that_goes_back_begins_a_new_estimate(sent: Sent) -> None:
    sent.tell(90, 100)
    sent.clock.advance(10)
    sent.tell(0)
    assert sent.all[-1].estimated_end_time is None


@pytest.mark.parametrize(("said", "fraction"), [(2.0, 1.0), (-1.0, 0.0), (math.nan, None), (math.inf, 1.0)])
def test_a_fraction_stays_between_0_and_1(sent: Sent, said: float, fraction: float | None) -> None:
    sent.tell(fraction=said)
    assert sent.all[0].fraction == fraction


@pytest.mark.parametrize("said", [10**30, math.inf])
def test_a_count_beyond_all_numbers_is_the_greatest_that_can_be_told(sent: Sent, said: int) -> None:
    sent.teller.tell(completed=1, total=said)
    sent.clock.advance(1)
    sent.teller.tell(completed=said)
    assert [(one.completed, one.total) for one in sent.all] == [(1, 2**63 - 1), (2**63 - 1, 2**63 - 1)]


def test_a_count_that_is_none_is_nothing(sent: Sent) -> None:
    sent.teller.tell(completed=math.nan)  # type: ignore[arg-type]
    assert sent.all[-1].completed == 0


def test_an_end_that_nobody_will_see_is_not_estimated(sent: Sent) -> None:
    sent.teller.tell(completed=0, total=10**18)
    sent.clock.advance(1)
    sent.teller.tell(completed=1)
    assert sent.all[-1].estimated_end_time is None


def test_more_than_all_is_all(sent: Sent) -> None:
    sent.tell(12, 10)
    sent.clock.advance(1)
    sent.tell(-5, -5)
    assert [(p.fraction, p.completed, p.total) for p in sent.all] == [(1.0, 12, 10), (None, 0, 0)]


def test_a_fraction_that_is_said_wins_over_the_counts(sent: Sent) -> None:
    sent.tell(1, 10, fraction=0.9)
    assert sent.all[0] == Progress(0.9, 1, 10)


def test_a_refusal_reaches_whoever_tells(sent: Sent) -> None:
    def refuse(progress: Progress) -> None:
        raise Cancelled

    later: Callable[[float, Callable[[], None]], None] = sent.clock.later
    teller = Teller(refuse, later, sent.clock)
    with pytest.raises(Cancelled):
        teller.tell(1)


def test_a_context_tells_progress_by_its_clock() -> None:
    ctx = Context.testing()
    ctx.progress(1, 10, unit="rows")
    ctx.advance(1)
    ctx.progress(message="half", completed=5)
    assert [(p.completed, p.message, p.unit) for p in ctx.recorded.progress] == [
        (1, "", "rows"),
        (5, "half", "rows"),
    ]
