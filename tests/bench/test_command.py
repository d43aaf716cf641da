"""`python -m bench` as `make bench` calls it, on the real server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    """What it said."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("row", "limit"), [(1, "gRPC echo, 64 in flight"), (6, "10 gRPC streams, 64 events a message")]
)
def test_a_figure_comes_as_json_lines_with_its_limit_beside_it(row: int, limit: str) -> None:
    done = bench("--quick", "--rows", str(row))
    assert done.returncode == 0, f"the server or a limit failed:\n{done.stdout}\n{done.stderr}"
    machine, *limits, figure = map(json.loads, done.stdout.splitlines())
    assert machine["kind"] == "machine"
    assert machine["cpus"] > 0
    assert machine["quick"] is True
    assert limit in [line["name"] for line in limits]
    assert (figure["kind"], figure["row"], figure["limit"]) == ("figure", row, limit)
    assert figure["median"] > 0
    assert figure["limit_median"] > 0
    assert figure["ratio"] == pytest.approx(figure["median"] / figure["limit_median"], rel=0.01)
    assert {"at_least", "goal", "ok", "goal_ok", "rounds", "min", "max"} <= set(figure)
    assert figure["name"] in done.stderr


def test_a_row_that_does_not_exist_is_refused() -> None:
    done = bench("--rows", "1,99")
    assert done.returncode == 2
    assert "there is no row '99'" in done.stderr
