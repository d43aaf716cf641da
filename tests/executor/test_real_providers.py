"""Providers as their authors write them, through the executors as a server makes them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from runcast.provider import capture
from runcast.provider.checkpoint import decode, encode
from runcast.provider.loading import load
from runcast.server.executor.abc import Executor, Running
from runcast.server.executor.assembly import executors
from runcast.server.executor.forkserver import ProvidersNotLoaded
from runcast.server.executor.process import ProcessExecutor
from runcast.server.model.call import Call, Raised, Returned, Stopped
from runcast.server.model.event import LogLine, SaveCheckpoint, Severity, Summary
from runcast.server.model.run import Checkpoint, Execution, Progress, StopCause
from tests.executor.conftest import shared_loop
from tests.executor.recorder import Recorder

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROVIDERS = str(Path(__file__).with_name("real_providers.py"))
Made = dict[Execution, Executor]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened() -> AsyncIterator[Made]:
    """The three executors for the real providers."""
    made = executors(load([PROVIDERS]), [PROVIDERS], process_slots=2)
    for executor in made.values():
        await executor.open()
    yield made
    for executor in made.values():
        await executor.close()


@pytest.fixture
def captured() -> Iterator[None]:
    yield
    capture.uninstall()


@shared_loop
async def made(opened: Made, captured: None, nothing_leaks: None) -> Made:
    """With nothing held after a test that was not held before."""
    return opened


def start(
    made: Made, provider: str, code_input: str = "{}", saved: object = None
) -> tuple[Running, Recorder]:
    """Begin it where its name says."""
    kind = provider.partition("-")[2] or "process"
    executor = made[Execution[kind.upper()]]
    assert executor.acquire()
    recorder = Recorder()
    checkpoint = None if saved is None else Checkpoint(1, encode(saved))
    return executor.start(Call("run-1", 1, provider, code_input, checkpoint), recorder), recorder


@pytest.mark.parametrize(
    "provider", ["greet-async", "greet-thread", "greet-process", "plain-thread", "plain-process"]
)
async def test_a_context_offers_the_same_everywhere(made: Made, provider: str) -> None:
    capture.install()  # here, for between fixture and test pytest puts its own streams in place
    _, recorder = start(made, provider, '{"name": "you", "times": 2}', saved=["me"])
    end = await recorder.end()
    assert isinstance(end, Returned), end
    assert msgspec.json.decode(end.output) == ["hello you", "hello you"]
    assert recorder.lines == ["printed", "logged you"]
    (saved,) = (item for item in recorder.story if isinstance(item, SaveCheckpoint))
    assert decode(saved.data) == ["me", "you"]
    assert recorder.story[recorder.story.index(saved) + 1] == "durable"
    assert any(isinstance(item, Progress) and item.completed == 1 for item in recorder.story)
    assert Summary("greeted you") in recorder.story


@pytest.mark.parametrize(
    "provider", ["wait-async", "wait-thread", "wait-process", "look-thread", "look-process"]
)
async def test_it_stops_when_it_is_asked_to(made: Made, provider: str) -> None:
    running, recorder = start(made, provider)
    await recorder.line("started")
    running.stop(StopCause.CANCEL, 600)
    assert await recorder.end() == Stopped(killed=False)
    assert recorder.lines == ["started", "tidied"]


async def test_a_coroutine_that_computes_in_a_process_is_broken_after_half_of_the_grace(made: Made) -> None:
    running, recorder = start(made, "compute_process")
    await recorder.line("started")
    running.stop(StopCause.CANCEL, 0.1)
    assert await recorder.end() == Stopped(killed=False)
    assert recorder.lines == ["started", "tidied"]


@pytest.mark.parametrize("provider", ["refuse-async", "refuse-thread", "refuse-process"])
async def test_an_error_of_its_author_arrives_as_it_was_raised(made: Made, provider: str) -> None:
    _, recorder = start(made, provider)
    end = await recorder.end()
    assert isinstance(end, Raised)
    assert (end.error.reason, end.error.message) == ("CLOSED", "not today")
    assert "real_providers.py" in end.traceback


@pytest.mark.parametrize("provider", ["nobody-async", "nobody-thread", "nobody-process"])
async def test_a_provider_that_is_not_there_any_more_fails_its_attempt(made: Made, provider: str) -> None:
    _, recorder = start(made, provider)
    end = await recorder.end()
    assert isinstance(end, Raised)
    assert end.error.reason == "PROVIDER_NOT_FOUND"


async def test_what_is_written_past_the_capture_is_the_runs_too(made: Made) -> None:
    _, recorder = start(made, "past_the_capture")
    await recorder.end()
    told = {
        (item.severity, item.message, item.logger) for item in recorder.story if isinstance(item, LogLine)
    }
    assert told == {
        (Severity.INFO, "raw", "stdout"),
        (Severity.INFO, "captured", "stdout"),
        (Severity.WARNING, "a warning", "stderr"),
    }


async def test_providers_that_cannot_be_imported_are_told_in_one_line(
    nothing_leaks: None, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_library\n")
    executor = ProcessExecutor([str(broken)])
    with pytest.raises(ProvidersNotLoaded) as caught:
        await executor.open()
    assert "No module named 'no_such_library'" in caught.value.message
    assert f"{broken}:1" in caught.value.message
