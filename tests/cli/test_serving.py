"""`serve` and `dev` become the server: its flags, its folder, its signals."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runcast.cli.commands.dev import next_steps
from tests.cli.conftest import PROVIDERS, Call, program


@pytest.fixture
def folder(tmp_path: Path, surroundings: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Becoming:
    """What the program would have become."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, path: str, words: list[str]) -> None:
        assert path == sys.executable
        assert words[:3] == [sys.executable, "-m", "runcast.server"]
        self.words = words[3:]


@pytest.fixture
def becoming(monkeypatch: pytest.MonkeyPatch) -> Becoming:
    """Nothing is started."""
    what = Becoming()
    monkeypatch.setattr(os, "execv", what)
    return what


def test_serve_hands_on_the_flags_that_were_given_and_no_other(call: Call, becoming: Becoming) -> None:
    call("serve")
    assert becoming.words == []
    call("serve", "--listen", "[::1]:0", "--storage", "memory://", "--providers", "a", "--providers", "b.py")
    assert becoming.words == [
        *("--listen", "[::1]:0", "--storage", "memory://", "--providers", "a", "--providers", "b.py")
    ]


def test_dev_keeps_its_runs_in_this_folder_and_serves_the_examples(
    call: Call, becoming: Becoming, folder: Path
) -> None:
    done = call("dev")
    assert becoming.words == [
        *("--listen", "127.0.0.1:7433", "--storage", "sqlite:///.runcast/dev.db", "--providers", "examples")
    ]
    assert (folder / ".runcast").is_dir()
    assert "  runcast run countdown -p seconds=5\n" in done.err
    assert done.out == ""


def test_dev_leaves_alone_what_the_environment_says(
    call: Call, becoming: Becoming, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNCAST_STORAGE", "memory://")
    monkeypatch.setenv("RUNCAST_LISTEN", "127.0.0.1:9999")
    monkeypatch.setenv("RUNCAST_PROVIDERS", "mine")
    done = call("dev")
    assert becoming.words == []
    assert not (folder / ".runcast").exists()
    assert "runcast runs ls --server localhost:9999" in done.err


def test_dev_names_the_server_in_its_hints_where_it_is_not_the_usual_one() -> None:
    assert "  runcast providers ls" in next_steps("127.0.0.1:7433", examples=True)
    assert "  runcast providers ls --server localhost:80" in next_steps("0.0.0.0:80", examples=True)
    assert not any("countdown" in each for each in next_steps("127.0.0.1:7433", examples=False))


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_without_the_server_installed_it_says_how_to_install_it(
    call: Call, becoming: Becoming, folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = call(command)
    assert (done.code, becoming.words) == (2, [])
    assert "pip install 'runcast[server]'" in done.err
    assert not (folder / ".runcast").exists()


@pytest.fixture
def dev(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """`runcast dev` on a free port."""
    words = program(["dev", "--listen", "127.0.0.1:0", "--providers", PROVIDERS])
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_dev_really_serves_and_ends_cleanly_with_a_signal(
    dev: "subprocess.Popen[str]", call: Call, folder: Path
) -> None:
    assert dev.stdout is not None
    found = re.search(r"listening on (\S+)[, ]", dev.stdout.readline())
    assert found is not None
    server = ["--server", found[1].rstrip(",")]
    assert call("health", *server).code == 0
    assert call("run", "records", *server).code == 0
    assert (folder / ".runcast" / "dev.db").exists()
    dev.send_signal(signal.SIGTERM)
    assert dev.wait(30) == 0
    assert call("health", *server).code == 69
