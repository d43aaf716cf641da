"""How a server starts, and what it says where it cannot: one clear line each, and never a traceback."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runcast.cli.configuration import _READERS
from runcast.server.settings import OF_CLIENTS, read_settings
from tests.serving import ServerProcess


def refused(*flags: str, cwd: Path | None = None, **environment: str) -> tuple[int, str]:
    """The exit code of a server that does not start, and what it said."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RUNCAST_")}
    done = subprocess.run(
        [sys.executable, "-m", "runcast.server", *flags],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean | environment,
        timeout=30,
        check=False,
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = refused("--listen", f"127.0.0.1:{port}", "--storage", "memory://", cwd=tmp_path)
    assert code == 1
    assert f"127.0.0.1:{port}" in said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--storage", "nonsense"], ["storage", "sqlite:///"]),
        (["--storage", "postgres://x/y"], ["storage", "not in this version"]),
        (["--storage", "memory://", "--providers", "no_such_module"], ["providers", "no_such_module"]),
        (["--storage", "memory://", "--providers", "gone.py"], ["providers", "gone.py", "does not exist"]),
        (["--storage", "memory://", "--listen", "nowhere"], ["listen", "nowhere", "HOST:PORT"]),
        (["--storage", "memory://", "--listen", "127.0.0.1:99999"], ["listen", "99999", "65535"]),
        (["--storage", "memory://", "--log-level", "LOUD"], ["log_level", "LOUD"]),
        (["--storage", "memory://", "--max-concurrent", "0"], ["max_concurrent", "0"]),
    ],
)
def test_wrong_settings_are_named(flags: list[str], words: list[str], tmp_path: Path) -> None:
    code, said = refused(*flags, cwd=tmp_path)
    assert code == 2
    assert all(word in said for word in words), said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:7433", "example.org:7433"])
def test_other_machines_are_let_in_only_where_it_is_said_in_so_many_words(
    listen: str, tmp_path: Path
) -> None:
    code, said = refused("--storage", "memory://", "--listen", listen, cwd=tmp_path)
    assert code == 2
    assert all(word in said for word in ("listen", listen, "TLS", "authentication", "--insecure")), said


def test_with_insecure_a_server_listens_to_all(tmp_path: Path) -> None:
    with ServerProcess(listen="0.0.0.0:0", flags=["--insecure"], cwd=tmp_path) as server:
        assert server.address.startswith("0.0.0.0:")


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0", "localhost:0"])
def test_the_loopback_needs_no_word_more(
    listen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings({"listen": listen}).listen == listen


@pytest.mark.parametrize(
    ("file", "written", "words"),
    [
        ("runcast.toml", 'storage = "memory://', ["runcast.toml: Unterminated"]),
        (
            "runcast.toml",
            'storge = "memory://"',
            ["runcast.toml: storge is not known, did you mean storage?", "listen"],
        ),
        (
            "pyproject.toml",
            "[tool.runcast]\nnonsense = 1",
            ["pyproject.toml: nonsense is not known; known are"],
        ),
        ("pyproject.toml", "[tool", ["pyproject.toml: "]),
    ],
)
def test_a_file_of_settings_with_a_mistake_is_named(
    file: str, written: str, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / file).write_text(written)
    code, said = refused("--listen", "127.0.0.1:0", cwd=tmp_path)
    assert code == 2
    assert all(word in said for word in words), said
    assert len(said.splitlines()) == 1


def test_what_a_file_says_to_the_command_line_is_no_mistake() -> None:
    assert {*_READERS, "token_file", "profile", "profiles"} == OF_CLIENTS


def test_several_mistakes_are_all_reported_at_once(tmp_path: Path) -> None:
    code, said = refused("--listen", "nowhere", RUNCAST_LOG_LEVEL="LOUD", cwd=tmp_path)
    assert code == 2
    assert "listen" in said
    assert "log_level" in said


def test_a_broken_providers_module_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import json\n\n1 / 0\n")
    code, said = refused("--storage", "memory://", "--providers", "broken.py", cwd=tmp_path)
    assert code == 2
    assert "broken.py:3" in said
    assert "ZeroDivisionError" in said


def test_a_module_that_breaks_only_in_the_process_that_loads_it_for_attempts_is_said(tmp_path: Path) -> None:
    (tmp_path / "fussy.py").write_text(
        "import sys\nfrom runcast.provider import provider\n"
        "if 'grpc' not in sys.modules: raise RuntimeError('not here')\n"
        "@provider\ndef f() -> None: ...\n"
    )
    code, said = refused("--storage", "memory://", "--providers", "fussy.py", cwd=tmp_path)
    assert code in (1, 2)
    assert "not here" in said


def test_files_that_are_not_ours_are_refused_and_left_alone(tmp_path: Path) -> None:
    foreign, garbage = tmp_path / "foreign.db", tmp_path / "garbage.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table theirs (x)")
    connection.close()
    garbage.write_bytes(b"not a database at all" * 100)
    for path in (foreign, garbage):
        before = path.read_bytes()
        code, said = refused("--storage", f"sqlite:///{path}", cwd=tmp_path)
        assert code == 1
        assert str(path) in said
        assert path.read_bytes() == before


