"""However a provider ends, the executor is told how; and what it told before comes first."""

import asyncio
import json
import math
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, DirectoryPath, field_serializer

from runcast.provider import Cancelled, Context, ProviderError, SyncContext, provider
from runcast.server.model.call import End, Raised, Returned, Stopped
from runcast.server.model.event import LogLine
from runcast.server.model.run import Error
from tests.provider.channels import AsyncChannel, run, run_plain


class Total(BaseModel):
    amount: float


@dataclass
class Pair:
    left: int
    right: int


class Struct(msgspec.Struct):
    name: str


class Stubborn(BaseModel):
    x: int = 1

    @field_serializer("x")
    def write(self, value: int) -> int:
        raise RuntimeError("no")


class Unshowable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


async def both(function: Callable[[], Any], annotation: Any = None) -> list[End]:
    """How the same code ends as a coroutine on this loop, as a plain function, and as a coroutine in a process."""

    async def coroutine() -> Any:
        return function()

    def plain() -> Any:
        return function()

    if annotation is not None:
        coroutine.__annotations__["return"] = plain.__annotations__["return"] = annotation
    elsewhere = await asyncio.to_thread(run_plain, provider(coroutine))
    return [await run(provider(coroutine)), run_plain(provider(plain)), elsewhere]


def fail(error: BaseException) -> Callable[[], Any]:
    def function() -> Any:
        raise error

    return function


@pytest.mark.parametrize(
    ("result", "annotation", "text"),
    [
        (None, None, "null"),
        ("Hello, Ada!", str, '"Hello, Ada!"'),
        ({"é": [1, 2.5, True, None]}, None, '{"é":[1,2.5,true,null]}'),
        (2**70, int, "1180591620717411303424"),
        (Total(amount=1.5), Total, '{"amount":1.5}'),
        (Total(amount=1.5), None, '{"amount":1.5}'),
        (Pair(1, 2), Pair, '{"left":1,"right":2}'),
        ([Pair(1, 2)], list[Pair], '[{"left":1,"right":2}]'),
        (Struct("a"), Struct, '{"name":"a"}'),
        ([Struct("a")], None, '[{"name":"a"}]'),
        ("NaN and Infinity are words here", None, '"NaN and Infinity are words here"'),
        ("not a number", int, '"not a number"'),
    ],
)
async def test_what_is_returned_becomes_json(result: Any, annotation: Any, text: str) -> None:
    assert await both(lambda: result, annotation) == [Returned(text)] * 3


@pytest.mark.parametrize(
    ("result", "annotation", "words"),
    [
        (math.nan, None, "the result, a float, cannot be turned into JSON: it holds a number that JSON does not have"),
        (math.inf, float, "it holds a number that JSON does not have (NaN or infinity)"),
        (Total(amount=math.nan), Total, "the result, a dict, cannot be turned into JSON: it holds a number"),
        ({"a": object()}, None, "the result, a dict, cannot be turned into JSON: "),
        (b"\xff", None, "the result, a bytes, cannot be turned into JSON: "),
        ("\ud800", None, "the result, a str, cannot be turned into JSON: "),
        (Stubborn(), Stubborn, "the result, a Stubborn, cannot be turned into JSON: "),
    ],
)  # fmt: skip
async def test_a_result_that_is_no_json_is_a_failure_that_says_so(
    result: Any, annotation: Any, words: str
) -> None:
    for end in await both(lambda: result, annotation):
        assert isinstance(end, Raised)
        assert end.error.reason == "RESULT_INVALID"
        assert words in end.error.message


async def test_a_result_beyond_its_limit_is_a_failure_that_says_what_to_do() -> None:
    for end in await both(lambda: "x" * (2 * 1024 * 1024)):
        assert isinstance(end, Raised)
        assert end.error.reason == "RESULT_TOO_LARGE"
        assert "2,097,152" in end.error.message


async def test_an_exception_is_told_by_type_and_text_with_its_traceback() -> None:
    for end in await both(fail(ValueError("bad luck"))):
        assert isinstance(end, Raised)
        assert end.error == Error(
            2, "PROVIDER_EXCEPTION", "ValueError: bad luck", {"exception": "ValueError"}
        )
        assert end.traceback.startswith("Traceback (most recent call last):\n")
        assert end.traceback.endswith("ValueError: bad luck\n")


async def test_a_traceback_begins_in_the_providers_own_code() -> None:
    for end in await both(fail(ValueError())):
        assert isinstance(end, Raised)
        assert "runcast/provider" not in end.traceback
        assert __file__ in end.traceback


