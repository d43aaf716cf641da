# ruff: noqa: T201 - printing is what is tested
"""What a provider prints and logs becomes lines of its run, and what others print and log stays where it was."""

import asyncio
import io
import logging
import os
import sys
import threading

import pytest

from runcast.provider import Context, SyncContext, capture, provider
from runcast.server.model.call import Returned, Stopped
from runcast.server.model.event import LogLine, Report, Severity
from tests.provider.channels import AsyncChannel, BlockingChannel, run, run_plain

log = logging.getLogger("books")


pytestmark = pytest.mark.usefixtures("out")


@provider
async def talks() -> None:
    print("one")
    sys.stderr.write("two\n")
    log.info("three %d", 3, extra={"shelf": 7})
    logging.getLogger().error("four")


@provider
def talks_too() -> None:
    print("one")
    sys.stderr.write("two\n")
    log.info("three %d", 3, extra={"shelf": 7})
    logging.getLogger().error("four")


SAID = [
    LogLine(Severity.INFO, "one", "stdout"),
    LogLine(Severity.WARNING, "two", "stderr"),
    LogLine(Severity.INFO, "three 3", "books", {"shelf": "7"}),
    LogLine(Severity.ERROR, "four", "root"),
]


async def test_a_coroutines_words_are_its_runs(out: io.StringIO) -> None:
    channel = AsyncChannel()
    await run(talks, channel)
    assert channel.reports == SAID
    assert out.getvalue() == ""


def test_a_plain_functions_words_are_its_runs(out: io.StringIO) -> None:
    channel = BlockingChannel()
    run_plain(talks_too, channel)
    assert channel.reports == SAID
    assert out.getvalue() == ""


async def test_what_others_say_meanwhile_stays_theirs(out: io.StringIO) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    @provider
    async def waits() -> None:
        print("mine")
        inside.set()
        await go_on.wait()
        print("mine too")

    channel = AsyncChannel()
    task = asyncio.create_task(run(waits, channel))
    await inside.wait()
    print("the server's")
    log.warning("the server's")
    go_on.set()
    await task
    assert channel.lines() == [("stdout", "mine"), ("stdout", "mine too")]
    assert "mine" not in out.getvalue()
    assert "the server's" in out.getvalue()


async def test_two_runs_at_once_are_kept_apart() -> None:
    turn = asyncio.Barrier(2)

    @provider
    async def speaks(name: str) -> None:
        for number in range(3):
            print(name, end=" ")
            await turn.wait()
            print(number)

    one, two = AsyncChannel(), AsyncChannel()
    await asyncio.gather(
        run(speaks, one, '{"name": "a"}'),
        run(speaks, two, '{"name": "b"}'),
    )
    assert [message for _, message in one.lines()] == ["a 0", "a 1", "a 2"]
    assert [message for _, message in two.lines()] == ["b 0", "b 1", "b 2"]


async def test_a_worker_thread_of_asyncio_speaks_for_its_run() -> None:
    @provider
    async def delegates() -> None:
        await asyncio.to_thread(print, "from a thread")

    channel = AsyncChannel()
    await run(delegates, channel)
    assert channel.lines() == [("stdout", "from a thread")]


def test_in_a_process_of_its_own_every_thread_speaks_for_the_run(out: io.StringIO) -> None:
    capture.install(whole_process=True)

    @provider
    def starts() -> None:
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()

    channel = BlockingChannel()
    run_plain(starts, channel)
    print("afterwards")
    assert channel.lines() == [("stdout", "from a thread")]
    assert out.getvalue() == "afterwards\n"


async def test_a_record_keeps_its_traceback() -> None:
    @provider
    async def fails() -> None:
        try:
            raise ValueError("inner")
        except ValueError:
            log.exception("outer")

    channel = AsyncChannel()
    await run(fails, channel)
    [line] = channel.of(LogLine)
    assert line.message.startswith("outer\nTraceback")
    assert line.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.DEBUG, None),
        (25, Severity.INFO),
        (logging.CRITICAL, Severity.CRITICAL),
        (99, Severity.CRITICAL),
    ],
)
async def test_a_level_becomes_a_severity_from_info_on(level: int, severity: Severity | None) -> None:
    @provider
    async def logs() -> None:
        log.log(level, "x")

    channel = AsyncChannel()
    await run(logs, channel)
    assert [line.severity for line in channel.of(LogLine)] == ([severity] if severity else [])


async def test_a_record_that_cannot_be_formatted_is_told_as_it_is() -> None:
    class Bad:
        def __str__(self) -> str:
            raise RuntimeError("no")

    @provider
    async def logs(ctx: Context) -> None:
        log.warning("%d apples", "many")
        log.warning("%s", Bad())
        ctx.log.info("%d apples", "many")
        ctx.log.info("%s", Bad())

    channel = AsyncChannel()
    assert await run(logs, channel) == Returned("null")
    messages = [message for _, message in channel.lines()]
    assert messages[0] == "%d apples ('many',)"
    assert messages[2] == "%d apples many"
    assert len(messages) == 4


