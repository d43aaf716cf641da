"""`runs watch`: a live table on a terminal, a line for each change in a pipe."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from runcast.cli.follow.board import board
from runcast.cli.terminal import Terminal
from runcast.client import Run
from tests.cli.conftest import Call, started
from tests.cli.events import BEGIN
from tests.cli.screen import Screen

Processes = Callable[..., "subprocess.Popen[str]"]
Screens = Callable[..., Screen]


@pytest.mark.parametrize("columns", [60, 200])
def test_a_table_follows_the_runs_on_a_terminal(
    screens: Screens, call: Call, tmp_path: Path, columns: int
) -> None:
    go, label = tmp_path / "go", f"board=b{columns}"
    screen = screens("runs", "watch", "-l", label, columns=columns)
    screen.until("0 runs")
    run = started(call, "until", "-p", f"path={go}", "-l", label)
    screen.until(rf"1 run: 1 running\nID +STATE +PROVIDER.*\n{run}  running +until")
    go.touch()
    screen.until(rf"1 run: 1 succeeded\n.*\n{run}  succeeded +until")
    assert call("runs", "rm", run).code == 0
    screen.until(r"^0 runs\s*$")
    assert max(map(len, screen.display.text.splitlines())) < columns
    screen.press("\x03")
    assert screen.end() == 130
    assert screen.raw.rfind("\x1b[?25h") > screen.raw.rfind("\x1b[?25l")


def test_a_pipe_gets_a_line_for_each_change(processes: Processes, call: Call, tmp_path: Path) -> None:
    label = f"board=pipe-{tmp_path.name}"
    run = started(call, "greet", "-p", "name=Ada", "--start-after", "1h", "-l", label)
    lines = processes("runs", "watch", "-l", label)
    records = processes("runs", "watch", "-l", label, "-o", "jsonl")
    assert lines.stdout is not None
    assert records.stdout is not None
    assert lines.stdout.readline().endswith(f"Z {run} scheduled greet\n")
    assert json.loads(records.stdout.readline())["state"] == "SCHEDULED"
    assert call("cancel", run).code == 0
    assert f" {run} cancelled greet" in lines.stdout.readline()
    assert json.loads(records.stdout.readline())["state"] == "CANCELLED"
    assert call("runs", "rm", run).code == 0
    assert lines.stdout.readline() == f"{run} removed\n"
    assert json.loads(records.stdout.readline()) == {"id": run, "removed": True}
    for process in (lines, records):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_what_goes_on_is_above_and_what_has_no_room_is_counted() -> None:
    class Small(Terminal):
        @property
        def out(self) -> Console:
            return Console(width=60, height=8, force_terminal=False)

    terminal = Small(out_is_terminal=True, err_is_terminal=True, colour=False, live=True, unicode=True)
    runs = [
        Run(
            id=f"run_{number}",
            provider="a\nb\x1b[2J😀",
            state=Run.STATE_SUCCEEDED if number else Run.STATE_RUNNING,
        )
        for number in range(12)
    ]
    for number, run in enumerate(runs):
        run.create_time.FromSeconds(BEGIN + number)
    console = Console(width=60, record=True)
    with console.capture() as captured:
        console.print(board(runs, terminal, BEGIN + 30.0))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    assert lines[0] == "12 runs: 11 succeeded, 1 running"
    assert [line.split()[0] for line in lines[2:6]] == ["run_0", "run_11", "run_10", "run_9"]
    assert lines[2].split()[2:] == ["a", "b😀"]
    assert lines[-1] == "… and 8 more"
