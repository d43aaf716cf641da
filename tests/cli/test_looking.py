"""Lists, details, health, and what is said where something is not there."""

import json

import pytest

from tests.cli.conftest import Call, started


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
        ["runs", "ls", "-o", "xml"],
        ["runs", "ls", "--ref", ":x"],
        ["runs", "ls", "--since", "fish"],
        ["cancel"],
        ["cancel", "x", "--state", "queued"],
        ["run", "greet", "--priority", "2147483648"],
        ["run", "greet", "-p", "name=Ada", "--priority", "99999999999999999999"],
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
