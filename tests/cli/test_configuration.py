"""Flags, the environment, profiles and files: which wins, what is shown of it, and what is wrong in it."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Call
from tests.serving import ServerProcess


@pytest.fixture
def folder(surroundings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and nothing in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RUNCAST_SERVER")
    return tmp_path


def setting(call: Call, name: str, *words: str) -> tuple[object, str]:
    """A setting's value, and where it was said."""
    done = call("config", "show", *words, "--json")
    assert done.code == 0, done.err
    [found] = [each for each in json.loads(done.out) if each["name"] == name]
    return found["value"], found["origin"]


def user_file(folder: Path) -> Path:
    """The user's own file."""
    file = folder / "home" / ".config" / "runcast" / "config.toml"
    file.parent.mkdir(parents=True)
    return file


def test_each_place_wins_over_those_below_it(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert setting(call, "server") == ("localhost:7433", "default")
    user_file(folder).write_text('server = "user:1"\n[profiles.p]\nserver = "profile:1"')
    assert setting(call, "server") == ("user:1", "~/.config/runcast/config.toml")
    (folder / "pyproject.toml").write_text('[tool.runcast]\nserver = "py:1"')
    assert setting(call, "server") == ("py:1", "pyproject.toml")
    (folder / "runcast.toml").write_text('server = "project:1"')
    assert setting(call, "server") == ("project:1", "runcast.toml")
    monkeypatch.setenv("RUNCAST_PROFILE", "p")
    assert setting(call, "server") == ("profile:1", "~/.config/runcast/config.toml [profiles.p]")
    monkeypatch.setenv("RUNCAST_SERVER", "env:1")
    assert setting(call, "server") == ("env:1", "RUNCAST_SERVER")
    assert setting(call, "server", "--profile", "p")[0] == "profile:1"
    assert setting(call, "server", "--profile", "p", "-s", "flag:1") == ("flag:1", "flag")


def test_a_profile_reaches_its_server_in_its_format_and_is_named_in_the_way_back(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch, server: ServerProcess
) -> None:

    (folder / "runcast.toml").write_text(f'[profiles.here]\nserver = "{server.address}"\noutput = "yaml"')
    done = call("start", "greet", "-p", "name=Ada", "--profile", "here")
    assert done.code == 0
    assert done.out.startswith("id: run_")
    assert done.err.rstrip().endswith(" --profile here")
    assert call("--profile", "here", "health", "-o", "table").out == "serving\n"
    assert call("config", "show", "--profile", "here").out.startswith("OF ")


def test_the_server_tells_its_own_settings(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "runcast.toml").write_text('listen = "127.0.0.1:1"\nstorage = "memory://"')
    monkeypatch.setenv("RUNCAST_STORAGE", "sqlite:///mine.db")
    assert setting(call, "listen") == ("127.0.0.1:1", "runcast.toml")
    assert setting(call, "storage") == ("sqlite:///mine.db", "RUNCAST_STORAGE")
    assert setting(call, "log_level") == ("INFO", "default")
    assert "ORIGIN" not in call("config", "show").out
    assert "ORIGIN" in call("config", "show", "--origin").out
    monkeypatch.setenv("RUNCAST_LISTEN", "nonsense")
    refused = call("config", "show")
    assert refused.code == 2
    assert "error: the server would refuse these settings\n  listen: 'nonsense'" in refused.err


def test_secrets_are_masked_and_may_lie_in_files(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "token").write_text("very-secret\n")
    monkeypatch.setenv("RUNCAST_TOKEN_FILE", str(folder / "token"))
    monkeypatch.setenv("RUNCAST_STORAGE", "sqlite://me:very-secret@here/x")
    assert setting(call, "token") == ("***", "RUNCAST_TOKEN")
    assert "very-secret" not in call("config", "show", "--origin").out
    monkeypatch.setenv("RUNCAST_TOKEN_FILE", "/no/such/file")
    assert call("config", "show").code == 2


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("a = 1\nb = [", "runcast.toml, line 2: "),
        ("a = 1\n\n= 3", "runcast.toml, line 3: "),
        (
            "[profiles.p]\nsever = 1",
            "runcast.toml, line 2: sever is not known in a profile; did you mean server?",
        ),
        ("[profiles.p]\nserver = 1", "runcast.toml, line 2: server cannot be 1: a text is expected"),
        ('\noutput = "xml"\n[profiles.p]', "runcast.toml, line 2: output cannot be 'xml': one of table, "),
        ("profiles = 3", "runcast.toml, line 1: profiles must be tables"),
        ("[profiles.q]", "no profile p (flag); there are q"),
        ("", "no profile p (flag); there is none"),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_line(
    call: Call, folder: Path, written: str, said: str
) -> None:
    (folder / "runcast.toml").write_text(written)
    done = call("runs", "ls", "--profile", "p")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {said}")


def test_a_broken_file_also_keeps_a_server_from_starting(call: Call, folder: Path) -> None:
    (folder / "runcast.toml").write_bytes(b"a = 1\nb = '\xff'")
    for command in ("serve", "dev"):
        done = call(command)
        assert (done.code, done.err) == (2, "error: runcast.toml, line 2: it is not UTF-8\n")


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        ("http://localhost:7433", "Did you mean localhost:7433?"),
        ("127.0.0.1:73069", "a port is 1 to 65535"),
        ("https://example.org/x", "Did you mean example.org:7433?"),
        ("grpc://[::1]:80", "Did you mean [::1]:80?"),
    ],
)
def test_an_address_of_a_browser_is_refused(call: Call, folder: Path, typed: str, remedy: str) -> None:
    done = call("health", "-s", typed)
    assert done.code == 2
    assert remedy in done.err


def test_an_address_without_a_port_has_the_usual_one(call: Call, folder: Path) -> None:
    assert setting(call, "server", "-s", "myhost")[0] == "myhost:7433"
    assert setting(call, "server", "-s", "unix:/run/x.sock")[0] == "unix:/run/x.sock"


def test_settings_are_the_same_in_every_format(call: Call, folder: Path) -> None:
    (folder / "runcast.toml").write_text('output = "yaml"\nprogress = "plain"')
    shown = call("config", "show", "--origin", "-o", "yaml")
    assert shown.code == 0, shown.err
    listed = list(yaml.safe_load_all(shown.out))
    listed = listed[0] if isinstance(listed[0], list) else listed
    typed = [each for each in json.loads(call("config", "show", "--json").out) if each["name"] != "output"]
    assert [each for each in listed if each["name"] != "output"] == typed


@pytest.mark.parametrize(
    "written", ["[tool]\nruncast = 5", None], ids=["a number in place of its table", "a folder"]
)
def test_a_pyproject_that_cannot_be_used_is_named_and_a_foreign_one_does_not_matter(
    call: Call, folder: Path, written: str | None
) -> None:
    file = folder / "pyproject.toml"
    file.write_text("tool = 5")
    assert setting(call, "server") == ("localhost:7433", "default")
    file.unlink()
    if written is None:
        file.mkdir()
    else:
        file.write_text(written)
    for command in (["config", "show"], ["serve", "--storage", "memory://"]):
        done = call(*command)
        assert done.code == 2
        assert done.err.startswith("error: pyproject.toml")