async def test_what_the_channel_itself_logs_is_the_servers_and_starts_no_circle(out: io.StringIO) -> None:
    channel = AsyncChannel()

    def complain(report: Report) -> None:
        print("the channel prints")
        log.error("the channel logs")

    channel.on_report = complain
    await run(talks, channel)
    assert channel.reports == SAID
    assert out.getvalue().count("the channel prints") == 4


async def test_a_fenced_attempt_ends_at_its_next_print() -> None:
    @provider
    async def babbles() -> None:
        while True:
            print("more")

    @provider
    def logs_on() -> None:
        while True:
            log.info("more")

    assert await run(babbles, AsyncChannel(fence=2)) == Stopped()
    assert run_plain(logs_on, BlockingChannel(fence=2)) == Stopped()


async def test_what_is_said_after_the_end_is_nobodys(out: io.StringIO) -> None:
    tasks: list[asyncio.Task[None]] = []
    over = asyncio.Event()

    async def later() -> None:
        await over.wait()
        print("too late")

    @provider
    async def leaves_a_task() -> None:
        tasks.append(asyncio.create_task(later()))

    channel = AsyncChannel()
    await run(leaves_a_task, channel)
    over.set()
    await tasks[0]
    assert channel.reports == []
    assert out.getvalue() == "too late\n"


def test_handlers_that_were_there_see_what_they_saw_before_and_nothing_of_a_run() -> None:
    capture.uninstall()
    seen: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    handler, chatty = Keep(), logging.getLogger("chatty")
    root = logging.getLogger()
    root.addHandler(handler)
    chatty.setLevel(logging.DEBUG)
    try:
        capture.install()
        run_plain(talks_too)
        log.info("below the root's level")
        log.warning("above it")
        chatty.debug("asked for")
        chatty.getChild("child").debug("inherited")
    finally:
        capture.uninstall()
        root.removeHandler(handler)
        chatty.setLevel(logging.NOTSET)
    assert seen == ["above it", "asked for", "inherited"]


def test_without_any_handler_the_last_resort_still_speaks(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture.uninstall()
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    resort = logging.StreamHandler(out)
    resort.setLevel(logging.WARNING)
    monkeypatch.setattr(logging, "lastResort", resort)
    capture.install()
    log.info("quiet")
    log.warning("loud")
    capture.uninstall()
    assert out.getvalue() == "loud\n"


def test_installing_twice_captures_once() -> None:
    capture.install()
    channel = BlockingChannel()
    run_plain(talks_too, channel)
    assert channel.reports == SAID


def test_uninstalling_leaves_nothing_behind(out: io.StringIO) -> None:
    root = logging.getLogger()
    capture.uninstall()
    before = (sys.stdout, sys.stderr, list(root.handlers), root.level)
    capture.install()
    capture.uninstall()
    assert (sys.stdout, sys.stderr, list(root.handlers), root.level) == before
    assert sys.stdout is out


async def test_the_stream_is_still_a_stream() -> None:
    seen: list[object] = []

    @provider
    async def looks() -> None:
        seen.extend([sys.stdout.isatty(), sys.stdout.writable(), sys.stdout.encoding, sys.stdout.errors])
        sys.stdout.writelines(["a\n", "b\n"])
        sys.stdout.flush()
        sys.stdout.close()
        print("still open", file=sys.stdout)

    channel = AsyncChannel()
    assert await run(looks, channel) == Returned("null")
    assert seen[:2] == [False, True]
    assert [message for _, message in channel.lines()] == ["a", "b", "still open"]


async def test_only_text_can_be_written() -> None:
    @provider
    async def writes(ctx: Context) -> str:
        with pytest.raises(TypeError):
            sys.stdout.write(b"bytes")  # type: ignore[arg-type]
        return "fine"

    assert await run(writes) == Returned('"fine"')


def test_file_names_that_are_no_text_can_be_told() -> None:
    name = os.fsdecode(b"caf\xe9")

    @provider
    def lists(ctx: SyncContext) -> None:
        print(name)
        ctx.log.info(name, also=name)
        ctx.target_failed(name, message=name)
        ctx.progress(message=name)
        ctx.summary(name)
        ctx.ref("file", name)

    channel = BlockingChannel()
    assert run_plain(lists, channel) == Returned("null")
    assert channel.lines()[0] == ("stdout", "caf\\udce9")
    assert "\\udce9'" in str(channel.reports).replace("\\\\", "\\")


async def test_a_channel_that_fails_does_not_fail_whoever_logs(out: io.StringIO) -> None:
    @provider
    async def logs() -> int:
        log.warning("into the void")
        return 1

    def refuse(report: Report) -> None:
        raise OSError("no room")

    channel = AsyncChannel()
    channel.on_report = refuse
    assert await run(logs, channel) == Returned("1")
    assert "OSError: no room" in out.getvalue()
