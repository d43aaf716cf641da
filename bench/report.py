"""What a measurement says: one JSON line per figure on stdout as it is known, and a table for people at the end."""

import json
from collections.abc import Mapping, Sequence

from bench.figures import Figure, Side, Value, rounded

_HEADINGS = ("", "figure", "measured", "limit", "ratio", "at least", "goal", "")
_RIGHT = {2, 3, 4, 5, 6}


def say(line: Mapping[str, Value]) -> None:
    """One line on stdout, at once."""
    print(json.dumps(line, ensure_ascii=False), flush=True)


def table(figures: Sequence[Figure], limits: Sequence[Side]) -> str:
    """The figures as aligned text, and below them the limits that no figure was compared with."""
    rows = [_HEADINGS, *map(_cells, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    compared = {figure.limit.name for figure in figures}
    beside = [f"beside: {side.name}: {_median(side)}" for side in limits if side.name not in compared]
    return "\n".join([*lines, *beside])


def quantity(value: float) -> str:
    """A number as people read it."""
    value = rounded(value)
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:g}"


def _cells(figure: Figure) -> tuple[str, ...]:
    target = figure.target
    unit = "×" if target.of == "ratio" else figure.side.unit
    bound = "" if target.bound is None else f" and {quantity(target.bound)} {figure.side.unit}"
    return (
        str(figure.row),
        figure.side.name,
        _median(figure.side),
        f"{_median(figure.limit)}",
        f"{figure.ratio:.2f} ×",
        f"{quantity(target.at_least)} {unit}{bound}",
        f"{quantity(target.goal)} {unit}",
        figure.verdict,
    )


def _median(side: Side) -> str:
    return f"{quantity(side.spread.median)} {side.unit}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        text.rjust(width) if column in _RIGHT else text.ljust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
