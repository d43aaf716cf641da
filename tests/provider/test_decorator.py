"""A function is marked by @provider, and described by its signature, its docstring and what is said in the decorator."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal, Optional

import msgspec
import pytest
from pydantic import BaseModel, Field

from runcast.provider import Context, InvalidProvider, Provider, Retry, SyncContext, Timeouts, provider
from runcast.server.model.run import Execution, Recovery, Spec
from runcast.server.model.run import Retry as ModelRetry
from runcast.server.model.run import Timeouts as ModelTimeouts


class Report(BaseModel):
    lines: int
    words: int = 0


class Row(msgspec.Struct):
    name: str


@provider
async def count_words(path: str, least: Annotated[int, Field(ge=1)] = 1) -> Report:
    """Count the words of a file.

    Counts twice, to be sure.

    Args:
        path: The file, on
            the server.
        least: Shortest word that counts.
    """
    return Report(lines=len(path) + least)


def test_a_bare_decorator_describes_by_name_docstring_and_signature() -> None:
    described = count_words.description
    assert (described.name, described.title) == ("count_words", "Count words")
    assert described.description == "Count the words of a file.\n\nCounts twice, to be sure."
    assert described.execution is Execution.ASYNC


def test_the_input_schema_is_json_schema_with_what_the_docstring_says() -> None:
    assert json.loads(count_words.description.input_schema) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "path": {"title": "Path", "type": "string", "description": "The file, on the server."},
            "least": {
                "title": "Least",
                "type": "integer",
                "minimum": 1,
                "default": 1,
                "description": "Shortest word that counts.",
            },
        },
        "required": ["path"],
        "additionalProperties": False,
    }


def test_the_output_schema_is_the_one_of_the_annotated_result() -> None:
    schema = json.loads(count_words.description.output_schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert sorted(schema["properties"]) == ["lines", "words"]


def test_a_msgspec_result_has_a_schema_too() -> None:
    @provider
    async def rows() -> list[Row]:
        return [Row("a")]

    assert '"name"' in rows.description.output_schema
    assert rows.result.text([Row("a")]) == '[{"name":"a"}]'


@pytest.mark.parametrize("annotation", [inspect.Signature.empty, Any])
def test_a_result_that_may_be_anything_has_no_schema(annotation: Any) -> None:
    async def loose() -> None: ...

    loose.__annotations__ = {} if annotation is inspect.Signature.empty else {"return": annotation}
    assert provider(loose).description.output_schema == ""


def test_the_digest_changes_with_a_schema_and_with_nothing_else() -> None:
    def make(body: Callable[..., Any]) -> str:
        body.__name__ = body.__qualname__ = "same"
        return provider(body).description.schema_digest

    async def first(a: int) -> str:
        """One text."""
        return "1"

    async def second(a: int) -> str:
        """Another text."""
        return "2"

    async def third(a: int, b: int = 0) -> str:
        """One text."""
        return "3"

    assert make(first) == make(second) != make(third)


def test_the_description_of_a_field_wins_over_the_docstring() -> None:
    @provider
    async def both(a: Annotated[int, Field(description="of the field")]) -> None:
        """X.

        Args:
            a: of the docstring
        """

    assert json.loads(both.description.input_schema)["properties"]["a"]["description"] == "of the field"


def test_everything_that_is_said_is_described() -> None:
    @provider(
        name="tools.purge",
        title="Purge",
        description="Removes.",
        category="ops",
        icon="🧹",
        tags=["a", "b"],
        danger="deletes rows",
        expensive=True,
        idempotent=True,
        pausable=True,
        execution="thread",
    )
    def purge() -> None: ...

    d = purge.description
    assert (d.name, d.title, d.description, d.category, d.icon) == (
        "tools.purge", "Purge", "Removes.", "ops", "🧹",
    )  # fmt: skip
    assert (d.tags, d.danger, d.expensive) == (("a", "b"), "deletes rows", True)
    assert (d.idempotent, d.checkpointing, d.pausable) == (True, False, True)
    assert d.execution is Execution.THREAD


def test_policies_are_said_in_seconds_or_timedeltas() -> None:
    @provider(
        timeouts=Timeouts(
            attempt=timedelta(hours=1), run=7200, queue=1.5, heartbeat=None, cancel_grace=timedelta(0)
        ),
        retry=Retry(max_attempts=4, initial_backoff=0.5, non_retryable_reasons=["BAD"]),
        recovery="resume_on_watch",
        queue="q",
        priority=3,
        concurrency_key="k",
        rate_limit_key="r",
        max_failures=9,
        retention=timedelta(days=1),
    )
    async def detailed() -> None: ...

    assert detailed.description.defaults == Spec(
        timeouts=ModelTimeouts(
            queue=1_500_000, attempt=3_600_000_000, run=7_200_000_000, heartbeat=None, cancel_grace=0
        ),
        retry=ModelRetry(4, 500_000, 300_000_000, 2.0, 1.0, ("BAD",)),
        recovery=Recovery.RESUME_ON_WATCH,
        queue="q",
        priority=3,
        concurrency_key="k",
        rate_limit_key="r",
        max_failures=9,
        retention=86_400_000_000,
    )


def test_what_is_not_said_is_as_the_model_has_it() -> None:
    assert count_words.description.defaults == Spec()


def test_a_number_is_short_for_the_attempt_timeout_and_for_how_many_attempts() -> None:
    @provider(timeouts=60, retry=3)
    async def short() -> None: ...

    defaults = short.description.defaults
    assert defaults.timeouts == ModelTimeouts(attempt=60_000_000)
    assert defaults.retry == ModelRetry(max_attempts=3)


@pytest.mark.parametrize(
    ("options", "recovery"),
    [
        ({}, Recovery.HOLD),
        ({"idempotent": True}, Recovery.RESUME),
        ({"checkpointing": True}, Recovery.RESUME),
        ({"checkpointing": True, "recovery": "fail"}, Recovery.FAIL),
    ],
)
def test_a_lost_run_resumes_by_itself_only_where_that_does_no_harm(
    options: dict[str, Any], recovery: Recovery
) -> None:
    @provider(**options)
    async def work() -> None: ...

    assert work.description.defaults.recovery is recovery


def test_what_saves_checkpoints_can_be_paused_unless_it_says_otherwise() -> None:
    async def work() -> None: ...

    assert provider(checkpointing=True)(work).description.pausable
    assert not provider(checkpointing=True, pausable=False)(work).description.pausable
    assert not provider(work).description.pausable


@pytest.mark.parametrize("execution", [None, "thread", "process"])
def test_a_plain_function_runs_in_a_process_unless_it_says_otherwise(
    execution: Literal["thread", "process"] | None,
) -> None:
    def work() -> None: ...

    expected = Execution.THREAD if execution == "thread" else Execution.PROCESS
    assert provider(execution=execution)(work).description.execution is expected


def test_a_coroutine_may_ask_for_a_process() -> None:
    @provider(execution="process")
    async def work() -> None: ...

    assert work.description.execution is Execution.PROCESS


def test_a_provider_can_be_called_as_the_function_it_is() -> None:
    assert asyncio.run(count_words("abc")) == Report(lines=4)
    assert inspect.unwrap(count_words).__name__ == "count_words"


@pytest.mark.parametrize("kind", [Context, SyncContext, Context | SyncContext, Annotated[SyncContext, "x"]])
def test_a_plain_function_may_call_its_context_by_either_name(kind: Any) -> None:
    def work(a: int, run: Any) -> None: ...

    work.__annotations__["run"] = kind
    made = provider(work)
    assert made.context == "run"
    assert made.parameters.names == ("a",)


def test_a_coroutine_may_do_without_a_context_or_make_it_optional() -> None:
    @provider
    async def work(ctx: Optional[Context] = None) -> None: ...  # noqa: UP045 - this spelling has to work too

    assert work.context == "ctx"
    assert count_words.context is None


async def positional(a: int, /) -> None: ...
async def many(*parts: int) -> None: ...
async def anything(**options: int) -> None: ...
async def untyped(a: int, b) -> None: ...  # type: ignore[no-untyped-def]
async def unknown(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
async def unschemable(a: Callable[[int], int]) -> None: ...
async def no_default(a: int = object()) -> None: ...  # type: ignore[assignment]
async def two(a: Context, b: Context) -> None: ...
async def blocking(ctx: SyncContext) -> None: ...
async def odd_result() -> Callable[[], int]: ...  # type: ignore[empty-body]
def plain() -> None: ...
def generator() -> Iterator[int]:
    yield 1


async def stream() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (positional, {}, "positional(): a is positional-only; parameters are given by name"),
        (many, {}, "many(): *parts takes anything; name each parameter and its type"),
        (anything, {}, "anything(): **options takes anything; name each parameter and its type"),
        (untyped, {}, "untyped(): b has no annotation; its type says what may be given"),
        (unknown, {}, "unknown(): an annotation cannot be resolved (name 'Nowhere' is not defined)"),
        (unschemable, {}, "unschemable(): a cannot be a parameter: "),
        (no_default, {}, "no_default(): a cannot be a parameter: "),
        (two, {}, "two(): a and b are both contexts; one is enough"),
        (blocking, {}, "blocking(): ctx is a SyncContext, which blocks; annotate a coroutine's with Context"),
        (odd_result, {}, "odd_result(): its result cannot be turned into JSON: "),
        (generator, {}, "generator() yields: a provider returns its result; use ctx.partial() for pieces"),
        (stream, {}, "stream() yields: "),
        (plain, {"execution": "async"}, "plain(): a plain function would block its server"),
        (plain, {"execution": "fibre"}, "plain(): execution is one of async, thread, process, not 'fibre'"),
        (plain, {"name": "a b"}, "plain(): the name 'a b' may hold letters, digits"),
        (plain, {"tags": "one"}, "plain(): tags is a list of texts, not one text"),
        (plain, {"recovery": "pray"}, "plain(): recovery: 'pray' is not one of resume, hold, resume_on_watch, fail"),
        (plain, {"timeouts": -1}, "plain(): timeouts.attempt: -1 is no length of time"),
        (plain, {"retention": "1d"}, "plain(): retention: give seconds or a timedelta, not '1d'"),
        (plain, {"retry": 0}, "plain(): retry: max_attempts counts the first attempt too; 0 is none"),
        (plain, {"retry": Retry(jitter=2)}, "plain(): retry: multiplier must be at least 1, and jitter between"),
        (print, {}, "a provider is a function, and <built-in function print> is none"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_provider_is_refused_by_function_and_parameter(
    function: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidProvider) as caught:
        provider(**options)(function)
    assert words in str(caught.value)


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        provider(colour="red")(plain)  # type: ignore[call-overload]


def test_a_provider_says_where_it_is() -> None:
    assert isinstance(count_words, Provider)
    assert repr(count_words).startswith(f"<provider 'count_words' at {__file__}:")
