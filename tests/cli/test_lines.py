"""What an event says in lines: all that matters, once, and harmless."""

from typing import Any

import pytest

from runcast.cli.follow.lines import Transcript
from runcast.client import Attempt, Run
from runcast.client.errors import CODES
from tests.cli.events import BEGIN, Story


def told(*events: dict[str, Any]) -> list[str]:
    """The lines of these events of one run, as `LEVEL text details`."""
    story, transcript = Story(), Transcript()
    lines = [line for each in events for line in transcript.lines(story.event(**each))]
    return [" ".join(part for part in (line.level, line.text, line.details) if part) for line in lines]


def ended(state: Attempt.State.ValueType, message: str = "") -> dict[str, Any]:
    """An attempt that ended."""
    finished: dict[str, Any] = {"state": state}
    if message:
        finished["error"] = {"code": CODES.index("UNKNOWN"), "message": message}
    return {"attempt_finished": finished}


def moved(state: Run.State.ValueType, **more: Any) -> dict[str, Any]:
    """A run that went to another state."""
    return {"state_changed": {"to_state": state, **more}}


def test_a_log_line_is_told_with_its_level_where_that_is_worth_it() -> None:
    assert told({"log": {"severity": 2, "message": "as expected"}}) == ["as expected"]
    assert told({"log": {"severity": 3, "message": "odd"}}) == ["WARNING odd"]


def test_the_attributes_of_a_log_line_come_behind_it() -> None:
    assert told({"log": {"message": "read", "attributes": {"rows": "5"}}}) == ["read rows=5"]


def test_a_log_line_of_several_lines_stays_so() -> None:
    assert told({"log": {"message": "one\ntwo"}}) == ["one", "two"]


def test_nothing_of_a_log_line_reaches_the_terminal_as_a_command() -> None:
    said = told({"log": {"message": "a\x1b[2Jb", "attributes": {"k\x1b[1m": "v\nw"}}})
    assert said == ["ab k=v w"]


def test_output_is_told_line_by_line_wherever_its_chunks_were_cut() -> None:
    text = "grüße\nzwei\ndrei".encode()
    chunks: list[dict[str, Any]] = [
        {"output": {"channel": "stdout", "data": text[at : at + 1]}} for at in range(len(text))
    ]
    assert told(*chunks) == ["grüße", "zwei"]
    assert told(*chunks, ended(Attempt.STATE_SUCCEEDED)) == ["grüße", "zwei", "drei"]


def test_two_channels_of_output_do_not_mix_within_a_line() -> None:
    assert told(
        {"output": {"channel": "stdout", "data": b"out"}},
        {"output": {"channel": "stderr", "data": b"err\n"}},
        {"output": {"channel": "stdout", "data": b"put\n"}},
    ) == ["err", "output"]


def test_of_a_bar_that_a_command_drew_the_last_drawing_is_told() -> None:
    assert told({"output": {"channel": "stdout", "data": b"10%\r50%\r100%\r\nnext\n"}}) == ["100%", "next"]


def test_bytes_that_are_no_text_are_told_as_unreadable() -> None:
    assert told({"output": {"channel": "stdout", "data": b"\xff\xfe\n"}}) == ["\ufffd\ufffd"]


def test_a_failed_attempt_is_told_with_what_comes_next() -> None:
    next_time = {"seconds": BEGIN + 4}
    assert told(
        ended(Attempt.STATE_FAILED, "no luck"), moved(Run.STATE_BACKING_OFF, next_attempt_time=next_time)
    ) == ["WARNING attempt 1 failed: no luck; the next one comes in 4.0 s"]


def test_the_last_attempts_failure_is_left_to_the_end_of_the_run() -> None:
    assert told(ended(Attempt.STATE_FAILED, "no luck"), moved(Run.STATE_FAILED)) == []


def test_a_lost_attempt_is_told_where_the_run_is_queued_again() -> None:
    assert told(ended(Attempt.STATE_LOST), moved(Run.STATE_QUEUED)) == ["WARNING attempt 1 lost"]


def test_an_interruption_is_told_with_its_reason() -> None:
    assert told(moved(Run.STATE_INTERRUPTED, reason="OWNER_LOST")) == [
        "WARNING interrupted: its server was lost"
    ]


def test_a_pause_is_told_with_the_words_of_whoever_asked() -> None:
    assert told(moved(Run.STATE_PAUSED, reason="lunch")) == ["paused: lunch"]


def test_later_attempts_are_told_as_they_begin_and_the_first_is_not() -> None:
    begin = {"attempt_started": {"from_checkpoint": True}}
    assert told(begin) == []
    assert told({**begin, "attempt": 2}) == ["attempt 2 begins from the checkpoint"]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            {"target_failed": {"target": "a.txt", "code": "GONE", "message": "not there"}},
            "ERROR a.txt: not there (GONE)",
        ),
        ({"target_failed": {"target": "a.txt"}}, "ERROR a.txt: failed"),
        (
            {"artifact_added": {"name": "r.csv", "content_type": "text/csv", "size_bytes": 2048}},
            "artifact r.csv (text/csv, 2 KiB)",
        ),
        ({"cancel_requested": {"initiator": 1, "reason": "enough"}}, "asked to stop: enough"),
        ({"cancel_requested": {"initiator": 2, "immediate": True}}, "asked by the parent to stop at once"),
        ({"child_linked": {"child_run": "run_2"}}, "child run_2 started"),
    ],
)
def test_what_else_matters_is_told_in_a_line(event: dict[str, Any], line: str) -> None:
    assert told(event) == [line]


def test_what_need_not_be_told_is_not() -> None:
    silent: tuple[dict[str, Any], ...] = (
        {"checkpoint_saved": {"number": 1}},
        {"progress": {"completed": 1}},
        {"ref_added": {"type": "file"}},
        {},
    )
    assert told(*silent) == []
