"""Results and messages as data: exact in a pipe, readable and harmless on a terminal."""

import json
from typing import Any

import pytest

from runcast.cli.output import Format
from runcast.cli.records import event_record, record, run_record
from runcast.cli.results import write_result
from runcast.cli.terminal import Terminal
from runcast.client import Payload, Run
from runcast.client.errors import CODES
from tests.cli.events import BEGIN, Story

PIPE = Terminal(out_is_terminal=False, err_is_terminal=False, colour=False, live=False, unicode=True)
SCREEN = Terminal(out_is_terminal=True, err_is_terminal=True, colour=False, live=True, unicode=True)


def written(
    capsys: pytest.CaptureFixture[str],
    output: Payload,
    terminal: Terminal = PIPE,
    wanted: Format | None = None,
) -> str:
    """What a result puts on stdout."""
    write_result(Run(id="run_1", output=output), wanted, terminal)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ['{"a":1.10,"b":123456789012345678901234567890}', '"text"', "null", "[]", "1e400"]
)
def test_a_pipe_gets_the_text_that_is_stored(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert written(capsys, Payload(json=text)) == f"{text}\n"


def test_json_that_was_asked_for_is_exact_in_whole_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    text = '{"a":123456789012345678901234567890}'
    assert written(capsys, Payload(json=text), PIPE, Format.JSON) == f"{text}\n"
    assert "123456789012345678901234567890" in written(capsys, Payload(json=text), SCREEN, Format.JSON)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "text\n"),
        ("clear\x1b[2Jed", "cleared\n"),
        (5, "5\n"),
        (None, ""),
        (True, "true\n"),
        ({"a": [1, 2]}, '{\n  "a": [\n    1,\n    2\n  ]\n}\n'),
        ([], "[]\n"),
        ([{"a": 1, "b": None}, {"b": [1]}], "A  B\n1\n   [1]\n"),
        ([{"a": 1}, 2], '[\n  {\n    "a": 1\n  },\n  2\n]\n'),
        ([{"a\x1b[2J": "x\ny\x9b2J"}], "A\nx y\n"),
    ],
)
def test_a_person_gets_it_readable_and_harmless(
    capsys: pytest.CaptureFixture[str], value: Any, shown: str
) -> None:
    assert written(capsys, Payload(json=json.dumps(value)), SCREEN) == shown


def test_lines_of_json_are_the_items_of_a_list_or_the_one_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert written(capsys, Payload(json="[1, [2]]"), PIPE, Format.JSONL) == "1\n[2]\n"
    assert written(capsys, Payload(json='{"a": 1}'), PIPE, Format.JSONL) == '{"a":1}\n'


def test_bytes_go_to_a_pipe_as_they_are_and_not_to_a_terminal(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    run = Run(output=Payload(data=b"\x00\xff", content_type="image/png"))
    write_result(run, None, PIPE)
    assert capfdbinary.readouterr().out == b"\x00\xff"
    write_result(run, None, SCREEN)
    told = capfdbinary.readouterr()
    assert told.out == b""
    assert b"2 B of image/png" in told.err


def test_an_artifact_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert written(capsys, Payload(artifact="art_1", content_type="text/csv")) == "art_1\n"


# -------------------------------------------------------------------------------------------------------------- records
def test_a_message_is_plain_data_under_the_contracts_names() -> None:
    run = Story().run
    run.labels["who"] = "me"
    run.last_sequence = 2**53 + 1
    run.output.json = '{"n": 1}'
    run.spec.timeouts.attempt.FromMilliseconds(1_500)
    assert run_record(run) == {
        "id": "run_1",
        "state": "RUNNING",
        "provider": "work",
        "attempt": 1,
        "labels": {"who": "me"},
        "last_sequence": 2**53 + 1,
        "output": {"n": 1},
        "spec": {"timeouts": {"attempt": "1.500s"}, "retry": {"max_attempts": 1}},
        "create_time": "2027-01-15T08:00:00Z",
        "start_time": "2027-01-15T08:00:00Z",
    }
    assert run.create_time.ToSeconds() == BEGIN


def test_a_state_that_is_not_known_yet_is_a_number_and_not_an_error() -> None:
    run = Run(id="run_1")
    run.MergeFromString(b"\x10\x63")  # field 2, the state: 99
    assert run_record(run)["state"] == "STATE_99"


def test_an_event_says_its_kind() -> None:
    event = Story().event(output={"channel": "stdout", "data": b"\xff"})
    assert event_record(event)["type"] == "output"
    assert event_record(event)["output"] == {"channel": "stdout", "data": "/w=="}
    assert event_record(Story().event())["type"] == "unknown"


def test_an_error_says_its_code_by_name_and_leaves_out_what_it_has_not() -> None:
    run = Run(id="run_1", error={"code": CODES.index("UNKNOWN"), "message": "oh"})
    assert record(run)["error"] == {"code": "UNKNOWN", "message": "oh"}
