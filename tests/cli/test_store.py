"""`runcast store`: back-up and check, as an operator calls them while a server runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.serving import ServerProcess


def runcast(*words: str, cwd: Path) -> Done:
    """The program as a process of its own: it becomes another one."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RUNCAST_")}
    done = subprocess.run(
        [sys.executable, "-m", "runcast.cli", *words],
        capture_output=True, text=True, cwd=cwd, env=clean, timeout=30, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def test_a_store_is_checked_and_backed_up_while_a_server_runs_on_it(tmp_path: Path) -> None:
    with ServerProcess("sqlite:///runs.db", cwd=tmp_path) as server:
        started = runcast("run", "countdown", "-p", "seconds=0", "--server", server.address, cwd=tmp_path)
        assert started.code == 0, started
        checked = runcast("store", "check", "sqlite:///runs.db", cwd=tmp_path)
        assert (checked.code, checked.err) == (0, "")
        assert "1 runs" in checked.out
        assert "sqlite:///runs.db: all is well\n" in checked.out
        copied = runcast("store", "backup", "sqlite:///runs.db", "copy.db", cwd=tmp_path)
        assert (copied.code, copied.err) == (0, "")
        assert copied.out.startswith("wrote copy.db: 1 runs, ")
        again = runcast("store", "backup", "sqlite:///runs.db", "copy.db", cwd=tmp_path)
        assert (again.code, again.out) == (1, "")
        assert again.err == "error: back-up copy.db: it exists; name another file, or say --overwrite\n"
        over = runcast("store", "backup", "--overwrite", "sqlite:///runs.db", "copy.db", cwd=tmp_path)
        assert over.code == 0
    with ServerProcess("sqlite:///copy.db", cwd=tmp_path) as server:
        listed = runcast("runs", "ls", "--server", server.address, cwd=tmp_path)
        assert "countdown" in listed.out


def test_a_store_that_a_killed_server_left_is_checked_and_backed_up(tmp_path: Path) -> None:
    with ServerProcess("sqlite:///runs.db", cwd=tmp_path) as server:
        runcast("run", "countdown", "-p", "seconds=0", "--server", server.address, cwd=tmp_path)
        server.kill()
    assert (tmp_path / "runs.db-wal").exists()
    assert runcast("store", "check", "sqlite:///runs.db", cwd=tmp_path).code == 0
    assert "1 runs" in runcast("store", "backup", "sqlite:///runs.db", "copy.db", cwd=tmp_path).out


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("sqlite:///none.db", 1, "there is no store"),
        ("memory://", 2, "neither back-up nor check"),
        ("nonsense", 2, "names no backend"),
    ],
)
def test_what_has_no_store_is_said_in_one_line(tmp_path: Path, url: str, code: int, words: str) -> None:
    for call in (["check", url], ["backup", url, "copy.db"]):
        done = runcast("store", *call, cwd=tmp_path)
        assert (done.code, done.out) == (code, "")
        assert words in done.err
        assert len(done.err.splitlines()) == 1
    assert [*tmp_path.iterdir()] == []
