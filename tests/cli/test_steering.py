"""Cancelling, pausing, resuming, retrying and removing: one run or several."""

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Call, started
from tests.cli.screen import Screen

Screens = Callable[..., Screen]


def waiting(call: Call, label: str, count: int = 1) -> list[str]:
    """Runs whose time has not come."""
    return [
        started(call, "greet", "-p", "name=Ada", "--start-after", "1h", "-l", label) for _ in range(count)
    ]


def states(call: Call, label: str) -> set[str]:
    """The states of all runs with that label."""
    return {each["state"] for each in json.loads(call("runs", "ls", "-l", label, "--json").out)}


# ------------------------------------------------------------------------------------------------------ pause, resume
def test_a_paused_run_stands_still_until_it_is_resumed(call: Call) -> None:
    [run] = waiting(call, "steer=pause")
    paused = call("pause", run, "--reason", "the disk is full")
    assert (paused.code, paused.out) == (0, "")
    assert paused.err == f"{run} is paused\nlet it go on with:  runcast resume {run}\n"
    for words in (["watch", run], ["wait", run], ["result", run], ["logs", run, "-f"]):
        done = call(*words)
        assert done.code == 9, words
        assert f"runcast resume {run}" in done.err or words[0] == "wait"
    assert json.loads(call("resume", run, "--json").out)["state"] == "SCHEDULED"
    assert call("resume", run).code == 7


def test_one_that_cannot_be_paused_does_not_stop_the_others(call: Call) -> None:
    [run] = waiting(call, "steer=some")
    done = call("pause", "run_nobody", run, "-o", "name")
    assert (done.code, done.out) == (5, f"{run}\n")
    assert "run_nobody" in done.err


# --------------------------------------------------------------------------------------------------------------- retry
def test_a_retry_is_a_new_run_with_the_parameters_of_the_old_one(call: Call) -> None:
    old = started(call, "typed", "-p", "text=a", "-p", "whole=1")
    assert call("wait", old).code == 0
    done = call("retry", old, "-p", "whole=2")
    new = done.out.strip()
    assert done.code == 0
    assert f"runcast watch {new}" in done.err
    assert call("wait", new).code == 0
    result = json.loads(call("result", new).out)
    assert (result["text"], result["whole"]) == ("a", 2)
    assert json.loads(call("runs", "show", new, "--json").out)["retry_of"] == old


def test_a_retry_that_is_followed_ends_as_run_does(call: Call) -> None:
    old = started(call, "fail", "-p", "message=again")
    assert call("wait", old).code == 1
    done = call("retry", old, "--follow")
    assert (done.code, done.out) == (1, "")
    assert "started; come back to it with:  runcast watch run_" in done.err
    assert "failed in" in done.err


def test_what_cannot_be_retried_is_a_conflict(call: Call) -> None:
    [run] = waiting(call, "steer=early")
    assert call("retry", run).code == 7
    ended = started(call, "greet", "-p", "name=Ada")
    assert call("wait", ended).code == 0
    assert call("retry", ended, "--from-checkpoint").code == 7
    assert call("retry", ended, "--failed-only").code == 7


def test_a_dangerous_run_is_not_retried_without_a_yes(call: Call) -> None:
    run = started(call, "dangerous", "--yes")
    assert call("wait", run).code == 0
    refused = call("retry", run)
    assert refused.code == 2
    assert "Say --yes if you mean it." in refused.err
    assert call("retry", run, "--yes").code == 0


# ------------------------------------------------------------------------------------------------------------- several
@pytest.mark.parametrize("command", [["cancel"], ["runs", "rm"]], ids=" ".join)
def test_several_are_touched_after_a_yes_only(call: Call, command: list[str]) -> None:
    label = f"bulk={'-'.join(command)}"
    runs = waiting(call, label, 3)
    if command[-1] == "rm":
        assert call("cancel", *runs, "--yes").code == 0
    for words in ([*runs], ["-l", label]):
        refused = call(*command, *words)
        assert (refused.code, refused.out) == (2, "")
        assert "3 runs: " in refused.err
        assert "nothing was changed\nSay --yes if you mean it.\n" in refused.err
    done = call(*command, "-l", label, "--yes", "-o", "name")
    assert (done.code, sorted(done.out.split())) == (0, sorted(runs))
    left = states(call, label)
    assert left == ({"CANCELLED"} if command == ["cancel"] else set())
    nothing = call(*command, "-l", label, "--yes", "--state", "queued")
    assert nothing.code == 0
    assert "no runs that match" in nothing.err


def test_by_options_only_what_can_be_touched_is_found(call: Call) -> None:
    label = "bulk=mixed"
    [ahead] = waiting(call, label)
    done = started(call, "greet", "-p", "name=Ada", "-l", label)
    assert call("wait", done).code == 0
    assert call("runs", "rm", "-l", label, "--yes", "-o", "name").out == f"{done}\n"
    assert call("cancel", "-l", label, "--yes", "-o", "name").out == f"{ahead}\n"


def test_a_run_that_goes_on_is_not_removed(call: Call) -> None:
    [run] = waiting(call, "bulk=no")
    assert call("runs", "rm", run).code == 7
    assert call("runs", "rm", "run_nobody").code == 5


def test_a_person_is_asked_and_told_how_many(screens: Screens, call: Call) -> None:
    runs = waiting(call, "bulk=asked", 5)
    screen = screens("cancel", "-l", "bulk=asked", columns=200)
    screen.until(r"this will cancel 5 runs: run_\w+, run_\w+, run_\w+ …\.\nGo on\? \[y/N\]")
    screen.press("n\n")
    assert screen.end() == 3
    assert states(call, "bulk=asked") == {"SCHEDULED"}
    screen = screens("cancel", "-l", "bulk=asked", columns=200)
    screen.until(r"Go on\? \[y/N\]")
    screen.press("y\n")
    assert screen.end() == 0
    assert all(f"{run} is cancelled" in screen.display.text for run in runs)