async def test_a_traceback_tells_what_caused_the_exception() -> None:
    def function() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    for end in await both(function):
        assert isinstance(end, Raised)
        assert "KeyError: 'first'" in end.traceback
        assert "direct cause" in end.traceback


async def test_a_huge_traceback_keeps_its_head_and_its_tail() -> None:
    for end in await both(fail(ValueError("é" * 100_000))):
        assert isinstance(end, Raised)
        assert len(end.traceback.encode()) <= 16 * 1024
        assert len(end.error.message) < 5_000
        assert "bytes left out" in end.traceback
        assert end.traceback.startswith("Traceback")


async def test_endless_recursion_is_a_failure_like_any_other() -> None:
    def deeper() -> None:
        deeper()

    for end in await both(deeper):
        assert isinstance(end, Raised)
        assert end.error.message.startswith("RecursionError: ")


async def test_an_author_chooses_reason_code_and_whether_to_try_again() -> None:
    error = ProviderError("quota is used up", reason="QUOTA", code=8, retryable=False, left=0)
    for end in await both(fail(error)):
        assert isinstance(end, Raised)
        assert end.error == Error(8, "QUOTA", "quota is used up", {"left": "0", "retryable": "false"})


async def test_an_exit_is_a_failure() -> None:
    for end in await both(lambda: sys.exit(0)):
        assert isinstance(end, Raised)
        assert end.error.message == "SystemExit: 0"


async def test_an_exception_that_cannot_be_shown_still_ends_the_run() -> None:
    for end in await both(fail(Unshowable())):
        assert isinstance(end, Raised)
        assert "Unshowable" in end.error.message


async def test_what_a_cancelled_provider_raises_by_itself_is_a_stop() -> None:
    assert await both(fail(Cancelled())) == [Stopped()] * 3


async def test_a_group_of_failures_is_a_failure_and_one_with_a_cancellation_a_stop() -> None:
    for end in await both(fail(ExceptionGroup("two", [ValueError(), KeyError()]))):
        assert isinstance(end, Raised)
    group = BaseExceptionGroup("two", [ValueError(), Cancelled()])
    assert await both(fail(group)) == [Stopped()] * 3


@provider
async def told(ctx: Context, path: DirectoryPath) -> None:
    ctx.progress(1)


async def test_input_that_is_not_valid_any_more_names_the_field() -> None:
    end = await run(told, input='{"path": "/nowhere/at/all"}')
    assert isinstance(end, Raised)
    assert end.error.code == 3
    assert end.error.reason == "INVALID_ARGUMENT"
    expected = 'input.path: must be a folder that exists on the server, but is "/nowhere/at/all"'
    assert end.error.message == expected


async def test_parameters_arrive_with_their_types_and_the_context_under_any_name() -> None:
    @provider
    async def add(a: int, run: Context, b: float = 0.5) -> list[Any]:
        return [a + b, run.run_id, run.idempotency_key]

    assert await run(add, input='{"a": 2}') == Returned('[2.5,"r","r:1"]')


def test_the_context_that_a_provider_needs_must_be_given_and_be_of_its_kind() -> None:
    @provider
    def needs(ctx: SyncContext) -> None: ...

    for wrong in (None, Context.testing()):
        with pytest.raises(TypeError, match=r"needs takes a context: give it SyncContext\.testing\(\)"):
            needs.call(wrong)


async def test_a_log_line_holds_the_traceback_of_the_exception_being_handled() -> None:
    @provider
    async def logs(ctx: Context) -> None:
        try:
            raise ValueError("inner")
        except ValueError:
            ctx.log.exception("it failed", step=3)

    channel = AsyncChannel()
    await run(logs, channel)
    [line] = channel.of(LogLine)
    assert line.message.startswith("it failed\nTraceback")
    assert line.message.endswith("ValueError: inner")
    assert line.attributes == {"step": "3"}
    assert json.dumps(line.message)
    assert traceback.format_exc() == "NoneType: None\n"


async def test_a_result_of_another_type_than_annotated_is_kept_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @provider
    async def wrong() -> int:
        return "three"  # type: ignore[return-value]

    assert await run(wrong) == Returned('"three"')
    assert "not of the type that is annotated" in caplog.text


class Unusual(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Unusual])
async def test_whatever_a_provider_raises_is_its_exception(kind: type[BaseException]) -> None:
    def goes_wrong() -> None:
        raise kind("at once")

    for end in await both(goes_wrong):
        assert isinstance(end, Raised)
        assert end.error.reason == "PROVIDER_EXCEPTION"
        assert end.error.message == f"{kind.__name__}: at once"
