"""What other programs see: plain data, quiet ends, signals."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import PROVIDERS, Call, program
from tests.serving import ServerProcess

Processes = Callable[..., "subprocess.Popen[str]"]


def read_until(process: "subprocess.Popen[str]", words: str) -> str:
    """What a process tells on stderr, up to the line with these words."""
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if words in line:
            return told
    raise AssertionError(f"{words!r} did not come: {told}")


def test_a_pipe_gets_data_and_no_colour(processes: Processes) -> None:
    out, err = processes("run", "records").communicate()
    assert [each["name"] for each in json.loads(out)] == ["Ada", "Grace"]
    assert "\x1b" not in err


@pytest.mark.parametrize(
    "words", [["providers", "ls", "--json"], ["watch", "RUN", "-o", "jsonl"], ["--help"]]
)
def test_a_reader_who_has_enough_is_no_error(call: Call, words: list[str]) -> None:
    run = call("start", "prints", "-p", "lines=2000").out.strip()
    assert call("wait", run).code == 0
    words = [run if each == "RUN" else each for each in words]
    process = subprocess.Popen(program(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as err:
        assert err.read() == ""
    assert process.wait(20) == 141


def test_sigint_in_a_pipe_asks_the_run_to_stop_too(processes: Processes) -> None:
    process = processes("run", "until", "-p", "path=/nowhere")
    read_until(process, "looking")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 3
    assert "cancelled in" in err


@pytest.mark.parametrize("words", [["run", "until", "-p"], ["watch"], ["wait"]])
def test_sigterm_leaves_cleanly_and_the_run_goes_on(
    processes: Processes, call: Call, tmp_path: Path, words: list[str]
) -> None:
    go = tmp_path / "go"
    if words[0] == "run":
        run = f"cli-term-{tmp_path.name}"
        process = processes(*words, f"path={go}", "--run-id", run)
    else:
        run = call("start", "until", "-p", f"path={go}").out.strip()
        process = processes(*words, run)
    read_until(process, "waiting for" if words[0] == "wait" else "looking")
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (143, "")
    assert f"runcast watch {run}" in err
    assert "Traceback" not in err
    go.touch()
    assert call("wait", run).code == 0


def test_a_run_is_followed_over_a_restart_of_its_server(processes: Processes, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/runs.db"
    first = ServerProcess(store)
    process = processes("run", "countdown", "-p", "seconds=3", "--server", first.address)
    read_until(process, "2 …")
    first.kill()
    told = read_until(process, "trying again")
    assert f"lost {first.address}" in told
    with ServerProcess(store, listen=first.address):
        out, err = process.communicate(timeout=50)
        assert (process.returncode, out) == (0, '"lift-off"\n'), err
        assert "attempt 2 begins from the checkpoint" in err


def test_a_run_that_is_held_after_its_server_was_lost_exits_with_9(
    processes: Processes, call: Call, tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path}/runs.db"
    providers = ["examples", PROVIDERS]
    first = ServerProcess(store, providers)
    process = processes("run", "until", "-p", "path=/nowhere", "--server", first.address, "--run-id", "held")
    read_until(process, "looking")
    first.kill()
    read_until(process, "trying again")
    with ServerProcess(store, providers, listen=first.address):
        out, err = process.communicate(timeout=50)
        assert (process.returncode, out) == (9, ""), err
        assert "attempt 1 lost; interrupted: its server was lost" in err
        assert f"runcast watch held --server {first.address}" in err
        for words in (["watch"], ["watch", "--last", "0"], ["wait"], ["result"]):
            assert call(*words, "held", "--server", first.address).code == 9


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["runs", "ls", "-h"], []], ids=" ".join)
def test_help_loads_neither_grpc_nor_rich_nor_the_client(words: list[str]) -> None:
    code = (
        "import sys, contextlib\nfrom runcast.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({words!r})\n"
        "print([each for each in ('grpc', 'rich', 'google.protobuf', 'runcast.client', 'asyncio', 'yaml',"
        " 'pydantic_settings', 'tomllib') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", [["--help"], ["run", "-h"], ["runs", "ls", "--help"], ["--version"]])
def test_help_goes_to_stdout(call: Call, words: list[str]) -> None:
    done = call(*words)
    assert (done.code, done.err) == (0, "")
    assert done.out


def test_the_help_lists_every_command_under_a_heading(call: Call) -> None:
    out = call("--help").out
    for name in (
        "dev",
        "serve",
        "run",
        "start",
        "watch",
        "wait",
        "result",
        "cancel",
        "runs",
        "providers",
        "health",
    ):
        assert f"\n  {name} " in out
    assert "\nCommands:" not in out


def test_an_argument_that_is_no_text_is_named() -> None:
    words: list[str | bytes] = [*program(["run", "greet", "-p"]), b"name=\xff"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: argument 4 is not UTF-8: 'name=\\xff'\n")


@pytest.mark.parametrize(
    "words",
    [["--help"], ["providers", "ls"], ["providers", "ls", "--json"], ["run", "records"]],
    ids=" ".join,
)
def test_output_that_cannot_be_written_is_a_failure_and_says_so(surroundings: None, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program(words), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("error: the output could not be written: No space left on device\n")
    assert "Traceback" not in done.stderr


def test_a_replay_in_a_pipe_tells_the_progress_too(call: Call) -> None:
    run = call("start", "countdown", "-p", "seconds=1").out.strip()
    assert call("wait", run).code == 0
    replay = call("watch", run).err
    assert "0% 0/1 seconds" in replay
    assert "100% 1/1 seconds" in replay
    assert "left" not in replay
