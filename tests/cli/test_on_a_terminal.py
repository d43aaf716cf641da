"""What a person sees on a terminal, and what Ctrl-C does there."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.screen import Screen

Screens = Callable[..., Screen]
CTRL_C = "\x03"


def state_of(call: Call, run: str) -> str:
    """A run's state, as the server tells it."""
    return str(json.loads(call("runs", "show", run, "--json").out)["state"])


# ------------------------------------------------------------------------------------------------------------- the bar
@pytest.mark.parametrize("columns", [100, 60])
def test_a_bar_moves_while_the_run_goes_on_and_is_gone_at_its_end(
    screens: Screens, tmp_path: Path, columns: int
) -> None:
    go = tmp_path / "go"
    screen = screens("run", "until", "-p", f"path={go}", columns=columns)
    screen.until(r"until  ━*─+ +\d+%  \d+/1,000 looks.* left\n  looking · for ")
    screen.until(r"[1-9]%")
    assert max(map(len, screen.display.text.splitlines()[2:])) < columns
    go.touch()
    assert screen.end() == 0
    assert "left" not in screen.display.text
    assert "━" not in screen.display.text
    assert re.search(r"\d\d:\d\d:\d\d there it is\n✓ succeeded in .* s\nseen\n$", screen.display.text)


def test_the_cursor_is_shown_again_at_the_end(screens: Screens) -> None:
    screen = screens("run", "countdown", "-p", "seconds=1")
    screen.until("0/1 seconds|1 …")
    assert screen.end() == 0
    assert screen.raw.rfind("\x1b[?25h") > screen.raw.rfind("\x1b[?25l")


def test_log_lines_stay_above_the_bar_in_order(screens: Screens) -> None:
    screen = screens("run", "countdown", "-p", "seconds=2")
    assert screen.end() == 0
    said = [each[9:] for each in screen.display.text.splitlines() if each.endswith(" …")]
    assert said == ["2 …", "1 …"]


def test_nothing_that_the_server_says_is_obeyed_by_the_terminal(screens: Screens) -> None:
    screen = screens("run", "nasty")
    assert screen.end() == 0
    assert "warning: before after" in screen.display.text
    assert "✓ succeeded" in screen.display.text
    assert "result backwards" in screen.display.text
    assert "owned" not in screen.raw
    assert "\x1b[2J" not in screen.raw


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colour_there_is_no_colour(screens: Screens, environment: dict[str, str]) -> None:
    screen = screens("run", "partly", "-p", "failures=1", environment=environment)
    assert screen.end() == 8
    assert not re.search(r"\x1b\[[\d;]*m", screen.raw)
    assert "succeeded with errors" in screen.display.text


@pytest.mark.parametrize("environment", [{"CI": "true"}, {"TERM": "dumb"}])
def test_where_nothing_can_be_redrawn_there_are_plain_lines(
    screens: Screens, environment: dict[str, str]
) -> None:
    screen = screens("run", "countdown", "-p", "seconds=1", environment=environment)
    assert screen.end() == 0
    assert re.search(r"\d\d:\d\d:\d\d 1 …", screen.display.text)
    assert "━" not in screen.raw
    assert "\x1b[?25l" not in screen.raw


def test_a_bar_can_be_asked_for_and_refused(screens: Screens) -> None:
    plain = screens("run", "countdown", "-p", "seconds=1", "--progress", "plain")
    assert plain.end() == 0
    assert "\x1b[?25l" not in plain.raw
    bar = screens("run", "countdown", "-p", "seconds=1", "--progress", "tty", environment={"CI": "true"})
    assert bar.end() == 0
    assert "\x1b[?25l" in bar.raw


# ------------------------------------------------------------------------------------------------------------- results
def test_a_list_of_records_is_a_table(screens: Screens) -> None:
    screen = screens("run", "records")
    assert screen.end() == 0
    assert screen.display.text.endswith("NAME   BORN  RANK\nAda    1815\nGrace  1906  admiral\n")


def test_ids_are_whole_also_in_a_narrow_table(screens: Screens, call: Call) -> None:
    run = call("start", "records").out.strip()
    assert call("wait", run).code == 0
    screen = screens("runs", "ls", columns=60)
    assert screen.end() == 0
    assert run in screen.display.text
    assert max(map(len, screen.display.text.splitlines())) <= 60


# -------------------------------------------------------------------------------------------------------------- Ctrl-C
def test_the_first_ctrl_c_in_run_asks_the_run_to_stop_and_waits_for_it(screens: Screens, call: Call) -> None:
    screen = screens("run", "until", "-p", "path=/nowhere")
    run = screen.until(r"runcast watch (run_\w+)")[1]
    screen.until(r"\d%")
    screen.press(CTRL_C)
    screen.until("asking the run to stop; Ctrl-C again leaves it to itself")
    assert screen.end() == 3
    assert "asked to stop: Ctrl-C" in screen.display.text
    assert "■ cancelled in " in screen.display.text
    assert "looks" not in screen.display.text
    assert state_of(call, run) == "CANCELLED"


def test_the_second_ctrl_c_in_run_leaves_it_and_says_how_to_return(
    screens: Screens, call: Call, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    screen = screens("run", "slow_to_stop", "-p", f"path={go}", columns=140)
    run = screen.until(r"runcast watch (run_\w+)")[1]
    screen.until("working")
    screen.press(CTRL_C)
    screen.until("cleaning up")
    screen.press(CTRL_C)
    assert screen.end() == 130
    assert (
        f"left; the run is still stopping. Come back to it with:  runcast watch {run}" in screen.display.text
    )
    assert state_of(call, run) == "CANCELLING"
    go.touch()
    assert call("wait", run).code == 3


@pytest.mark.parametrize("command", ["watch", "wait"])
def test_ctrl_c_in_watch_and_wait_only_leaves(
    screens: Screens, call: Call, tmp_path: Path, command: str
) -> None:
    go = tmp_path / "go"
    run = call("start", "until", "-p", f"path={go}").out.strip()
    screen = screens(command, run)
    screen.until(r"\d%|waiting for ")
    screen.press(CTRL_C)
    assert screen.end() == 130
    assert f"runcast watch {run}" in screen.display.text
    assert state_of(call, run) == "RUNNING"
    go.touch()
    assert call("wait", run).code == 0


# ------------------------------------------------------------------------------------------------------------ questions
def test_a_dangerous_provider_is_started_after_a_yes(screens: Screens) -> None:
    screen = screens("run", "dangerous")
    screen.until(r"dangerous is dangerous: It deletes everything\.\nStart it\? \[y/N\]")
    screen.press("y\n")
    assert screen.end() == 0
    assert "✓ succeeded" in screen.display.text


@pytest.mark.parametrize(("answer", "code"), [("\n", 3), ("n\n", 3), ("\x04", 3), (CTRL_C, 130)])
def test_a_dangerous_provider_is_not_started_after_anything_else(
    screens: Screens, call: Call, answer: str, code: int
) -> None:
    label = f"answer={answer.encode().hex()}"
    screen = screens("run", "dangerous", "-l", label)
    screen.until(r"Start it\? \[y/N\]")
    screen.press(answer)
    assert screen.end() == code
    assert call("runs", "ls", "-l", label, "-o", "name").out == ""


def test_an_expensive_provider_asks_too_and_yes_answers_before(screens: Screens) -> None:
    screen = screens("run", "expensive", "--yes")
    assert screen.end() == 0
    assert "Start it?" not in screen.display.text
