"""`watch`, `wait`, `result` and `cancel`, and how long a person waits."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call, started


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
