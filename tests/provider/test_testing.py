"""Providers can be tested without a server, in both kinds, with time that is moved by hand."""

import asyncio

import msgspec
import pytest

from runcast.provider import Cancelled, Context, ProviderError, SyncContext, provider
from runcast.server.model.errors import InvalidArgument
from runcast.server.model.event import LogLine, PartialResult, Severity
from runcast.server.model.run import EntityRef, Failure, Payload


@provider
async def collect(ctx: Context, names: list[str], limit: int = 10) -> dict[str, int]:
    """Uses everything that a context offers."""
    done: dict[str, int] = ctx.restored or {}
    async for name in ctx.track(names, unit="names"):
        ctx.log.info("at %s", name, limit=limit)
        ctx.ref("name", name)
        if name == "bad":
            ctx.target_failed(name, "BAD", "as its name says")
            continue
        done[name] = len(name)
        ctx.partial({name: len(name)})
        await ctx.checkpoint(done)
        await ctx.sleep(60)
    ctx.summary(f"{len(done)} names")
    return done


@provider
def collect_plainly(ctx: SyncContext, names: list[str], limit: int = 10) -> dict[str, int]:
    """The same in a plain function."""
    done: dict[str, int] = ctx.restored or {}
    for name in ctx.track(names, unit="names"):
        ctx.log.info("at %s", name, limit=limit)
        ctx.ref("name", name)
        if name == "bad":
            ctx.target_failed(name, "BAD", "as its name says")
            continue
        done[name] = len(name)
        ctx.partial({name: len(name)})
        ctx.checkpoint(done)
        ctx.sleep(60)
    ctx.summary(f"{len(done)} names")
    return done


async def test_what_a_provider_tells_is_recorded_in_the_same_way_by_both_kinds() -> None:
    ctx, plain = Context.testing(restored={"old": 3}), SyncContext.testing(restored={"old": 3})
    expected = {"old": 3, "a": 1, "bb": 2}
    assert await collect.call(ctx, names=["a", "bad", "bb"]) == expected
    assert collect_plainly.call(plain, names=["a", "bad", "bb"]) == expected
    for recorded in (ctx.recorded, plain.recorded):
        assert recorded.checkpoints == [{"old": 3, "a": 1}, expected]
        assert recorded.failures == [Failure("bad", "BAD", "as its name says")]
        assert recorded.refs == [EntityRef("name", "a"), EntityRef("name", "bad"), EntityRef("name", "bb")]
        assert recorded.partials[0] == PartialResult(Payload(json='{"a":1}'))
        assert recorded.logs[0] == LogLine(Severity.INFO, "at a", "test", {"limit": "10"})
        assert recorded.summary == "3 names"
        assert recorded.progress[-1].fraction == 1
    assert ctx.recorded.reports == plain.recorded.reports


async def test_sleeping_takes_no_time_and_moves_the_clock() -> None:
    ctx = Context.testing()
    await collect.call(ctx, names=["a", "b"])
    assert ctx.clock.monotonic() == 120
    ctx.advance(0.5)
    assert ctx.clock.now() == 1_767_225_720_500_000


def test_the_attempt_is_whatever_the_test_says() -> None:
    ctx = SyncContext.testing(provider="p", run_id="r", attempt=2, labels={"a": "b"}, deadline=5)
    assert (ctx.provider, ctx.run_id, ctx.attempt, ctx.idempotency_key) == ("p", "r", 2, "r:2")
    assert ctx.labels == {"a": "b"}
    assert ctx.deadline == 5
    with pytest.raises(TypeError):
        ctx.labels["c"] = "d"  # type: ignore[index]


async def test_parameters_are_checked_as_a_server_checks_them() -> None:
    with pytest.raises(InvalidArgument, match=r"input\.names: is missing"):
        await collect.call(Context.testing())
    with pytest.raises(InvalidArgument, match=r"input\.nonsense"):
        await collect.call(Context.testing(), names=[], nonsense=1)


