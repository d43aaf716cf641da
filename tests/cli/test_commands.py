"""Each command against a real server: what goes to stdout, what to stderr, and the exit code."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call


def started(call: Call, *arguments: str) -> str:
    """The id of a run that was started and left."""
    done = call("start", *arguments)
    assert done.code == 0, done.err
    return done.out.strip()


# ----------------------------------------------------------------------------------------------------------------- run
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


# -------------------------------------------------------------------------------------------- start, watch, wait, result
def test_start_prints_the_id_and_how_to_come_back(call: Call) -> None:
    done = call("start", "greet", "-p", "name=Ada")
    run = done.out.strip()
    assert done.out == f"{run}\n"
    assert done.err == f"come back to it with:  runcast watch {run}\n"


def test_the_way_back_names_the_server_that_was_typed(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from os import environ

    address = environ["RUNCAST_SERVER"]
    monkeypatch.setenv("RUNCAST_SERVER", "localhost:1")
    for words in (["--server", address, "start", "records"], ["start", "records", "-s", address]):
        assert f" --server {address}\n" in call(*words).err


def test_watch_tells_a_run_that_has_ended_from_its_beginning(call: Call) -> None:
    run = started(call, "flaky")
    assert call("wait", run).code == 0
    done = call("watch", run)
    assert (done.code, done.out) == (0, '"at last"\n')
    assert "attempt 1 failed" in done.err


def test_watch_as_json_lines_gives_every_event_to_stdout_and_the_run_at_last(call: Call) -> None:
    run = started(call, "flaky")
    done = call("watch", run, "-o", "jsonl")
    lines = [json.loads(each) for each in done.out.splitlines()]
    assert [each["sequence"] for each in lines[1:-1]] == list(range(1, len(lines) - 1))
    assert (lines[0]["type"], lines[-1]["type"]) == ("started", "completed")
    assert lines[-1]["run"]["output"] == "at last"
    assert done.err == ""


def test_watch_begins_where_it_is_told_to(call: Call) -> None:
    run = started(call, "flaky")
    total = len(call("watch", run, "-o", "jsonl").out.splitlines())
    assert len(call("watch", run, "--after", "2", "-o", "jsonl").out.splitlines()) == total - 2
    assert len(call("watch", run, "--last", "3", "-o", "jsonl").out.splitlines()) == 5
    assert len(call("watch", run, "--last", "0", "-o", "jsonl").out.splitlines()) == 2
    assert call("watch", run, "--after", "2", "--last", "3").code == 2


def test_watch_behind_the_end_is_refused(call: Call) -> None:
    assert call("watch", started(call, "greet", "-p", "name=Ada"), "--after", "9999").code == 2


def test_wait_says_only_how_it_ended(call: Call) -> None:
    run = started(call, "flaky")
    done = call("wait", run)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith(f"waiting for {run}\n{run} succeeded in ")
    assert json.loads(call("wait", run, "--json").out)["state"] == "SUCCEEDED"


def test_wait_for_several_tells_each_and_exits_by_the_first_that_did_not_succeed(call: Call) -> None:
    runs = [started(call, "flaky"), started(call, "fail"), started(call, "partly")]
    done = call("wait", *runs)
    assert done.code == 1
    assert all(run in done.err for run in runs)
    assert call("wait", *reversed(runs)).code == 8


def test_result_gives_what_is_stored_and_exits_by_the_state(call: Call) -> None:
    assert call("run", "greet", "-p", "name=Ada", "--run-id", "cli-result", "-q").code == 0
    assert call("result", "cli-result")[:2] == (0, '"Hello, Ada!"\n')
    assert call("run", "fail", "-q", "--run-id", "cli-failed").code == 1
    failed = call("result", "cli-failed")
    assert (failed.code, failed.out) == (1, "")
    assert "as asked" in failed.err


def test_a_run_that_goes_on_has_no_result_yet(call: Call, tmp_path: Path) -> None:
    go = tmp_path / "go"
    run = started(call, "until", "-p", f"path={go}")
    done = call("result", run)
    assert (done.code, done.out) == (7, "")
    assert f"runcast wait {run}" in done.err
    go.touch()
    assert call("wait", run).code == 0
    assert call("result", run).out == '"seen"\n'


def test_cancel_ends_a_run_with_its_reason(call: Call) -> None:
    run = started(call, "until", "-p", "path=/nowhere")
    done = call("cancel", run, "--reason", "no need")
    assert done.code == 0
    assert run in done.err
    assert call("wait", run).code == 3
    assert "no need" in call("runs", "show", run).out
    assert call("cancel", run, "--now").err == f"{run} is cancelled\n"


def test_the_persons_own_patience_ends_with_124_and_the_run_goes_on(call: Call, tmp_path: Path) -> None:
    go = tmp_path / "go"
    words = ["until", "-p", f"path={go}", "--run-id", "cli-patience"]
    done = call("run", *words, "--timeout", "1s")
    assert (done.code, done.out) == (124, "")
    assert "error: gave up after 1.0 s; the run goes on" in done.err
    assert "Come back to it with:  runcast watch cli-patience" in done.err
    assert call("--timeout", "200ms", "wait", "cli-patience").code == 124
    go.touch()
    assert call("watch", "cli-patience").out == '"seen"\n'


# ------------------------------------------------------------------------------------------------------------- looking
def test_runs_ls_filters_and_gives_the_newest_first(call: Call) -> None:
    runs = [started(call, "greet", "-p", "name=Ada", "-l", "list=cli") for _ in range(3)]
    runs.append(started(call, "fail", "-l", "list=cli"))
    assert call("wait", *runs).code == 1
    mine = ["runs", "ls", "-l", "list=cli"]
    assert call(*mine, "-o", "name").out.split() == runs[::-1]
    assert call(*mine, "-o", "name", "--state", "failed").out.split() == runs[3:]
    assert call(*mine, "-o", "name", "--state", "SUCCEEDED,timed-out").out.split() == runs[2::-1]
    assert call(*mine, "-o", "name", "--provider", "fail").out.split() == runs[3:]
    assert [each["id"] for each in json.loads(call(*mine, "--json").out)] == runs[::-1]
    limited = call(*mine, "-n", "2")
    assert [each.split()[0] for each in limited.out.splitlines()] == ["ID", runs[3], runs[2]]
    assert "there are more" in limited.err


def test_runs_ls_without_a_match_says_so_and_exits_with_0(call: Call) -> None:
    done = call("runs", "ls", "--provider", "nobody")
    assert done == (0, "", "no runs that match\n")


def test_an_unknown_state_is_refused_with_the_known_ones(call: Call) -> None:
    done = call("runs", "ls", "--state", "blue")
    assert done.code == 2
    assert "succeeded_with_errors" in done.err


def test_times_in_json_are_rfc_3339_in_utc_and_numbers_are_numbers(call: Call) -> None:
    run = json.loads(call("runs", "show", started(call, "greet", "-p", "name=Ada"), "--json").out)
    assert run["create_time"].endswith("Z")
    assert isinstance(run["last_sequence"], int)
    assert run["attempts"][0]["number"] == 1


def test_runs_show_tells_the_attempts_and_where_the_code_failed(call: Call) -> None:
    call("run", "fail", "-q", "--run-id", "cli-shown", "-p", "message=no luck")
    done = call("runs", "show", "cli-shown")
    assert done.code == 0
    assert "failed" in done.out
    assert '{"message":"no luck"}' in done.out
    assert "Traceback (most recent call last):" in done.out


def test_providers_are_listed_by_name_and_found_by_words(call: Call) -> None:
    names = call("providers", "ls", "-o", "name").out.split()
    assert names == sorted(names)
    assert {"countdown", "greet", "typed"} <= set(names)
    assert call("providers", "ls", "--search", "hello", "-o", "name").out.split() == ["greet"]
    assert call("providers", "ls", "--tag", "nobody") == (0, "", "no providers that match\n")


def test_a_providers_parameters_read_as_a_list(call: Call) -> None:
    done = call("providers", "show", "typed")
    assert "  text  string, required\n      Anything.\n" in done.out
    assert "  whole  integer, default 0\n" in done.out
    assert '  colour  "red" | "green", default "red"\n' in done.out
    assert "Start it with:  runcast run typed -p text=…" in done.out
    schema = json.loads(call("providers", "show", "typed", "--json").out)["input_schema"]
    assert schema["properties"]["whole"]["default"] == 0


def test_a_dangerous_provider_says_so(call: Call) -> None:
    assert "It deletes everything." in call("providers", "show", "dangerous").out


def test_health_and_info_tell_of_the_server(call: Call) -> None:
    assert call("health") == (0, "serving\n", "")
    assert json.loads(call("health", "--json").out)["status"] == "SERVING"
    shown = call("info")
    assert shown.code == 0
    assert "process: runs live as long as the server's process" in shown.out
    assert json.loads(call("info", "--json").out)["durability"] == "PROCESS"


# -------------------------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    "words",
    [["watch"], ["wait"], ["result"], ["cancel"], ["runs", "show"]],
    ids=" ".join,
)
def test_a_run_that_is_not_there_exits_with_5(call: Call, words: list[str]) -> None:
    done = call(*words, "run_nobody")
    assert (done.code, done.out) == (5, "")
    assert "run_nobody" in done.err


@pytest.mark.parametrize("words", [["run"], ["start"], ["providers", "show"]])
def test_a_provider_that_is_not_there_exits_with_5(call: Call, words: list[str]) -> None:
    assert call(*words, "nobody").code == 5


@pytest.mark.parametrize(
    "words",
    [
        ["run", "greet"],
        ["start", "greet"],
        ["watch", "x"],
        ["wait", "x"],
        ["result", "x"],
        ["cancel", "x"],
        ["runs", "ls"],
        ["providers", "ls"],
        ["health"],
        ["info"],
    ],
    ids=lambda words: words[0],
)
def test_without_a_server_it_says_how_to_start_one_and_exits_with_69(
    call: Call, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("RUNCAST_SERVER", "localhost:1")
    done = call(*words)
    assert (done.code, done.out) == (69, "")
    assert done.err.startswith("error: no server answers at localhost:1 (")
    assert "runcast dev" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["run"],
        ["run", "greet", "--nonsense"],
        ["runs", "ls", "-o", "yaml"],
        ["info", "-o", "name"],
        ["run", "greet", "--timeout", "fish"],
        ["run", "greet", "-l", "=x"],
        ["run", "greet", "--start-after", "fish"],
        ["run", "greet", "--start-after", "2026-01-01T00:00:00"],
        ["run", "greet", "--use-existing"],
        ["run", "greet", "--params", "@/no/such/file"],
        ["run", "greet", "--attempts", "0"],
        ["run", "greet", "-p", "name=Ada", "--progress", "tty"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(call: Call, words: list[str]) -> None:
    done = call(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
