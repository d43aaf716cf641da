"""What the process executor owes beyond the others: code that cannot be stopped is, and nothing harms the server."""

import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import psutil
import pytest
import pytest_asyncio

from runcast.server.executor.abc import Running
from runcast.server.executor.forkserver import ProvidersNotLoaded
from runcast.server.executor.process import ProcessExecutor
from runcast.server.model.call import Call, End, Raised, Returned, Stopped
from runcast.server.model.event import LogLine, Severity
from runcast.server.model.run import StopCause
from tests.executor.conftest import LOADER, Make, shared_loop
from tests.executor.recorder import Recorder, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened() -> AsyncIterator[ProcessExecutor]:
    """For all tests here."""
    executor = ProcessExecutor([], 4, loader=LOADER)
    await executor.open()
    yield executor
    await executor.close()


@shared_loop
async def executor(opened: ProcessExecutor, nothing_leaks: None) -> ProcessExecutor:
    """With all slots free, and nothing held that was not held before."""
    assert opened.taken == 0
    return opened


def start(executor: ProcessExecutor, provider: str, code_input: str = "null") -> tuple[Running, Recorder]:
    recorder = Recorder()
    assert executor.acquire()
    return executor.start(Call("run-1", 1, provider, code_input), recorder), recorder


async def ended(executor: ProcessExecutor, provider: str, code_input: str = "null") -> Recorder:
    _, recorder = start(executor, provider, code_input)
    await recorder.end()
    return recorder


def died(end: End, **metadata: str) -> bool:
    """Whether the end says that the process died, and of what."""
    return isinstance(end, Raised) and end.error.reason == "PROCESS_DIED" and end.error.metadata == metadata


async def test_it_has_a_slot_per_processor_that_this_process_may_use() -> None:
    assert ProcessExecutor([]).slots == len(os.sched_getaffinity(0))


async def test_an_attempt_speaks_within_milliseconds_of_its_start(executor: ProcessExecutor) -> None:
    took = []
    for _ in range(20):
        begin = time.perf_counter()
        _, recorder = start(executor, "count", "1")
        await recorder.line("0")
        took.append(time.perf_counter() - begin)
        await recorder.end()
    assert sorted(took)[5] < 0.020  # the first quarter, for other tests may have the processors


async def test_a_segmentation_fault_fails_the_attempt_and_says_where(executor: ProcessExecutor) -> None:
    recorder = await ended(executor, "crash")
    assert died(recorder.ends[0], signal="SIGSEGV")
    assert recorder.lines[0] == "started"
    assert any("Segmentation fault" in text for text in recorder.lines)
    assert (await ended(executor, "answer")).ends == [Returned("42")]


async def test_a_process_that_exits_by_itself_fails_the_attempt(executor: ProcessExecutor) -> None:
    assert died((await ended(executor, "exit_7")).ends[0], exit_code="7")


@pytest.mark.parametrize("provider", ["spin", "sleep"])
async def test_code_that_never_looks_is_broken_after_half_of_the_grace_and_tidies_up(
    executor: ProcessExecutor, provider: str
) -> None:
    running, recorder = start(executor, provider)
    await recorder.line("started")
    running.stop(StopCause.CANCEL, 0.1)
    assert await recorder.end() == Stopped(killed=False)
    assert recorder.lines == ["started", "tidied"]


async def test_code_that_has_seen_that_it_is_to_stop_may_use_the_whole_grace_to_tidy_up(
    executor: ProcessExecutor,
) -> None:
    running, recorder = start(executor, "tidy_slowly", "0.2")
    await recorder.line("started")
    running.stop(StopCause.CANCEL, 0.2)
    assert await recorder.end() == Stopped(killed=False)
    assert recorder.lines == ["started", "tidied"]


async def test_code_that_ignores_the_signal_is_killed(executor: ProcessExecutor) -> None:
    running, recorder = start(executor, "ignore_signals")
    await recorder.line("started")
    running.stop(StopCause.CANCEL, 0.01)
    running.kill()
    assert await recorder.end() == Stopped(killed=True)
    assert executor.taken == 0


async def test_a_report_is_whole_however_its_sending_is_broken(executor: ProcessExecutor) -> None:
    for number in range(20):
        running, recorder = start(executor, "report_until_broken")
        await recorder.line("started")
        running.stop(StopCause.CANCEL, 0.003 * number)
        assert await recorder.end() == Stopped(killed=False)
        assert recorder.lines[-1] == "tidied"
        assert recorder.lines[1:-1] == [f"n {n}" for n in range(1, len(recorder.lines) - 1)]


async def test_a_termination_signal_from_elsewhere_is_not_heard(executor: ProcessExecutor) -> None:
    recorder = await ended(executor, "signal_itself")
    assert (recorder.ends, recorder.lines) == ([Returned("null")], ["still here"])


@pytest.mark.parametrize("how", ["answer", "crash", "exit_7", "fail"])
async def test_whatever_an_attempt_started_ends_with_it(executor: ProcessExecutor, how: str) -> None:
    recorder = await ended(executor, "breed", how)
    pids = [int(pid) for pid in recorder.lines[0].split()[1:]]
    assert len(pids) == 4
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []


async def test_whatever_an_attempt_started_is_killed_with_it_and_nothing_else(
    executor: ProcessExecutor,
) -> None:
    other, bystander = start(executor, "breed", "sleep")
    await bystander.line("started")
    running, recorder = start(executor, "breed", "ignore_signals")
    await recorder.line("started")
    running.kill()
    assert await recorder.end() == Stopped(killed=True)
    pids, others = ([int(pid) for pid in told.lines[0].split()[1:]] for told in (recorder, bystander))
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert [pid for pid in others if psutil.pid_exists(pid)] == others
    other.stop(StopCause.CANCEL, 0)
    assert await bystander.end() == Stopped()


