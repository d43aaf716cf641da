"""Tasks: stored by options or files, changed by options, files or in an editor, started by name."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Call


@pytest.fixture
def name(request: pytest.FixtureRequest, call: Call) -> str:
    """The id of a task that greets Ada."""
    task = f"t-{abs(hash(request.node.name)) % 10**9}"
    done = call("tasks", "create", task, "--provider", "greet", "-p", "name=Ada", "-l", "a=b")
    assert (done.code, done.out) == (0, f"{task}\n")
    assert done.err == f"start it with:  runcast run --task {task}\n"
    return task


def shown(call: Call, task: str) -> dict[str, object]:
    """A task as the server tells it."""
    told: dict[str, object] = json.loads(call("tasks", "show", task, "--json").out)
    return told


def editor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Let the editor be a program that changes `text`."""
    program = tmp_path / "editor.py"
    program.write_text(
        f"import pathlib, sys\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n{code}\npath.write_text(text)\n"
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} {program}")
    monkeypatch.delenv("VISUAL", raising=False)


# --------------------------------------------------------------------------------------------------------------- start
def test_a_task_is_started_by_its_name_with_parameters_over_its_own(call: Call, name: str) -> None:
    assert call("run", "--task", name).out == '"Hello, Ada!"\n'
    assert call("run", "--task", name, "-p", "name=Bob").out == '"Hello, Bob!"\n'
    run = call("start", "--task", name).out.strip()
    assert call("wait", run).code == 0
    assert json.loads(call("runs", "ls", "--task", name, "-n", "1", "--json").out)[0]["labels"] == {"a": "b"}


@pytest.mark.parametrize("words", [["run"], ["run", "greet", "--task", "x"]], ids=" ".join)
def test_a_start_names_a_provider_or_a_task(call: Call, words: list[str]) -> None:
    done = call(*words)
    assert done.code == 2
    assert "a provider, or a stored one with --task" in done.err


def test_a_task_that_is_not_there_exits_with_5(call: Call) -> None:
    for words in (
        ["run", "--task"],
        ["tasks", "show"],
        ["tasks", "rm"],
        ["tasks", "enable"],
        ["tasks", "edit"],
    ):
        assert call(*words, "nobody", *(["-p", "x=1"] if words[-1] == "edit" else [])).code == 5, words


def test_a_disabled_task_refuses_every_start(call: Call, name: str) -> None:
    assert call("tasks", "disable", name).err == f"{name} is disabled\n"
    assert call("tasks", "ls", "--disabled", "--text", name, "-o", "name").out == f"{name}\n"
    refused = call("run", "--task", name)
    assert refused.code == 7
    assert "runcast tasks enable" in refused.err
    assert call("tasks", "enable", name).code == call("run", "--task", name).code == 0


# --------------------------------------------------------------------------------------------------------------- files
TOML = """
[[tasks]]
id = "NAME-1"
provider = "greet"
parameters = { name = "Ada" }
[tasks.spec]
queue = "slow"
recovery = "hold"
timeouts = { attempt = "5m", run = 90 }
[[tasks]]
id = "NAME-2"
provider = "greet"
enabled = false
labels = { count = 1, really = true }
"""


def test_several_tasks_come_from_one_file(call: Call, name: str, tmp_path: Path) -> None:
    file = tmp_path / "tasks.toml"
    file.write_text(TOML.replace("NAME", name))
    done = call("tasks", "create", "-f", str(file))
    assert (done.code, done.out, done.err) == (0, f"{name}-1\n{name}-2\n", "stored 2 tasks\n")
    assert shown(call, f"{name}-1")["spec"] == {
        "queue": "slow",
        "recovery": "HOLD",
        "timeouts": {"attempt": "300s", "run": "90s"},
    }
    second = shown(call, f"{name}-2")
    assert (second["enabled"], second["labels"]) == (False, {"count": "1", "really": "true"})
    assert call("tasks", "create", "-f", str(file)).code == 7


@pytest.mark.parametrize("wanted", ["json", "yaml"])
def test_what_show_writes_create_reads(call: Call, name: str, wanted: str, tmp_path: Path) -> None:
    file = tmp_path / f"task.{wanted}"
    file.write_text(call("tasks", "show", name, "-o", wanted).out)
    assert call("tasks", "create", f"{name}-copy", "-f", str(file)).code == 0
    assert shown(call, f"{name}-copy")["input"] == {"name": "Ada"}


