"""The main job, as a person would do it: serve, run with a live bar, look at the result, replay, leave."""

import contextlib
import json
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

_FOLDER = Path(".runcast")
_STORE = _FOLDER / "demo.db"
_READY = "listening on "


def main() -> int:
    """Exit code 0 if every step did what it is to show."""
    runcast = _command()
    with _server(runcast) as address:
        ours = [runcast, "--server", address]
        library = sysconfig.get_paths()["stdlib"]
        _say("Run a provider: hash every file of Python's standard library, and watch it live.")
        _do(
            [
                *ours,
                "run",
                "fingerprint",
                "-p",
                f"path={library}",
                "-p",
                "exclude=site-packages",
                "-p",
                "largest=10",
            ]
        )
        run_id = _newest(ours)
        _say("The run is stored: what it was, how it went, and what came of it.")
        _do([*ours, "runs", "show", run_id])
        _say("Anyone may watch it from the start, also now that it is over: a replay of its journal.")
        _do([*ours, "watch", run_id])
        _say("And all that happened here so far:")
        _do([*ours, "runs", "ls"])
    _say(
        f'That was it. The store stays in {_STORE}; `make clean` removes it. Next: README.md, "A first provider".'
    )
    return 0


def _command() -> str:
    """The command line that belongs to this Python, else the one on the path."""
    beside = Path(sys.executable).with_name("runcast")
    found = str(beside) if beside.exists() else shutil.which("runcast")
    if found is None:
        sys.exit("runcast: the command is not installed: pip install 'runcast[server]'")
    return found


@contextlib.contextmanager
def _server(runcast: str) -> Iterator[str]:
    """A server with the examples on a free port and a SQLite file here; drained at the end."""
    _FOLDER.mkdir(exist_ok=True)
    command = [runcast, "serve", "--listen", "127.0.0.1:0", "--storage", f"sqlite:///{_STORE}"]
    command += ["--providers", "examples"]
    _say("Start a server: one process, one SQLite file.")
    _show(command)
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if _READY not in line:
            sys.exit(server.wait() or 1)
        sys.stderr.write(line)
        yield line.partition(_READY)[2].split(",")[0].strip()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def _newest(ours: list[str]) -> str:
    listed = subprocess.run(
        [*ours, "runs", "ls", "--limit", "1", "-o", "json"], check=True, capture_output=True, text=True
    )
    run_id: str = json.loads(listed.stdout)[0]["id"]
    return run_id


def _do(command: list[str]) -> None:
    _show(command)
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(f"demo: that ended with exit code {done.returncode}")


def _show(command: list[str]) -> None:
    sys.stderr.write(f"$ {shlex.join(['runcast', *command[1:]])}\n")
    sys.stderr.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"\n── {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
