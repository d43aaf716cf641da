"""Pictures that somebody has looked at: whole screens, narrow and wide, with what is awkward in them."""

import re
from collections.abc import Callable

import pytest

from tests.cli.conftest import Call, started
from tests.cli.screen import Screen

Screens = Callable[..., Screen]
LONG = "a-very-long-id-that-somebody-chose-because-it-says-all-there-is-to-say"


def test_an_id_that_is_wider_than_the_screen_is_whole_on_two_lines(screens: Screens, call: Call) -> None:
    assert call("run", "greet", "-p", "name=Ada", "--run-id", LONG, "-l", "picture=long").code == 0
    screen = screens("runs", "ls", "-l", "picture=long", columns=60)
    assert screen.end() == 0
    assert screen.display.text == (
        "ID                                         STATE      PROVI…\n"
        "a-very-long-id-that-somebody-chose-becaus  succeeded  greet\n"
        "e-it-says-all-there-is-to-say\n"
    )
    assert call("runs", "ls", "-l", "picture=long").out.splitlines()[1].startswith(f"{LONG}  ")


def test_events_on_a_narrow_screen_keep_what_matters(screens: Screens, call: Call) -> None:
    run = started(call, "nasty")
    assert call("wait", run).code == 0
    screen = screens("runs", "events", run, "--type", "state_changed", "--type", "log", columns=60)
    assert screen.end() == 0
    assert screen.display.text == (
        "SEQUENCE  TYPE           WHAT\n"
        "       1  state_changed  to_state=QUEUED\n"
        "       2  state_changed  to_state=RUNNING from_state=QUEUED\n"
        "       4  log            severity=WARNING message=before af…\n"
        "       6  state_changed  to_state=SUCCEEDED from_state=RUNN…\n"
    )


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_log_lines_on_a_terminal_have_the_time_of_day_and_their_colour(
    screens: Screens, call: Call, environment: dict[str, str], coloured: bool
) -> None:
    run = started(call, "nasty")
    assert call("wait", run).code == 0
    screen = screens("logs", run, columns=60, environment=environment)
    assert screen.end() == 0
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning: before after\n", screen.display.text)
    assert ("\x1b[33m" in screen.raw) == coloured
    assert "owned" not in screen.raw


@pytest.mark.parametrize("columns", [60, 200])
def test_a_task_with_wide_text_keeps_to_the_screen(screens: Screens, call: Call, columns: int) -> None:
    name = f"picture-{columns}"
    words = ["--provider", "greet", "--description", "Zählt 😀 " * 20, "-l", "a=b"]
    assert call("tasks", "create", name, *words).code == 0
    screen = screens("tasks", "ls", "--text", name, columns=columns)
    assert screen.end() == 0
    head, row = screen.display.text.splitlines()
    assert head.split() == (
        ["ID", "PROVIDER", "STATE", "LABELS", "NAME"] if columns == 200 else head.split()[:3]
    )
    assert row.split()[:3] == [name, "greet", "enabled"]
    assert len(row) <= columns


@pytest.mark.parametrize(
    ("environment", "live"), [({}, True), ({"CI": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_board_is_drawn_only_where_it_can_be_redrawn(
    screens: Screens, call: Call, environment: dict[str, str], live: bool
) -> None:
    run = started(call, "greet", "-p", "name=Ada", "--start-after", "1h", "-l", f"picture=board{live}")
    screen = screens("runs", "watch", "-l", f"picture=board{live}", columns=100, environment=environment)
    screen.until(f"{run}  scheduled  greet" if live else f"Z {run} scheduled greet")
    assert ("\x1b[?25l" in screen.raw) == live
    screen.press("\x03")
    assert screen.end() == 130
    assert call("cancel", run).code == 0
