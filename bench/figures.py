"""From readings to a figure: medians, the ratio to a limit, and whether a target is met."""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["below", "at least", "goal"]
Value = str | int | float | bool | None | list[float]


@dataclass(frozen=True)
class Reading:
    """What one round gave: `value` in the figure's unit, how many of the unit it rests on, and what else was seen.

    `check`, where there is one, is what is still to be done once the clocks have stopped; it gives the reading that counts.
    """

    value: float
    count: int
    details: Mapping[str, float] = field(default_factory=dict)
    check: "Callable[[], Awaitable[Reading]] | None" = None


@dataclass(frozen=True)
class Spread:
    """Where several values lie."""

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of one value at least; ValueError of none."""
        if not values:
            raise ValueError("there is no median of no rounds")
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Target:
    """What a figure must reach, and what it is after; `of` says whether its ratio to the limit or its own value counts.

    `bound` is a value that may not be passed beside that, in the figure's unit, in the same direction.
    """

    at_least: float
    goal: float
    of: Literal["ratio", "value"] = "ratio"
    lower_is_better: bool = False
    bound: float | None = None

    def verdict(self, value: float, ratio: float) -> Verdict:
        """How far a figure of this value and ratio gets."""
        reached = ratio if self.of == "ratio" else value
        within = self.bound is None or self._reaches(value, self.bound)
        if not within or not self._reaches(reached, self.at_least):
            return "below"
        return "goal" if self._reaches(reached, self.goal) else "at least"

    def _reaches(self, reached: float, wanted: float) -> bool:
        return reached <= wanted if self.lower_is_better else reached >= wanted


@dataclass(frozen=True)
class Side:
    """One of the programs that were measured in turn: its name, its unit and what each round gave."""

    name: str
    unit: str
    readings: Sequence[Reading]

    @property
    def spread(self) -> Spread:
        """Over the rounds."""
        return Spread.of([reading.value for reading in self.readings])

    def line(self) -> dict[str, Value]:
        """Its part of a JSON line, with the medians of the details that every round has."""
        known = set.intersection(*(set(reading.details) for reading in self.readings))
        details = {
            name: rounded(statistics.median(reading.details[name] for reading in self.readings))
            for name in self.readings[0].details
            if name in known
        }
        return {
            "name": self.name,
            "unit": self.unit,
            **_spread(self.spread),
            "rounds": len(self.readings),
            **details,
        }


@dataclass(frozen=True)
class Figure:
    """A side with its target, and the limit that was measured in turn with it."""

    row: int
    side: Side
    limit: Side
    target: Target

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return self.side.spread.median / self.limit.spread.median

    @property
    def ratios(self) -> list[float]:
        """Of each round and the round of the limit just before it: how steady the ratio is."""
        return [
            ours.value / bare.value
            for ours, bare in zip(self.side.readings, self.limit.readings, strict=True)
        ]

    @property
    def verdict(self) -> Verdict:
        """Whether the target is met."""
        return self.target.verdict(self.side.spread.median, self.ratio)

    def line(self) -> dict[str, Value]:
        """The figure as one flat JSON object."""
        limit, paired = self.limit.spread, Spread.of(self.ratios)
        return {
            "kind": "figure",
            "row": self.row,
            **self.side.line(),
            "limit": self.limit.name,
            "limit_unit": self.limit.unit,
            "limit_median": rounded(limit.median),
            "limit_min": rounded(limit.minimum),
            "limit_max": rounded(limit.maximum),
            "ratio": rounded(self.ratio),
            "ratio_min": rounded(paired.minimum),
            "ratio_max": rounded(paired.maximum),
            "target_of": self.target.of,
            "lower_is_better": self.target.lower_is_better,
            "at_least": self.target.at_least,
            "goal": self.target.goal,
            "bound": self.target.bound,
            "ok": self.verdict != "below",
            "goal_ok": self.verdict == "goal",
        }


def limit_line(row: int, side: Side) -> dict[str, Value]:
    """A limit program's own JSON object."""
    return {"kind": "limit", "row": row, **side.line()}


def rounded(value: float) -> float:
    """To what a reader can use: four digits, and no fraction from 1,000 on."""
    return float(f"{value:.4g}") if abs(value) < 1_000 else float(round(value))


def _spread(spread: Spread) -> dict[str, Value]:
    return {
        "median": rounded(spread.median),
        "min": rounded(spread.minimum),
        "max": rounded(spread.maximum),
    }
