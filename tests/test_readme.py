"""Runs what README.md tells a reader to do: each file is written, each command typed, in its order."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.rpc.reflecting import ReflectingClient

README = Path(__file__).parent.parent / "README.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SERVERS = ("runcast dev", "runcast serve")
_EXIT_CODES = {"runcast run pack": 8, "runcast wait my-run": 3}


class Reader:
    """A person with a folder, a terminal, and a server in another one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        scripts = str(Path(sys.executable).parent)
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("RUNCAST_")} | {
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "RUNCAST_LISTEN": "127.0.0.1:0",
        }
        self._server: subprocess.Popen[str] | None = None
        self._address = ""

    def write(self, text: str) -> None:
        """A file whose first line is its name."""
        name = text.splitlines()[0].removeprefix("# ")
        (self._folder / name).write_text(text.replace("localhost:7433", self._address))

    def type(self, line: str) -> None:
        """A command."""
        command = line.partition("  #")[0].strip()
        if command.startswith("make "):
            self._make(command)
        elif command.startswith(_SERVERS):
            self._serve(command)
        elif command.startswith("grpcurl"):
            self._grpcurl(command)
        else:
            done = self._run(command)
            expected = next((code for start, code in _EXIT_CODES.items() if command.startswith(start)), 0)
            assert done.returncode == expected, (command, done.stdout, done.stderr)

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            shell=True,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=self._environment,
            timeout=50,
            check=False,
        )

    def _make(self, command: str) -> None:
        """In the project's folder; the tests themselves are not run again by a test."""
        dry = ["-n"] if command == "make test" else []
        done = subprocess.run(
            [*shlex.split(command), *dry],
            cwd=README.parent,
            capture_output=True,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith(("RUNCAST_", "MAKE"))},
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout[-2_000:], done.stderr[-2_000:])

    def _serve(self, command: str) -> None:
        self.leave()
        command = re.sub(r"127\.0\.0\.1:7433", "127.0.0.1:0", command)
        self._server = subprocess.Popen(
            shlex.split(command),
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        self._address = line.partition("listening on ")[2].split(",")[0]
        assert self._address, line
        self._environment["RUNCAST_SERVER"] = self._address

    def _grpcurl(self, command: str) -> None:
        """The real one where it is installed, else a client that also knows nothing but reflection."""
        words = shlex.split(command.replace("localhost:7433", self._address))
        if shutil.which("grpcurl"):
            subprocess.run(words, check=True, capture_output=True, timeout=30)
            return
        with grpc.insecure_channel(self._address) as channel:
            answers = ReflectingClient(channel, "v1").call(words[-1], words[words.index("-d") + 1])
        assert answers

    def leave(self) -> None:
        """Stop the server in the other terminal."""
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            assert self._server.wait(30) == 0
            assert self._server.stdout is not None
            self._server.stdout.close()
            self._server = None


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[Reader]:
    """A reader who tidies up."""
    reader = Reader(folder)
    try:
        yield reader
    finally:
        reader.leave()


@pytest.mark.timeout(300)
def test_every_file_and_command_of_the_readme_works(tmp_path: Path) -> None:
    blocks = _BLOCK.findall(README.read_text())
    assert len(blocks) >= 8
    with reading(tmp_path) as reader:
        for language, text in blocks:
            if language == "python":
                reader.write(text)
            else:
                assert language == "sh", language
                for line in text.splitlines():
                    reader.type(line)


def test_what_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    missing = [link for link in links if "://" not in link and not (README.parent / link).exists()]
    assert not missing
