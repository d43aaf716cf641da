"""Progress reads right at any width, and does not flood a log."""

import io
import re

import pytest
from rich.cells import cell_len

from runcast.cli.follow.bar import drawn
from runcast.cli.follow.plain import EVERY, Plain
from runcast.cli.follow.standing import Standing
from runcast.client import Run
from tests.cli.events import BEGIN, Story


class Clock:
    """This machine's time, moved by hand; `ahead` of the server's by so many seconds."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.seconds = BEGIN + ahead

    def __call__(self) -> float:
        return self.seconds


def half_way(unit: str = "files", clock: Clock | None = None, **more: object) -> tuple[Standing, Story]:
    """A run that has done 10 of 20 in 5 seconds."""
    story, clock = Story(), clock or Clock()
    standing = Standing(story.run, clock)
    for second in range(6):
        progress = {"completed": 2 * second, "total": 20, "unit": unit, **more}
        standing.take(story.event(at=second, progress=progress), live=True)
        clock.seconds += 1 if second < 5 else 0
    return standing, story


def line(standing: Standing, width: int = 100) -> str:
    """The bar as text."""
    return drawn(standing, width, 0, unicode=True).plain


def test_share_count_speed_and_times_are_shown_where_there_is_room() -> None:
    shown = re.sub("[━─]+", "BAR", line(half_way()[0]))
    assert shown == "⠋ work  BAR   50%  10/20 files  2.0/s  0:05  0:05 left"


def test_bytes_are_shown_as_sizes() -> None:
    assert "10 B of 20 B  2 B/s" in line(half_way("bytes")[0])


@pytest.mark.parametrize("width", range(20, 121))
def test_the_bar_keeps_to_the_width_and_to_two_lines(width: int) -> None:
    standing, _ = half_way(stage="a stage with a rather long name", message="漢字 " * 30)
    lines = line(standing, width).split("\n")
    assert len(lines) == 2
    assert all(cell_len(each) < width for each in lines)
    assert "50%" in lines[0] or width < 30


def test_a_narrow_terminal_keeps_what_matters_most() -> None:
    shown = line(half_way()[0], 50)
    assert "50%" in shown
    assert "10/20 files" in shown
    assert "0:05 left" in shown
    assert "2.0/s" not in shown


def test_without_a_total_there_is_a_count_and_no_bar() -> None:
    story = Story()
    standing = Standing(story.run, Clock())
    standing.take(story.event(progress={"completed": 1234, "unit": "rows"}), live=True)
    assert line(standing) == "⠋ work  1,234 rows  0:00"


def test_a_fraction_alone_makes_a_bar_and_an_estimate() -> None:
    story, clock = Story(), Clock()
    standing = Standing(story.run, clock)
    for second, fraction in enumerate((0.0, 0.1, 0.2)):
        clock.seconds = BEGIN + second
        standing.take(story.event(at=second, progress={"fraction": fraction}), live=True)
    assert re.sub("[━─]+", "BAR", line(standing)) == "⠋ work  BAR   20%  0:02  0:08 left"


def test_the_providers_own_estimate_goes_before_the_calculated_one() -> None:
    standing, story = half_way()
    end = {"seconds": BEGIN + 65}
    progress = {"completed": 10, "total": 20, "estimated_end_time": end}
    standing.take(story.event(at=5, progress=progress), live=True)
    assert "1:00 left" in line(standing)


def test_time_goes_on_between_two_reports() -> None:
    clock = Clock()
    standing, _ = half_way(clock=clock)
    clock.seconds += 3
    assert "0:08  0:02 left" in line(standing)


@pytest.mark.parametrize("ahead", [-7_200.0, -3.0, 0.0, 3.0, 7_200.0])
def test_a_wrong_clock_of_this_machine_does_not_matter(ahead: float) -> None:
    assert half_way(clock=Clock(ahead))[0].elapsed == pytest.approx(5.0)


def test_a_total_that_is_exceeded_and_a_fraction_beyond_one_fill_the_bar_and_no_more() -> None:
    story = Story()
    standing = Standing(story.run, Clock())
    standing.take(story.event(progress={"completed": 30, "total": 20}), live=True)
    assert standing.fraction == 1.0
    standing.take(story.event(progress={"fraction": 1.7}), live=True)
    assert standing.fraction == 1.0


def test_a_count_that_begins_anew_does_not_make_a_negative_speed() -> None:
    standing, story = half_way()
    standing.take(story.event(at=6, progress={"completed": 1, "total": 20}), live=True)
    assert standing.speed is None


def test_the_line_below_says_the_stage_and_the_attempt() -> None:
    standing, story = half_way(stage="hashing", message="a.txt")
    assert line(standing).endswith("\n  hashing · a.txt")
    standing.take(story.event(attempt=2, attempt_started={}), live=True)
    assert line(standing).endswith("\n  attempt 2 · hashing · a.txt")


def test_the_line_below_says_how_it_stands_where_no_code_runs() -> None:
    standing, story = half_way()
    next_time = {"seconds": BEGIN + 9}
    changed = {"to_state": Run.STATE_BACKING_OFF, "next_attempt_time": next_time}
    standing.take(story.event(at=5, state_changed=changed), live=True)
    assert line(standing).endswith("\n  backing off, next attempt in 4.0 s")
    standing.take(story.event(at=5, state_changed={"to_state": Run.STATE_CANCELLING}), live=True)
    assert line(standing).endswith("\n  cancelling")


def test_replayed_events_do_not_take_the_state_back() -> None:
    story = Story()
    story.run.last_sequence = 10
    standing = Standing(story.run, Clock())
    standing.take(story.event(state_changed={"to_state": Run.STATE_QUEUED}), live=False)
    assert standing.state == "RUNNING"


def test_ascii_is_enough_where_a_terminal_has_no_more() -> None:
    shown = drawn(half_way()[0], 80, 0, unicode=False).plain
    assert shown.isascii()
    assert "###" in shown


# --------------------------------------------------------------------------------------------------------- plain lines
def plain(clock: Clock) -> tuple[Plain, Story, io.StringIO]:
    """A view in plain lines, and what it wrote."""
    story, stream = Story(), io.StringIO()
    view = Plain(stream, clock)
    view.begin(story.run)
    return view, story, stream


def test_plain_progress_comes_at_most_once_in_two_seconds_and_log_lines_always() -> None:
    clock = Clock()
    view, story, stream = plain(clock)
    for tenth in range(100):
        clock.seconds = BEGIN + tenth / 10
        view.event(story.event(at=tenth / 10, progress={"completed": tenth, "total": 100}), live=True)
        view.event(story.event(at=tenth / 10, log={"message": f"line {tenth}"}), live=True)
    lines = stream.getvalue().splitlines()
    assert sum("line" in each for each in lines) == 100
    assert sum("%" in each for each in lines) == 10 / EVERY


def test_plain_progress_that_was_held_back_comes_when_its_time_has_come() -> None:
    clock = Clock()
    view, story, stream = plain(clock)
    view.event(story.event(progress={"completed": 1, "total": 4}), live=True)
    view.event(story.event(progress={"completed": 2, "total": 4}), live=True)
    assert "50%" not in stream.getvalue()
    clock.seconds += EVERY
    view.refresh()
    view.refresh()
    assert stream.getvalue().count("50%") == 1


def test_plain_progress_of_the_past_is_told_by_the_clock_of_then_and_seldom() -> None:
    clock = Clock()
    clock.seconds = BEGIN + 100
    view, story, stream = plain(clock)
    for second in range(101):
        view.event(story.event(second, progress={"completed": second, "total": 100}), live=False)
    view.end(None)
    told = stream.getvalue().splitlines()
    assert told[0].endswith(":00:00 0% 0/100")
    assert told[-1].startswith(told[0][:3] + "01:40 100% 100/100")
    assert 10 <= len(told) <= 22
    assert "left" not in stream.getvalue()


def test_plain_progress_of_the_past_is_as_seldom_between_log_lines_and_checkpoints() -> None:
    clock = Clock()
    clock.seconds = BEGIN + 100
    view, story, stream = plain(clock)
    for tenth in range(1000):
        at = tenth / 10
        view.event(story.event(at, progress={"completed": tenth, "total": 1000}), live=False)
        view.event(story.event(at, log={"message": f"line {tenth}"}), live=False)
        view.event(story.event(at, checkpoint_saved={}), live=False)
    view.event(story.event(100, state_changed={"to_state": Run.STATE_SUCCEEDED}), live=False)
    told = stream.getvalue().splitlines()
    assert sum(" line " in each for each in told) == 1000
    assert 10 <= sum("%" in each for each in told) <= 22
    assert "999/1,000" in told[-1]


def test_a_plain_line_says_what_a_bar_says() -> None:
    clock = Clock()
    view, story, stream = plain(clock)
    for second in range(0, 6, 2):
        clock.seconds = BEGIN + second
        progress = {"completed": second, "total": 20, "unit": "files", "stage": "hashing"}
        view.event(story.event(at=second, progress=progress), live=True)
    assert stream.getvalue().splitlines()[-1][9:] == "20% 4/20 files 1.0/s, 16 s left · hashing"
