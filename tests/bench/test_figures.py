"""The arithmetic between what was measured and what is claimed."""

import json
from collections.abc import Sequence

import pytest

from bench.figures import Figure, Reading, Side, Spread, Target, limit_line, rounded
from bench.report import quantity, table

ECHO = Side("echo", "calls/s", [Reading(value, 1) for value in (4_000.0, 5_000.0, 4_500.0)])


def figure(values: Sequence[float], target: Target, limit: Side = ECHO) -> Figure:
    """Of rounds that gave these values."""
    return Figure(1, Side("runs", "runs/s", [Reading(value, 1) for value in values]), limit, target)


def test_a_spread_is_the_median_and_the_ends() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0, 2.5]) == Spread(2.5, 1.0, 10.0)
    assert Spread.of([1.0, 2.0]).median == 1.5


def test_no_rounds_have_no_median() -> None:
    with pytest.raises(ValueError, match="no rounds"):
        Spread.of([])


def test_the_ratio_is_that_of_the_medians_and_each_round_has_its_own() -> None:
    found = figure([2_000.0, 2_250.0, 2_700.0], Target(0.4, 0.5))
    assert found.ratio == 0.5
    assert found.ratios == [0.5, 0.45, 0.6]


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(0.39, "below"), (0.4, "at least"), (0.49, "at least"), (0.5, "goal")]
)
def test_a_rate_must_reach_a_share_of_its_limit(ratio: float, verdict: str) -> None:
    assert Target(0.4, 0.5).verdict(value=1.0, ratio=ratio) == verdict


@pytest.mark.parametrize(("ratio", "verdict"), [(4.1, "below"), (4.0, "at least"), (3.0, "goal")])
def test_a_time_may_be_no_more_than_so_many_times_its_limit(ratio: float, verdict: str) -> None:
    assert Target(4.0, 3.0, lower_is_better=True).verdict(value=1.0, ratio=ratio) == verdict


def test_a_bound_is_held_beside_the_ratio() -> None:
    target = Target(4.0, 3.0, lower_is_better=True, bound=2.5)
    assert target.verdict(value=2.5, ratio=3.0) == "goal"
    assert target.verdict(value=2.6, ratio=3.0) == "below"


def test_a_target_may_be_of_the_value_whatever_the_ratio() -> None:
    target = Target(333_000, 1_000_000, of="value")
    assert target.verdict(value=332_999, ratio=2.0) == "below"
    assert target.verdict(value=400_000, ratio=0.1) == "at least"


def test_a_figure_is_one_flat_json_object_with_its_limit_beside_it() -> None:
    line = figure([2_000.0, 2_250.0, 2_700.0], Target(0.4, 0.6)).line()
    assert json.loads(json.dumps(line)) == {
        "kind": "figure",
        "row": 1,
        "name": "runs",
        "unit": "runs/s",
        "median": 2250.0,
        "min": 2000.0,
        "max": 2700.0,
        "rounds": 3,
        "limit": "echo",
        "limit_unit": "calls/s",
        "limit_median": 4500.0,
        "limit_min": 4000.0,
        "limit_max": 5000.0,
        "ratio": 0.5,
        "ratio_min": 0.45,
        "ratio_max": 0.6,
        "target_of": "ratio",
        "lower_is_better": False,
        "at_least": 0.4,
        "goal": 0.6,
        "bound": None,
        "ok": True,
        "goal_ok": False,
    }


def test_details_are_medians_of_what_every_round_has() -> None:
    readings = [Reading(1, 1, {"cpu": 2.0, "late": 1.0}), Reading(1, 1, {"cpu": 4.0})]
    line = limit_line(3, Side("echo", "ms", readings))
    assert (line["kind"], line["row"], line["cpu"]) == ("limit", 3, 3.0)
    assert "late" not in line


def test_numbers_are_rounded_to_what_can_be_read() -> None:
    assert [rounded(value) for value in (0.123456, 12.3456, 1234.5, 1_234_567.8)] == [
        0.1235,
        12.35,
        1234,
        1234568,
    ]
    assert [quantity(value) for value in (0.5, 2.25, 1234567.8)] == ["0.5", "2.25", "1,234,568"]


def test_the_table_shows_ratio_target_and_verdict_and_the_limits_left_over() -> None:
    durable = Side("durable", "runs/s", [Reading(3_000.0, 1)])
    text = table([figure([2_000.0], Target(0.4, 0.5))], [ECHO, durable])
    heading, row, beside = text.splitlines()
    assert heading.split() == ["figure", "measured", "limit", "ratio", "at", "least", "goal"]
    assert " ".join(row.split()) == "1 runs 2,000 runs/s 4,500 calls/s 0.44 × 0.4 × 0.5 × at least"
    assert beside == "beside: durable: 3,000 runs/s"