@pytest.mark.parametrize("written", ['{"provider": "greet"}', 'provider = "greet"'])
def test_a_task_may_come_through_a_pipe(call: Call, written: str) -> None:
    assert call("tasks", "create", "-f", "-", stdin=written).out.startswith("task_")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('provider = "greet"\nprovder = 1', ": provder is not known; did you mean provider?"),
        ('provider = "greet"\n[spec]\nqueues = 1', ": spec: queues is not known; did you mean queue?"),
        ('provider = "greet"\n[spec.timeouts]\nrun = "5x"', 'timeouts: run cannot be "5x"; a length of time'),
        (
            'provider = "greet"\n[spec]\nrecovery = "no"',
            "one of RESUME, HOLD, RESUME_ON_WATCH, FAIL is expected",
        ),
        ('provider = "greet"\nenabled = 3', "enabled cannot be 3; true or false is expected"),
        ('provider = "greet"\nlabels = 3', "labels cannot be 3; a table is expected"),
        ('id = "x"', ": provider is missing"),
        ("tasks = [3]", "task 1 must be a table"),
        ('provider = "greet"\nnonsense', " is not TOML: "),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_file(
    call: Call, tmp_path: Path, written: str, said: str
) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(written)
    done = call("tasks", "create", "-f", str(file))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {file}")
    assert said in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["create", "x"],
        ["create", "x", "--provider", "greet", "-f", "y.toml"],
        ["create", "-f", "tasks.txt"],
        ["create", "-f", "/no/such/file.toml"],
        ["create", "x", "--provider", "greet", "-p", "nonsense=1"],
        ["create", "X Y", "--provider", "greet"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_stored_is_refused(call: Call, words: list[str], tmp_path: Path) -> None:
    done = call("tasks", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")


# ---------------------------------------------------------------------------------------------------------------- edit
def test_options_change_what_they_name_and_nothing_else(call: Call, name: str) -> None:
    done = call("tasks", "edit", name, "-p", "name=Bob", "-l", "c=d", "--unlabel", "a", "--run-timeout", "1h")
    assert done.code == 0
    assert call("tasks", "edit", name, "--attempts", "2").code == 0
    task = shown(call, name)
    assert (task["input"], task["labels"], task["generation"]) == ({"name": "Bob"}, {"c": "d"}, 3)
    assert task["spec"] == {"timeouts": {"run": "3600s"}, "retry": {"max_attempts": 2}}


def test_an_editor_changes_the_whole(
    call: Call, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    editor(monkeypatch, tmp_path, "text = text.replace('Ada', 'Eve').replace('a: b', '')")
    assert call("tasks", "edit", name).code == 0
    task = shown(call, name)
    assert task["input"] == {"name": "Eve"}
    assert "labels" not in task
    editor(monkeypatch, tmp_path, "")
    assert call("tasks", "edit", name).err == "nothing was changed\n"
    monkeypatch.setenv("EDITOR", "/no/such/editor")
    assert call("tasks", "edit", name).code == 2


def test_what_was_written_is_kept_where_it_is_wrong(
    call: Call, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    editor(monkeypatch, tmp_path, "text = text.replace('provider:', 'provder:')")
    done = call("tasks", "edit", name)
    assert done.code == 2
    file = Path(done.err.splitlines()[0].split(" -f ")[1])
    file.write_text(file.read_text().replace("provder:", "provider:").replace("Ada", "Eve"))
    assert call("tasks", "edit", name, "-f", str(file)).code == 0
    file.unlink()
    assert shown(call, name)["input"] == {"name": "Eve"}


def test_somebody_elses_change_is_a_conflict_with_a_way_out(
    call: Call, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = os.environ["RUNCAST_SERVER"]
    other = f"[sys.executable, '-m', 'runcast.cli', 'tasks', 'edit', {name!r}, '--attempts', '5', '-s', {server!r}]"
    editor(
        monkeypatch,
        tmp_path,
        f"import subprocess; subprocess.run({other}, check=True)\ntext = text.replace('Ada', 'Eve')",
    )
    done = call("tasks", "edit", name)
    assert done.code == 7
    assert f"somebody else changed {name} meanwhile; nothing was stored" in done.err
    assert shown(call, name)["input"] == {"name": "Ada"}
    words = done.err.rstrip().rpartition("  runcast ")[2].split()
    assert words[-1] == "--force"
    assert call(*words).code == 0
    Path(words[-2]).unlink()
    assert shown(call, name)["input"] == {"name": "Eve"}


# ---------------------------------------------------------------------------------------------------------- look, remove
def test_tasks_are_listed_in_every_format(call: Call, name: str) -> None:
    mine = ["tasks", "ls", "--text", name]
    assert [each["id"] for each in json.loads(call(*mine, "--json").out)] == [name]
    assert [each["id"] for each in yaml.safe_load(call(*mine, "-o", "yaml").out)] == [name]
    assert call(*mine).out.splitlines()[1].split() == [name, "greet", "enabled", "a=b"]
    assert "runcast run --task" in call("tasks", "show", name).out


def test_several_are_removed_after_a_yes_only(call: Call, name: str) -> None:
    assert call("tasks", "create", f"{name}-too", "--provider", "greet").code == 0
    refused = call("tasks", "rm", name, f"{name}-too")
    assert refused.code == 2
    assert f"this will remove 2 tasks: {name}, {name}-too; nothing was changed" in refused.err
    assert call("tasks", "rm", name, f"{name}-too", "--yes").code == 0
    assert call("tasks", "show", name).code == 5
