"""Looks at where Runcast's server spends its time in one row: its calls without a limit beside it, under a profiler."""

import pstats
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from bench.figures import Side
from bench.load import Load
from bench.measure import run_alone, runcast
from bench.programs import Program
from bench.rows import Row

Profiler = Literal["py-spy", "native", "cprofile"]
_TOP = 60
_RATE = 250
_LINE = re.compile(r":\d+\)$")
_ADDRESS = re.compile(r"\b0x[0-9a-f]+")
_IMPORT = "<frozen importlib._bootstrap>"


async def profile(row: Row, load: Load, folder: Path, profiler: Profiler, output: Path) -> Side:
    """Write `output` (py-spy: collapsed stacks; cProfile: a pstats file) and beside it a summary, `output` + `.txt`.

    `native` is py-spy with the frames of C code, such as gRPC's, SQLite's and the garbage collector's; it halts the server
    for each sample. What a profiler costs is in the side's readings: read shares off a profile, not speeds.
    """
    side = await run_alone(row, load, _under(runcast(folder), profiler, output))
    _summarise(profiler, output)
    return side


def _summarise(profiler: Profiler, output: Path) -> None:
    summary = output.with_name(output.name + ".txt")
    if profiler != "cprofile":
        summary.write_text(summary_of(output.read_text().splitlines()))
    else:
        with summary.open("w") as stream:
            stats = pstats.Stats(str(output), stream=stream)
            stats.sort_stats("tottime").print_stats(_TOP)
            stats.sort_stats("cumulative").print_stats(_TOP)


def _under(program: Program, profiler: Profiler, output: Path) -> Program:
    if profiler == "cprofile":
        return replace(program, through=("-m", "cProfile", "-o", str(output)))
    spy = str(Path(sys.executable).with_name("py-spy"))
    under = (
        spy,
        "record",
        "--format",
        "raw",
        "--rate",
        str(_RATE),
        "--threads",
        "--output",
        str(output),
        *(("--native",) if profiler == "native" else ()),
        "--",
    )
    return replace(program, under=under)


def summary_of(stacks: Iterable[str]) -> str:
    """Collapsed stacks as two lists: lines by the samples they were on top in, and functions by those they were in at all.

    Samples of imports are left out: they belong to the start.
    """
    on_top: Counter[str] = Counter()
    within: Counter[str] = Counter()
    total = importing = 0
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        if _IMPORT in frames:
            importing += int(count)
            continue
        names = _ADDRESS.sub("?", frames).split(";")
        total += int(count)
        on_top[names[-1]] += int(count)
        for name in {_LINE.sub(")", name) for name in names}:
            within[name] += int(count)
    return f"{total} samples, {importing} more while it imported\n\n{_top('itself', on_top, total)}\n{_top('with what it calls', within, total)}"


def _top(title: str, counts: Counter[str], total: int) -> str:
    lines = [f"{count / total:7.1%}  {name}\n" for name, count in counts.most_common(_TOP)]
    return f"{title}\n{''.join(lines)}"
