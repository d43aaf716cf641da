"""Exit codes are an interface: each state and each error has the one that is documented."""

import pytest

from runcast.cli import exits
from runcast.cli.exits import Exit
from runcast.cli.failures import DEBUG, Refused, report
from runcast.client import Run, Violation
from runcast.client.errors import CODES, Details, rpc_error
from runcast.client.states import state_name

HERE = "localhost:7433"


def test_the_codes_are_those_that_are_documented() -> None:
    assert {each.name: each.value for each in Exit} == {
        "SUCCEEDED": 0,
        "FAILED": 1,
        "USAGE": 2,
        "CANCELLED": 3,
        "TIMED_OUT": 4,
        "NOT_FOUND": 5,
        "NOT_ALLOWED": 6,
        "CONFLICT": 7,
        "WITH_ERRORS": 8,
        "STANDS_STILL": 9,
        "OVER_LIMIT": 10,
        "UNAVAILABLE": 69,
        "IMPATIENT": 124,
        "INTERRUPTED": 130,
        "BROKEN_PIPE": 141,
        "TERMINATED": 143,
    }


def test_only_success_exits_with_0_whatever_states_there_are() -> None:
    names = {state_name(state) for state in Run.State.values()}
    assert {name for name in names if exits.of_state(name) == 0} == {"SUCCEEDED"}
    assert exits.of_state("STATE_99") == 1


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("FAILED", 1),
        ("CANCELLED", 3),
        ("TIMED_OUT", 4),
        ("SUCCEEDED_WITH_ERRORS", 8),
        ("PAUSED", 9),
        ("INTERRUPTED", 9),
    ],
)
def test_a_state_has_its_code(state: str, code: int) -> None:
    assert exits.of_state(state) == code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("INVALID_ARGUMENT", 2),
        ("OUT_OF_RANGE", 2),
        ("NOT_FOUND", 5),
        ("PERMISSION_DENIED", 6),
        ("UNAUTHENTICATED", 6),
        ("FAILED_PRECONDITION", 7),
        ("ABORTED", 7),
        ("ALREADY_EXISTS", 7),
        ("RESOURCE_EXHAUSTED", 10),
        ("UNAVAILABLE", 69),
        ("DEADLINE_EXCEEDED", 124),
        ("UNIMPLEMENTED", 1),
        ("DATA_LOSS", 1),
        ("INTERNAL", 1),
        ("UNKNOWN", 1),
        ("CANCELLED", 1),
    ],
)
def test_an_error_of_a_call_has_its_code_and_a_line(
    status: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(rpc_error(status, "it did not work"), HERE) == code
    assert capsys.readouterr().err.startswith("error: ")


def test_every_status_is_considered() -> None:
    assert all(exits.of_status(each) != 0 for each in CODES)


def told(error: Exception, capsys: pytest.CaptureFixture[str], remedy: str = "") -> str:
    """What a person is told of an error."""
    report(error, HERE, remedy)
    return capsys.readouterr().err


def test_violations_are_told_one_by_one_and_then_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    details = Details(violations=(Violation("input.a", "is missing"), Violation("input.b", "is\x1b[2J odd")))
    error = rpc_error("INVALID_ARGUMENT", "two fields are wrong", details)
    assert told(error, capsys, "Look it up.") == (
        "error: two fields are wrong\n  input.a: is missing\n  input.b: is odd\nLook it up.\n"
    )


def test_a_violation_that_the_message_says_already_is_not_said_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    details = Details(violations=(Violation("input.a", "is missing"),))
    assert (
        told(rpc_error("INVALID_ARGUMENT", "input.a: is missing", details), capsys)
        == "error: input.a: is missing\n"
    )


def test_an_error_that_passes_says_when_to_try_again(capsys: pytest.CaptureFixture[str]) -> None:
    details = Details(reason="QUEUE_FULL", retry_after=2.5)
    error = rpc_error("RESOURCE_EXHAUSTED", "the queue is full", details)
    assert told(error, capsys) == "error: the queue is full\nTry again in 2.5 s.\n"


def test_a_server_that_drains_is_not_one_that_does_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    error = rpc_error("UNAVAILABLE", "the server shuts down", Details(reason="DRAINING", retry_after=1.0))
    assert told(error, capsys) == "error: the server shuts down\nTry again in 1.0 s.\n"


def test_nothing_that_a_server_says_is_obeyed_by_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(rpc_error("NOT_FOUND", "no\x1b]0;x\x07 run\n\x1b[2J"), capsys) == "error: no run\n"


def test_a_refusal_has_its_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(Refused("no", code=Exit.CONFLICT), HERE) == 7
    assert capsys.readouterr().err == "error: no\n"


def test_a_bug_is_told_without_a_traceback_unless_that_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DEBUG, raising=False)
    assert report(ZeroDivisionError("oh"), HERE) == 1
    assert "error: ZeroDivisionError: oh\nThis is a bug of runcast" in capsys.readouterr().err
    monkeypatch.setenv(DEBUG, "1")
    with pytest.raises(ZeroDivisionError):
        report(ZeroDivisionError("oh"), HERE)
