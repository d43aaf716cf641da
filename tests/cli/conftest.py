"""One real server for the tests of the command line, and `runcast` as its user calls it."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from runcast.cli import main
from tests.cli.screen import Screen
from tests.serving import ServerProcess

PROVIDERS = str(Path(__file__).with_name("provided.py"))


class Done(NamedTuple):
    """What a call of `runcast` came to."""

    code: int
    out: str
    err: str


Call = Callable[..., Done]


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A server with the examples and the providers of these tests."""
    with ServerProcess(providers=["examples", PROVIDERS]) as process:
        yield process
        assert process.stop() == 0, process.errors


@pytest.fixture
def surroundings(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing of the person who runs the tests, and the address of their server."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    for name in [name for name in os.environ if name.startswith("RUNCAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RUNCAST_SERVER", server.address)


@pytest.fixture
def call(surroundings: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls `runcast` within this process, which is quick: `call("run", "greet", "-p", "name=Ada")`."""

    def run(*arguments: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        written = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, written.out, written.err)

    return run


@pytest.fixture
def screens(surroundings: None) -> Iterator[Callable[..., Screen]]:
    """Calls `runcast` on a terminal of its own: `screens("run", "greet", columns=60)`."""
    opened: list[Screen] = []

    def open_screen(
        *arguments: str, columns: int = 100, environment: Mapping[str, str] | None = None
    ) -> Screen:
        opened.append(Screen(arguments, environment, columns=columns))
        return opened[-1]

    yield open_screen
    for screen in opened:
        screen.close()


def program(arguments: Sequence[str]) -> list[str]:
    """The words that start `runcast` as a process of its own."""
    return [sys.executable, "-m", "runcast.cli", *arguments]


@pytest.fixture
def processes(surroundings: None) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `runcast` as a process of its own, in pipes."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                program(arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def started(call: Call, *arguments: str) -> str:
    """The id of a run that was started and left."""
    done = call("start", *arguments)
    assert done.code == 0, done.err
    return done.out.strip()
