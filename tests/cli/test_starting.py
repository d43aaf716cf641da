"""`run` and `start`: parameters, results, outcomes, and whether it is meant."""

import json

import pytest

from tests.cli.conftest import Call, started


def test_run_gives_the_result_to_stdout_and_all_else_to_stderr(call: Call) -> None:
    done = call("run", "greet", "-p", "name=Ada")
    assert (done.code, done.out) == (0, '"Hello, Ada!"\n')
    assert "come back to it with:  runcast watch run_" in done.err
    assert " succeeded in " in done.err


def test_parameters_reach_the_provider_by_their_types(call: Call) -> None:
    words = [
        "-p",
        "text=5",
        "-p",
        f"whole={10**30}",
        "-p",
        "real=1.5",
        "-p",
        "yes=on",
        "-p",
        "words=a",
        "-p",
        "words=b",
    ]
    done = call("run", "typed", *words, "-p", 'numbers={"a":1}', "-p", "colour=green", "-p", "maybe=null")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {
        "text": "5",
        "whole": 10**30,
        "real": 1.5,
        "yes": True,
        "words": ["a", "b"],
        "numbers": {"a": 1},
        "colour": "green",
        "maybe": None,
    }


def test_parameters_may_come_through_a_pipe(call: Call) -> None:
    done = call("run", "greet", "--params", "-", stdin='{"name": "Grace"}')
    assert done.out == '"Hello, Grace!"\n'


def test_wrong_parameters_are_named_and_nothing_is_started(call: Call) -> None:
    done = call("run", "typed", "-p", "whole=x", "-p", "txt=a", "-l", "wrong=parameters")
    assert (done.code, done.out) == (2, "")
    assert '  input.whole: must be a whole number, but is "x"' in done.err
    assert "  input.txt: is not a parameter of this provider; did you mean text?" in done.err
    assert "See what it takes:  runcast providers show typed" in done.err
    assert call("runs", "ls", "-l", "wrong=parameters", "-o", "name").out == ""


def test_what_only_the_server_can_judge_is_refused_in_the_same_way(call: Call) -> None:
    done = call("run", "greet", "-p", "name=")
    assert (done.code, done.out) == (2, "")
    assert "input.name: " in done.err
    assert "See what it takes:  runcast providers show greet" in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["fail", "-p", "message=no luck"], 1, "failed in"),
        (["partly"], 8, "succeeded with errors in"),
        (["too_long"], 4, "timed out in"),
        (["until", "-p", "path=/nowhere", "--run-timeout", "100ms"], 4, "timed out in"),
    ],
)
def test_the_exit_code_tells_the_outcome(call: Call, words: list[str], code: int, said: str) -> None:
    done = call("run", *words)
    assert done.code == code
    assert said in done.err


def test_a_failed_run_has_no_result_and_says_where_to_look(call: Call) -> None:
    done = call("run", "fail", "-p", "message=no luck")
    assert done.out == ""
    assert ": no luck" in done.err
    assert "where it failed:  runcast runs show run_" in done.err
    assert "Traceback" not in done.err


def test_failed_targets_are_told_ten_at_most_and_how_many_more(call: Call) -> None:
    done = call("run", "partly", "--progress", "plain")
    assert done.out == "88\n"
    ending = done.err.partition("succeeded with errors")[2]
    assert ", 12 targets failed: all but some\n  file-0: no permission (NOT_READABLE)\n" in ending
    assert "file-9" in ending
    assert "file-10" not in ending
    assert "… and 2 more:  runcast runs show run_" in ending


def test_a_retry_is_told_and_the_run_counts(call: Call) -> None:
    done = call("run", "flaky")
    assert (done.code, done.out) == (0, '"at last"\n')
    assert "WARNING attempt 1 failed: OSError: not yet; the next one comes in 50 ms" in done.err
    assert "attempt 2 begins" in done.err


def test_quiet_leaves_only_the_result_and_errors(call: Call) -> None:
    assert call("run", "flaky", "-q")[1:] == ('"at last"\n', "")
    assert call("run", "fail", "-q")[1:] == ("", "error: as asked\n")


def test_the_result_comes_in_the_format_that_was_asked_for(call: Call) -> None:
    ada = {"name": "Ada", "born": 1815}
    grace = {"name": "Grace", "born": 1906, "rank": "admiral"}
    assert json.loads(call("run", "records", "--json").out) == [ada, grace]
    assert [json.loads(each) for each in call("run", "records", "-o", "jsonl").out.splitlines()] == [
        ada,
        grace,
    ]
    assert call("run", "records", "-o", "name").out.startswith("run_")
    assert call("run", "records", "-o", "table").out.splitlines() == [
        "NAME   BORN  RANK",
        "Ada    1815",
        "Grace  1906  admiral",
    ]


def test_progress_as_json_is_nothing_but_json(call: Call) -> None:
    done = call("run", "flaky", "--progress", "json")
    events = [json.loads(each) for each in done.err.splitlines()]
    assert events[0]["type"] == "started"
    assert events[-1]["type"] == "completed"
    assert events[-1]["run"]["state"] == "SUCCEEDED"
    assert [each["sequence"] for each in events[1:-1]] == list(range(1, len(events) - 1))


def test_a_request_id_starts_one_run_however_often_it_is_said(call: Call) -> None:
    words = ["greet", "-p", "name=Ada", "--request-id", "cli-once"]
    assert started(call, *words) == started(call, *words)
    again = call("run", *words)
    assert again.code == 0
    assert "already started; come back" in again.err
    other = call("run", "greet", "-p", "name=Grace", "--request-id", "cli-once")
    assert other.code == 7


def test_a_run_id_that_is_taken_is_a_conflict_unless_the_existing_run_will_do(call: Call) -> None:
    words = ["greet", "-p", "name=Ada", "--run-id", "cli-taken"]
    assert started(call, *words) == "cli-taken"
    taken = call("start", *words)
    assert taken.code == 7
    assert "--use-existing" in taken.err
    assert call("run", *words, "--use-existing").out == '"Hello, Ada!"\n'


def test_labels_priority_and_limits_are_kept_on_the_run(call: Call) -> None:
    run = started(
        call,
        "greet",
        "-p",
        "name=Ada",
        "-l",
        "who=cli",
        "-l",
        "empty",
        "--priority",
        "7",
        "--attempts",
        "3",
        "--attempt-timeout",
        "1m30s",
    )
    shown = json.loads(call("runs", "show", run, "--json").out)
    assert shown["labels"] == {"who": "cli", "empty": ""}
    assert shown["spec"]["priority"] == 7
    assert shown["spec"]["retry"]["max_attempts"] == 3
    assert shown["spec"]["timeouts"]["attempt"] == "90s"


# ------------------------------------------------------------------------------------------------ dangerous, expensive
@pytest.mark.parametrize("command", ["run", "start"])
@pytest.mark.parametrize(
    ("provider", "why"), [("dangerous", "It deletes everything"), ("expensive", "costs much time or money")]
)
def test_what_is_dangerous_or_expensive_needs_a_yes_where_nobody_can_be_asked(
    call: Call, command: str, provider: str, why: str
) -> None:
    done = call(command, provider, "-l", f"danger={command}")
    assert (done.code, done.out) == (2, "")
    assert why in done.err
    assert "--yes" in done.err
    assert call("runs", "ls", "--provider", provider, "-l", f"danger={command}", "-o", "name").out == ""
    assert call(command, provider, "--yes").code == 0
