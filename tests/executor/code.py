"""Code to be executed: each piece once as a coroutine and once as a plain function, and what runs them by name."""

import asyncio
import itertools
import os
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from runcast.provider.errors import Cancelled
from runcast.provider.reporter import BlockingChannel, Channel
from runcast.server.model.call import (
    AwaitChildren,
    Call,
    ChildrenEnded,
    End,
    Raised,
    Returned,
    StartChild,
    Stopped,
)
from runcast.server.model.errors import RuncastError
from runcast.server.model.event import LogLine, SaveCheckpoint, Severity
from runcast.server.model.run import Error

BLOCKING: dict[str, Callable[[Call, BlockingChannel], str]] = {}
ASYNC: dict[str, Callable[[Call, Channel], Awaitable[str]]] = {}


def line(message: str) -> LogLine:
    """A report that is easily told from others."""
    return LogLine(Severity.INFO, message)


def blocking(code: Callable[[Call, BlockingChannel], str]) -> None:
    """Make a function known under its name without the trailing underscore."""
    BLOCKING[code.__name__.rstrip("_")] = code


def awaiting(code: Callable[[Call, Channel], Awaitable[str]]) -> None:
    """Make a coroutine function known under its name without the trailing underscore."""
    ASYNC[getattr(code, "__name__", "").rstrip("_")] = code


async def run_async(call: Call, channel: Channel) -> End:
    """Run a coroutine as providers are run."""
    try:
        return Returned(await ASYNC[call.provider](call, channel))
    except Exception as error:  # noqa: BLE001 - as the real one
        return raised(error)


def run_blocking(call: Call, channel: BlockingChannel) -> End:
    """Run a function as providers are run."""
    try:
        return Returned(BLOCKING[call.provider](call, channel))
    except Cancelled:
        return Stopped()
    except Exception as error:  # noqa: BLE001 - as the real one
        return raised(error)


def raised(error: Exception) -> Raised:
    """An exception as an end."""
    return Raised(Error(2, "PROVIDER_EXCEPTION", str(error)), "".join(traceback.format_exception(error)))


# ------------------------------------------------------------------------------------------------ ends by itself


@blocking
def answer(_call: Call, _channel: BlockingChannel) -> str:
    return "42"


@awaiting
async def answer_(_call: Call, _channel: Channel) -> str:
    return "42"


@blocking
def fail(_call: Call, _channel: BlockingChannel) -> str:
    raise ValueError("no such luck")


@awaiting
async def fail_(_call: Call, _channel: Channel) -> str:
    raise ValueError("no such luck")


@blocking
def count(call: Call, channel: BlockingChannel) -> str:
    for number in range(int(call.input)):
        channel.report(line(str(number)))
    return "null"


@awaiting
async def count_(call: Call, channel: Channel) -> str:
    for number in range(int(call.input)):
        channel.report(line(str(number)))
        await channel.drain()
    return "null"


@blocking
def save(_call: Call, channel: BlockingChannel) -> str:
    channel.report(line("before"))
    channel.commit(SaveCheckpoint(b"state"))
    channel.report(line("after"))
    return "null"


@awaiting
async def save_(_call: Call, channel: Channel) -> str:
    channel.report(line("before"))
    await channel.commit(SaveCheckpoint(b"state"))
    channel.report(line("after"))
    return "null"


@blocking
def big(call: Call, _channel: BlockingChannel) -> str:
    return '"' + "x" * int(call.input) + '"'


@awaiting
async def big_(call: Call, _channel: Channel) -> str:
    return '"' + "x" * int(call.input) + '"'


@blocking
def leave(_call: Call, _channel: BlockingChannel) -> str:
    raise SystemExit(3)


@awaiting
async def leave_(_call: Call, _channel: Channel) -> str:
    raise SystemExit(3)


@blocking
def give_up(_call: Call, _channel: BlockingChannel) -> str:
    raise Cancelled


@awaiting
async def give_up_(_call: Call, _channel: Channel) -> str:
    raise asyncio.CancelledError


# ------------------------------------------------------------------------------------------- ends when it is asked


@blocking
def obey(_call: Call, channel: BlockingChannel) -> str:
    try:
        channel.report(line("started"))
        while not channel.cancelled():
            time.sleep(0.002)
        raise Cancelled
    finally:
        channel.report(line("tidied"))


