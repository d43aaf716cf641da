"""The arithmetic of waiting."""

from hypothesis import given
from hypothesis import strategies as st

from runcast.server.model.run import Retry
from runcast.server.model.timers import after, backoff, earliest, passed
from tests.model import strategies as some
from tests.model.life import SECOND

DAY = 86_400 * SECOND


@given(some.retry_policies, st.integers(1, 10_000), some.dice)
def test_a_wait_is_never_negative_and_never_beyond_the_cap(retry: Retry, tries: int, dice: float) -> None:
    assert 0 <= backoff(retry, tries, dice) <= retry.max_backoff


@given(st.integers(1, DAY), st.integers(1, 30 * DAY), st.floats(1, 10), st.integers(1, 500), some.dice)
def test_a_wait_grows_with_every_failure_until_the_cap(
    first: int, cap: int, factor: float, tries: int, dice: float
) -> None:
    retry = Retry(9, first, cap, factor)
    assert backoff(retry, tries, dice) <= backoff(retry, tries + 1, dice)


def test_without_jitter_the_waits_are_exact() -> None:
    retry = Retry(9, SECOND, 10 * SECOND, 2.0, jitter=0.0)
    waits = [backoff(retry, tries, 0.77) // SECOND for tries in range(1, 7)]
    assert waits == [1, 2, 4, 8, 10, 10]


def test_full_jitter_reaches_from_nothing_to_the_whole_wait() -> None:
    retry = Retry(9, SECOND, 10 * SECOND, 2.0, jitter=1.0)
    assert [backoff(retry, 3, dice) for dice in (0.0, 0.5, 1.0)] == [0, 2 * SECOND, 4 * SECOND]


def test_half_jitter_leaves_half_of_the_wait_to_chance() -> None:
    retry = Retry(9, SECOND, 10 * SECOND, 2.0, jitter=0.5)
    assert [backoff(retry, 1, dice) for dice in (0.0, 1.0)] == [SECOND // 2, SECOND]


def test_a_wait_that_no_float_can_hold_is_the_cap() -> None:
    assert backoff(Retry(9, SECOND, DAY, 1e300, jitter=0.0), 50, 0.0) == DAY


def test_an_instant_that_is_not_set_never_comes() -> None:
    assert (earliest(), earliest(None, 7, 3), after(None, 1), after(1, None)) == (None, 3, None, None)
    assert (passed(None, 5), passed(6, 5), passed(5, 5)) == (False, False, True)