def test_a_store_in_a_folder_that_does_not_exist_is_said(tmp_path: Path) -> None:
    code, said = refused("--storage", f"sqlite:///{tmp_path}/no/such/folder/x.db", cwd=tmp_path)
    assert code == 1
    assert "no/such/folder" in said


def test_a_second_server_on_the_same_store_is_refused(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    with ServerProcess(store):
        code, said = refused("--listen", "127.0.0.1:0", "--storage", store, cwd=tmp_path)
    assert code == 1
    assert "in use" in said


def test_the_environment_and_a_file_say_the_same_as_flags_and_flags_win(tmp_path: Path) -> None:
    (tmp_path / "runcast.toml").write_text('storage = "sqlite:///from-file.db"\nproviders = ["examples"]\n')
    (tmp_path / "mine.py").write_text(
        "from runcast.provider import provider\n@provider\nasync def mine() -> None: ...\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNCAST_")}
    environment |= {
        "RUNCAST_LISTEN": "127.0.0.1:0",
        "RUNCAST_PROVIDERS": "mine.py",
        "RUNCAST_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "runcast.server", "--log-level", "ERROR"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "1 provider" in line
        assert "from-file.db" in line
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()
    assert (tmp_path / "from-file.db").exists()


@pytest.mark.parametrize("stronger", ["runcast.toml", "pyproject.toml"])
def test_a_file_of_the_project_wins_over_the_users_own(stronger: str, tmp_path: Path) -> None:
    user = tmp_path / "home" / ".config" / "runcast" / "config.toml"
    user.parent.mkdir(parents=True)
    user.write_text('storage = "users://own"')
    assert "users://own" in refused(cwd=tmp_path, HOME=str(tmp_path / "home"))[1]
    header = "[tool.runcast]\n" if stronger == "pyproject.toml" else ""
    (tmp_path / stronger).write_text(f'{header}storage = "projects://own"')
    assert "projects://own" in refused(cwd=tmp_path, HOME=str(tmp_path / "home"))[1]


@pytest.mark.parametrize("name", ["runcast.toml", "pyproject.toml", "home/.config/runcast/config.toml"])
@pytest.mark.parametrize(("raw", "word"), [(b"a = 1\nlisten = \n", "line 2"), (b"listen = '\xff'", "UTF-8")])
def test_a_broken_file_is_named(name: str, raw: bytes, word: str, tmp_path: Path) -> None:
    broken = tmp_path / name
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_bytes(raw)
    code, said = refused("--storage", "memory://", cwd=tmp_path, HOME=str(tmp_path / "home"))
    assert code == 2
    assert name in said
    assert word in said
    assert len(said.splitlines()) == 1


def test_a_server_is_ready_soon(tmp_path: Path) -> None:
    begun = time.monotonic()
    with ServerProcess(f"sqlite:///{tmp_path / 'runs.db'}"):
        assert time.monotonic() - begun < 10
