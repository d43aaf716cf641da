"""What is made to fit, and what is refused, before it reaches a store."""

import pytest

from runcast.server.engine.limits import (
    CHECKPOINT,
    EVENT,
    PARAMETERS,
    RESULT,
    checked_end,
    checked_report,
)
from runcast.server.engine.request import Start, check, merged
from runcast.server.model.call import Abandoned, Raised, Returned, Stopped
from runcast.server.model.errors import InvalidArgument
from runcast.server.model.event import (
    LogLine,
    OutputChunk,
    PartialResult,
    Report,
    SaveCheckpoint,
    Severity,
    Summary,
)
from runcast.server.model.run import EntityRef, Error, Failure, Payload, Progress, Spec, Timeouts


def line(message: str, **attributes: str) -> LogLine:
    """A line of the log."""
    return LogLine(Severity.INFO, message, attributes=attributes)


@pytest.mark.parametrize(
    "report",
    [
        line("x" * (EVENT // 4)),
        line("ü" * 1_000, key="ü" * 500),
        SaveCheckpoint(bytes(CHECKPOINT)),
        OutputChunk("stdout", 0, bytes(EVENT)),
        PartialResult(Payload(json="1" * 60_000)),
        Failure("t" * 4_096, "c" * 512, "m" * (60 * 1024)),
        EntityRef("type", "id"),
        Progress(0.5, 1, 2, "files", "stage", "message"),
        Summary("all well"),
    ],
)
def test_a_report_within_its_limits_stays_as_it_is(report: Report) -> None:
    assert checked_report(report) == report


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (SaveCheckpoint(bytes(CHECKPOINT + 1)), "SaveCheckpoint of 1,048,577 bytes; 1,048,576 are allowed"),
        (OutputChunk("stdout", 0, bytes(EVENT + 1)), "report smaller chunks"),
        (PartialResult(Payload(json="1" * 80_000)), "PartialResult"),
        (Failure("t", "c", "m" * 80_000), "Failure"),
        (Summary("ü" * 40_000), "Summary"),
        (Progress(message="m" * 80_000), "Progress"),
    ],
)
def test_a_report_beyond_its_limit_is_refused_in_words(report: Report, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        checked_report(report)


@pytest.mark.parametrize(
    "message", ["x" * 100_000, "ü" * 100_000, "€" * 30_000, "\udc80" * 30_000, "a\udc80b"]
)
@pytest.mark.parametrize(
    "attributes", [{}, {"key": "v" * 5_000}, {f"key {n}": "€" * 2_000 for n in range(20)}]
)
def test_a_line_of_the_log_is_made_to_fit(message: str, attributes: dict[str, str]) -> None:
    fitting = checked_report(line(message, **attributes))
    assert isinstance(fitting, LogLine)
    around = "".join([*fitting.attributes, *fitting.attributes.values()])
    assert len(fitting.message.encode()) + len(around.encode()) <= EVENT
    if len(message) > EVENT:
        assert fitting.message.endswith("(cut: too long)")


@pytest.mark.parametrize(
    "end", [Returned("null"), Returned('"ü"'), Stopped(), Stopped(killed=True), Abandoned()]
)
def test_an_end_within_its_limits_stays_as_it_is(end: Returned | Stopped | Abandoned) -> None:
    assert checked_end(end) == end


@pytest.mark.parametrize("output", ["x" * (RESULT + 1), "ü" * (RESULT // 2 + 1), "\udc80"])
def test_a_result_that_cannot_be_kept_is_a_failure_that_is_not_retried(output: str) -> None:
    end = checked_end(Returned(output))
    assert isinstance(end, Raised)
    assert end.error.reason == "RESULT_TOO_LARGE"
    assert end.error.metadata == {"retryable": "false"}


def test_the_largest_result_is_kept() -> None:
    end = Returned("ü" * (RESULT // 2))
    assert checked_end(end) is end


def test_words_about_a_failure_are_cut() -> None:
    end = checked_end(Raised(Error(2, "X", "\udc80" + "m" * 100_000), "t" * 100_000))
    assert isinstance(end, Raised)
    assert len(end.error.message.encode()) <= 16 * 1024
    assert end.error.message.startswith("\\udc80mmm")
    assert len(end.traceback.encode()) <= EVENT


def test_overrides_nest_and_leave_the_rest() -> None:
    defaults = Spec(Timeouts(queue=5, attempt=6), priority=3)
    spec = merged(defaults, {"timeouts": {"attempt": None}, "queue": "slow"})
    assert spec.timeouts == Timeouts(queue=5, attempt=None)
    assert (spec.queue, spec.priority) == ("slow", 3)
    assert merged(defaults, {}) is defaults


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"retry": {"max_attempts": 0}}, "overrides.retry.max_attempts"),
        ({"retry": {"multiplier": 0.5}}, "overrides.retry.multiplier"),
        ({"retry": {"multiplier": float("nan")}}, "overrides.retry.multiplier"),
        ({"retry": {"multiplier": float("inf")}}, "overrides.retry.multiplier"),
        ({"retry": {"jitter": 1.5}}, "overrides.retry.jitter"),
        ({"retry": {"jitter": float("nan")}}, "overrides.retry.jitter"),
        ({"queue": ""}, "overrides.queue"),
        ({"queue": "q" * 64}, "overrides.queue"),
        ({"concurrency_key": "k" * 256}, "overrides.concurrency_key"),
        ({"rate_limit_key": "k" * 256}, "overrides.rate_limit_key"),
        ({"max_failures": -1}, "overrides.max_failures"),
    ],
)
def test_overrides_that_make_no_sense_are_refused_by_name(overrides: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        merged(Spec(), overrides)
    assert [violation.field for violation in caught.value.violations] == [field]


def test_all_that_is_wrong_is_said_at_once() -> None:
    labels = {"": "x", "ok": "v" * 257, **{f"key{n}": "" for n in range(64)}}
    wrong = Start(
        provider="",
        run_id="/",
        request_id="r" * 129,
        labels=labels,
        input=Payload(json="1" * (PARAMETERS + 1)),
    )
    with pytest.raises(InvalidArgument) as caught:
        check(wrong)
    assert [violation.field for violation in caught.value.violations] == [
        "provider", "run_id", "request_id", "labels", "labels['']", "labels['ok']", "input",
    ]  # fmt: skip


@pytest.mark.parametrize("run_id", ["a", "A.b_c-9", "x" * 128])
def test_a_good_run_id_is_taken(run_id: str) -> None:
    check(Start(provider="work", run_id=run_id))


@pytest.mark.parametrize("run_id", ["-a", ".a", "a b", "ü", "x" * 129, "a/b", "a\n"])
def test_a_bad_run_id_is_refused(run_id: str) -> None:
    with pytest.raises(InvalidArgument, match="run_id"):
        check(Start(provider="work", run_id=run_id))
