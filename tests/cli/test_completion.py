"""What a shell offers behind Tab."""

import os
import subprocess

import pytest

from tests.cli.conftest import Call, program, started


def offered(words: str, **environment: str) -> list[str]:
    """What bash would offer for the last of these words."""
    asked = {
        "_RUNCAST_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        program([]), capture_output=True, text=True, env={**os.environ, **asked, **environment}, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_words(call: Call, shell: str) -> None:
    done = call("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert f"_RUNCAST_COMPLETE=complete_{shell}" in done.out


def test_a_shell_that_is_not_known_is_refused(call: Call) -> None:
    assert call("completion", "dos").code == 2


def test_commands_and_ids_are_offered(call: Call) -> None:
    assert offered("runcast comp") == ["completion"]
    run = started(call, "greet", "-p", "name=Ada", "--run-id", "complete-me")
    assert offered("runcast watch complete-") == [run]
    assert offered("runcast cancel complete-") == [run]
    assert offered("runcast run gre") == ["greet"]
    assert call("tasks", "create", "complete-too", "--provider", "greet").code == 0
    assert offered("runcast tasks show complete-") == ["complete-too"]
    assert offered("runcast run --task complete-") == ["complete-too"]


def test_without_a_server_nothing_is_offered_and_nothing_is_said(surroundings: None) -> None:
    assert offered("runcast watch run_", RUNCAST_SERVER="localhost:1") == []
    assert offered("runcast watch run_", RUNCAST_PROFILE="nobody") == []
