"""`logs` and `runs events`: what a run has said, all at once or as it comes."""

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Call, started

Processes = Callable[..., "subprocess.Popen[str]"]
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def printed(call: Call) -> str:
    """A run that has printed three lines."""
    run = started(call, "prints")
    assert call("wait", run).code == 0
    return run


def test_lines_have_their_time_in_utc_and_their_level(call: Call, printed: str) -> None:
    done = call("logs", printed)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(rf"({STAMP} INFO printed \d\n){{3}}", done.out)
    assert call("logs", printed, "--bare").out == "printed 0\nprinted 1\nprinted 2\n"


def test_tail_since_and_follow_choose_the_same_lines(call: Call, printed: str) -> None:
    lines = [json.loads(each) for each in call("logs", printed, "-o", "jsonl").out.splitlines()]
    assert [each["log"]["message"] for each in lines] == ["printed 0", "printed 1", "printed 2"]
    assert json.loads(call("logs", printed, "-o", "json").out) == lines
    since = str(lines[0]["sequence"])
    for more in ([], ["-f"]):
        assert call("logs", printed, "--bare", "--tail", "1", *more).out == "printed 2\n"
        assert call("logs", printed, "--bare", "--tail", "0", *more).out == ""
        assert (
            call("logs", printed, "--bare", "--since-sequence", since, *more).out == "printed 1\nprinted 2\n"
        )


def test_a_level_leaves_out_what_is_less_grave_and_nothing_is_obeyed(call: Call, printed: str) -> None:
    assert call("logs", printed, "--level", "warning").out == ""
    run = started(call, "nasty")
    assert call("wait", run).code == 0
    assert re.fullmatch(rf"{STAMP} WARNING before after\n", call("logs", run, "--level", "warning").out)
    assert call("logs", run, "--level", "error").out == ""


def test_a_run_that_failed_has_logs_all_the_same_and_one_that_is_not_there_has_none(call: Call) -> None:
    run = started(call, "fail")
    assert call("wait", run).code == 1
    assert call("logs", run, "-f").code == 0
    assert call("logs", "run_nobody").code == call("logs", "run_nobody", "-f").code == 5


def test_followed_lines_come_one_by_one_and_leaving_says_how_to_go_on(
    processes: Processes, call: Call, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    run = started(call, "slow_to_stop", "-p", f"path={go}")
    process = processes("logs", run, "-f")
    assert process.stdout is not None
    assert process.stdout.readline().endswith(" INFO working\n")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    found = re.search(r"runcast (logs .* --since-sequence \d+)", err)
    assert found is not None
    assert call("cancel", run).code == 0
    again = processes(*found[1].split())
    assert again.stdout is not None
    assert again.stdout.readline().endswith(" INFO cleaning up\n")
    go.touch()
    assert again.wait(20) == 0


def test_progress_of_a_followed_run_goes_to_stderr_where_it_is_asked_for(call: Call) -> None:
    run = started(call, "countdown", "-p", "seconds=1")
    done = call("logs", run, "-f", "--bare", "--progress", "json")
    assert done.out == "1 …\n"
    kinds = {json.loads(each)["type"] for each in done.err.splitlines()}
    assert kinds <= {"started", "progress"}
    assert call("logs", run, "--progress", "tty").code == 2


def test_json_is_refused_for_what_has_no_end(call: Call, printed: str) -> None:
    done = call("logs", printed, "-f", "--json")
    assert done.code == 2
    assert "use -o jsonl" in done.err


# -------------------------------------------------------------------------------------------------------------- events
def test_events_are_listed_as_they_are_stored(call: Call, printed: str) -> None:
    told = [json.loads(each) for each in call("runs", "events", printed, "-o", "jsonl").out.splitlines()]
    assert [each["sequence"] for each in told] == list(range(1, len(told) + 1))
    assert told[-1]["state_changed"]["to_state"] == "SUCCEEDED"
    assert json.loads(call("runs", "events", printed, "--json").out) == told
    logs = call("runs", "events", printed, "--type", "log", "-o", "name").out.split()
    assert logs == [str(each["sequence"]) for each in told if each["type"] == "log"]
    assert call("runs", "events", printed, "--type", "log", "-n", "1", "-o", "name").out.split() == logs[:1]
    table = call("runs", "events", printed).out.splitlines()
    assert table[0].split() == ["SEQUENCE", "TIME", "ATTEMPT", "TYPE", "WHAT"]
    assert len(table) == len(told) + 1


def test_a_type_that_does_not_exist_is_refused(call: Call, printed: str) -> None:
    assert call("runs", "events", printed, "--type", "nonsense").code == 2