@awaiting
async def obey_(_call: Call, channel: Channel) -> str:
    channel.report(line("started"))
    try:
        await asyncio.Event().wait()
    finally:
        channel.report(line("tidied"))
    return "null"


@blocking
def refuse(call: Call, channel: BlockingChannel) -> str:
    channel.report(line("started"))
    while True:
        try:
            while not Path(call.labels["release"]).exists():
                time.sleep(0.002)
            channel.report(line("released"))
            return "null"
        except Cancelled:
            channel.report(line("not now"))


@awaiting
async def refuse_(call: Call, channel: Channel) -> str:
    channel.report(line("started"))
    while True:
        try:
            while not Path(call.labels["release"]).exists():
                await asyncio.sleep(0.002)
            channel.report(line("released"))
            return "null"
        except asyncio.CancelledError:
            channel.report(line("not now"))


@blocking
def finish_anyway(_call: Call, channel: BlockingChannel) -> str:
    channel.report(line("started"))
    while not channel.cancelled():
        time.sleep(0.002)
    return '"done"'


@awaiting
async def finish_anyway_(_call: Call, channel: Channel) -> str:
    channel.report(line("started"))
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return '"done"'
    return "null"


@blocking
def pour(call: Call, channel: BlockingChannel) -> str:
    with Path(call.labels["tally"]).open("r+b", buffering=0) as tally:
        for number in itertools.count(1):
            channel.report(line("x" * 100))
            os.pwrite(tally.fileno(), b"%12d" % number, 0)
            if channel.cancelled():
                raise Cancelled
    return "null"


@awaiting
async def pour_(call: Call, channel: Channel) -> str:
    with Path(call.labels["tally"]).open("r+b", buffering=0) as tally:
        for number in itertools.count(1):
            channel.report(line("x" * 100))
            os.pwrite(tally.fileno(), b"%12d" % number, 0)
            await channel.drain()
            await asyncio.sleep(0)
    return "null"


# ---------------------------------------------------------------------------------------------------- is cut off


@blocking
def insist(_call: Call, channel: BlockingChannel) -> str:
    try:
        while True:
            channel.report(line("still here"))
            time.sleep(0.002)
    except RuncastError as error:
        return f'"{error.reason}"'


@awaiting
async def insist_(_call: Call, channel: Channel) -> str:
    try:
        while True:
            channel.report(line("still here"))
            await asyncio.sleep(0.002)
    except RuncastError as error:
        return f'"{error.reason}"'


@blocking
def save_again(_call: Call, channel: BlockingChannel) -> str:
    try:
        while True:
            channel.commit(SaveCheckpoint(b"state"))
    except RuncastError as error:
        return f'"{error.reason}"'


@awaiting
async def save_again_(_call: Call, channel: Channel) -> str:
    try:
        while True:
            await channel.commit(SaveCheckpoint(b"state"))
            await asyncio.sleep(0)
    except RuncastError as error:
        return f'"{error.reason}"'


# ---------------------------------------------------------------------------------------------- asks for children


@blocking
def ask(_call: Call, channel: BlockingChannel) -> str:
    try:
        started = channel.answer(StartChild("key", "work", input="{}"))
        ended = channel.answer(AwaitChildren(("child",)))
    except RuncastError as error:
        return f'"{error.reason}"'
    assert isinstance(ended, ChildrenEnded)
    channel.report(line(f"{started} {ended.ends[0].output}"))
    return "null"


@awaiting
async def ask_(_call: Call, channel: Channel) -> str:
    try:
        started = await channel.answer(StartChild("key", "work", input="{}"))
        ended = await channel.answer(AwaitChildren(("child",)))
    except RuncastError as error:
        return f'"{error.reason}"'
    assert isinstance(ended, ChildrenEnded)
    channel.report(line(f"{started} {ended.ends[0].output}"))
    return "null"


@blocking
def wait_twice(_call: Call, channel: BlockingChannel) -> str:
    for _ in range(2):
        try:
            channel.answer(AwaitChildren(("child",)))
        except RuncastError as error:
            channel.report(line(error.reason))
    raise Cancelled


@awaiting
async def wait_twice_(_call: Call, channel: Channel) -> str:
    for _ in range(2):
        try:
            await channel.answer(AwaitChildren(("child",)))
        except asyncio.CancelledError:
            channel.report(line("ASKED_TO_STOP"))
    raise asyncio.CancelledError