async def test_a_program_that_was_started_while_the_providers_were_loaded_is_spared(
    tmp_path: Path, nothing_leaks: None
) -> None:
    told = tmp_path / "pid"
    executor = ProcessExecutor([str(told)], 1, loader="tests.executor.processes:load_with_child")
    await executor.open()
    try:
        for _ in range(2):
            await ended(executor, "answer")
        assert psutil.pid_exists(int(told.read_text()))
    finally:
        await executor.close()


@shared_loop
async def serving() -> AsyncIterator[None]:
    """A gRPC server in this process."""
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield
    await server.stop(None)


async def test_a_child_holds_no_descriptor_of_the_server_and_no_grpc(serving: None, make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        executor = await make("process")
        assert isinstance(executor, ProcessExecutor)
        lines = (await ended(executor, "tell_surroundings")).lines
    held = [text.split(" ", 2)[2].split(":")[0] for text in lines if text.startswith("fd ")]
    assert held == ["/dev/null", "pipe", "pipe", "pipe", "pipe"]
    assert lines[-4:] == ["grpc False", "google.protobuf False", "runcast.v1 False", "main empty"]


async def test_what_bypasses_the_capture_becomes_lines_of_the_run(
    executor: ProcessExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    recorder = await ended(executor, "write_raw")
    told = {
        (item.logger, item.severity, item.message) for item in recorder.story if isinstance(item, LogLine)
    }
    assert told == {
        ("stdout", Severity.INFO, "one"),
        ("stdout", Severity.INFO, "two \N{REPLACEMENT CHARACTER} from below"),
        ("stdout", Severity.INFO, "without an end"),
        ("stderr", Severity.WARNING, "oh no"),
    }
    assert capfd.readouterr() == ("", "")


async def test_a_program_that_writes_without_end_waits_while_the_sink_is_congested(
    executor: ProcessExecutor,
) -> None:
    running, recorder = start(executor, "write_for_ever")
    await recorder.line("started")
    await recorder.until(lambda: len(recorder.lines) > 2_000)
    recorder.roomy.clear()
    before = len(recorder.lines)
    (yes,) = (p for p in psutil.Process().children(recursive=True) if p.name() == "yes")
    await eventually(lambda: yes.status() == psutil.STATUS_SLEEPING)
    assert len(recorder.lines) <= before + 2
    recorder.roomy.set()
    await recorder.until(lambda: len(recorder.lines) > before + 2_000)
    running.stop(StopCause.CANCEL, 0)
    assert await recorder.end() == Stopped()


@pytest.mark.parametrize("provider", ["talk_nonsense", "talk_at_length"])
async def test_a_process_that_cannot_be_understood_is_killed(
    executor: ProcessExecutor, provider: str
) -> None:
    end = (await ended(executor, provider)).ends[0]
    assert isinstance(end, Raised)
    assert end.error.reason == "PROCESS_PROTOCOL"


async def test_code_that_closes_the_connection_to_the_server_does_not_outlive_it(
    executor: ProcessExecutor,
) -> None:
    assert died((await ended(executor, "hang_up")).ends[0], exit_code="1")


async def test_commits_from_several_threads_are_each_answered(executor: ProcessExecutor) -> None:
    recorder = await ended(executor, "save_from_threads")
    assert recorder.ends == [Returned("null")]
    assert recorder.story.count("durable") == 80
    assert sorted(recorder.lines) == sorted("0123" * 20)


async def test_a_provider_may_have_a_pool_of_processes_that_tell_too(executor: ProcessExecutor) -> None:
    recorder = await ended(executor, "have_a_pool")
    assert isinstance(recorder.ends[0], Returned), recorder.ends
    told = [text[:-10_000] for text in recorder.lines]
    assert sorted(told) == sorted(f"{worker} {number} " for worker in range(6) for number in range(20))
    for worker in range(6):
        assert [text for text in told if text.startswith(f"{worker} ")] == [
            f"{worker} {n} " for n in range(20)
        ]


async def test_an_attempt_whose_process_cannot_be_started_has_failed(
    executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptors: object) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(executor.forkserver, "fork", refuse)
    _, recorder = start(executor, "answer")
    assert died(await recorder.end())
    assert executor.taken == 0


async def test_the_loss_of_the_forkserver_fails_what_runs_and_is_healed(make: Make) -> None:
    others = set(psutil.Process().children())
    executor = await make("process")
    assert isinstance(executor, ProcessExecutor)
    _, recorder = start(executor, "breed", "ignore_signals")
    await recorder.line("started")
    (forkserver,) = set(psutil.Process().children()) - others
    forkserver.kill()
    assert died(await recorder.end())
    pids = [int(pid) for pid in recorder.lines[0].split()[1:]]
    for pid in pids:  # those that fled from their group are out of reach once the forkserver is lost
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
    assert (await ended(executor, "answer")).ends == [Returned("42")]


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        ("tests.executor.nowhere:load", "No module named 'tests.executor.nowhere'"),
        ("tests.executor.processes:load_and_fail", "ModuleNotFoundError: No module named 'my_providers'"),
        ("tests.executor.processes:load_and_exit", "ended while it imported"),
    ],
)
async def test_providers_that_cannot_be_loaded_are_told_when_it_is_opened(
    nothing_leaks: None, loader: str, said: str
) -> None:
    executor = ProcessExecutor(["my_providers"], loader=loader)
    with pytest.raises(ProvidersNotLoaded) as caught:
        await executor.open()
    assert said in caught.value.message
    await executor.close()