async def test_a_cancelled_coroutine_ends_at_its_next_sleep() -> None:
    ctx = Context.testing()
    ctx.cancel()
    with pytest.raises(asyncio.CancelledError):
        await collect.call(ctx, names=["a"])
    assert ctx.cancelled


@pytest.mark.parametrize("names", [["a"], ["bad", "bad"]])
def test_a_cancelled_function_ends_at_its_next_step(names: list[str]) -> None:
    ctx = SyncContext.testing()
    ctx.cancel()
    with pytest.raises(Cancelled):
        collect_plainly.call(ctx, names=names)
    assert ctx.recorded.summary == ""


async def test_asking_directly_raises_every_time() -> None:
    ctx, plain = Context.testing(), SyncContext.testing()
    ctx.raise_if_cancelled()
    plain.raise_if_cancelled()
    ctx.cancel()
    plain.cancel()
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            ctx.raise_if_cancelled()
        with pytest.raises(Cancelled):
            plain.raise_if_cancelled()


def test_a_piece_of_the_result_must_be_small_json() -> None:
    ctx = SyncContext.testing()
    with pytest.raises(ProviderError, match="a partial result may have 61,440 bytes"):
        ctx.partial("x" * 70_000)
    with pytest.raises(ProviderError, match="a partial result, a object, cannot"):
        ctx.partial(object())


def test_every_severity_has_its_word() -> None:
    ctx = SyncContext.testing()
    for name in ("debug", "info", "warning", "error", "critical"):
        getattr(ctx.log, name)("x %s", name)
    ctx.log.log(30, "by level", extra={"a": 1}, b=2)
    assert [line.severity for line in ctx.recorded.logs] == [1, 2, 3, 4, 5, 3]
    assert ctx.recorded.logs[-1].attributes == {"a": "1", "b": "2"}


def test_long_words_are_cut_and_say_so() -> None:
    ctx = SyncContext.testing()
    ctx.log.info("é" * 60_000, many="x" * 5_000, **{f"a{n}": n for n in range(50)})
    [line] = ctx.recorded.logs
    assert len(line.message.encode()) < 60 * 1024 + 100
    assert line.message.endswith("more bytes cut]")
    assert list(line.attributes)[:3] == ["many", "a0", "a1"]
    assert "cut]" in line.attributes["many"]
    ctx.log.info("x", **{f"a{n}": "y" * 500 for n in range(50)})
    assert ctx.recorded.logs[1].attributes["…"] == "44 more attributes left out"


def test_no_event_is_larger_than_an_event_may_be() -> None:
    ctx, much = SyncContext.testing(), "é" * 100_000
    ctx.log.info(much, **{f"{n}{much}": much for n in range(50)})
    ctx.target_failed(much, much, much)
    ctx.ref(much, much, much)
    ctx.progress(unit=much, stage=much, message=much)
    ctx.partial("x" * 61_000)
    ctx.summary(much)
    for report in ctx.recorded.reports:
        assert len(msgspec.msgpack.encode(report)) < 64 * 1024


def test_a_plain_function_sleeps_until_its_time_has_come_or_it_is_cancelled() -> None:
    from tests.provider.channels import BlockingChannel, run_plain

    @provider
    def naps(ctx: SyncContext, seconds: float) -> None:
        ctx.sleep(seconds)

    channel = BlockingChannel()
    assert str(run_plain(naps, channel, '{"seconds": 0.01}')) == "Returned(output='null')"
    channel.asked = True
    assert str(run_plain(naps, channel, '{"seconds": 3600}')) == "Stopped(killed=False)"


async def test_a_retry_for_some_targets_is_tried_out_by_naming_them() -> None:
    assert Context.testing().targets == SyncContext.testing().targets == ()
    assert Context.testing(targets=["a", "b"]).targets == ("a", "b")
    assert SyncContext.testing(targets=["a"]).targets == ("a",)
