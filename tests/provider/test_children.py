"""Children in a provider's code: started once for each key, waited for, and told as plain data."""

import pytest

from runcast.provider import Child, Context, EndedChild, ProviderError, SyncContext, provider
from runcast.server.model.call import (
    ASKED_TO_STOP,
    AwaitChildren,
    ChildEnd,
    ChildrenEnded,
    ChildStarted,
    Raised,
    Returned,
    StartChild,
    Stopped,
)
from runcast.server.model.errors import Fenced, RuncastError
from runcast.server.model.run import State
from tests.provider.channels import AsyncChannel, BlockingChannel, run, run_plain


@provider
async def fan_out(ctx: Context, numbers: list[int]) -> list[int]:
    children = [await ctx.start("square", {"number": number}) for number in numbers]
    return [child.output for child in await ctx.wait_all(children)]


@provider
def fan_out_plainly(ctx: SyncContext, numbers: list[int]) -> list[int]:
    children = [ctx.start("square", {"number": number}) for number in numbers]
    return [child.output for child in ctx.wait_all(children)]


def keys(channel: AsyncChannel | BlockingChannel) -> list[str]:
    return [question.key for question in channel.questions if isinstance(question, StartChild)]


def answers() -> list[object]:
    ends = [ChildEnd(f"c{n}", State.SUCCEEDED, str(n)) for n in range(3)]
    portions = [ChildrenEnded((ends[0],)), ChildrenEnded((ends[1], ends[2]))]
    return [*(ChildStarted(f"c{n}", created=True) for n in range(3)), *portions]


async def test_children_are_asked_for_and_their_ends_gathered_from_portions() -> None:
    awaited, blocked = AsyncChannel(), BlockingChannel()
    awaited.answers, blocked.answers = answers(), answers()  # type: ignore[assignment]
    assert await run(fan_out, awaited, '{"numbers": [1, 1, 2]}') == Returned("[0,1,2]")
    assert run_plain(fan_out_plainly, blocked, '{"numbers": [1, 1, 2]}') == Returned("[0,1,2]")
    assert awaited.questions == blocked.questions
    assert awaited.questions[3:] == [AwaitChildren(("c0", "c1", "c2")), AwaitChildren(("c1", "c2"))]


async def test_every_attempt_names_its_children_alike_and_no_two_are_named_alike() -> None:
    named: list[list[str]] = []
    for _ in range(2):
        channel = AsyncChannel()
        channel.answers = answers()  # type: ignore[assignment]
        await run(fan_out, channel, '{"numbers": [1, 1, 2]}')
        named.append(keys(channel))
    assert named[0] == named[1]
    assert len(set(named[0])) == 3


async def test_the_order_of_parameters_makes_no_other_child_but_provider_task_and_key_do() -> None:
    ctx = Context.testing()
    given = {"a": 1, "b": [2]}
    first = await ctx.start("x", given)
    assert await SyncStart(ctx).again("x", {"b": [2], "a": 1}) != first  # the second of its like
    one = Context.testing()
    for fields in ({"provider": "x"}, {"provider": "y"}, {"task": "x"}, {"provider": "x", "key": "k"}):
        await one.start(parameters=given, **fields)  # type: ignore[arg-type]
    assert len(one.recorded.children) == 4
    again = await one.start("x", given, key="k")
    assert again == Child("child_4")


class SyncStart:
    """Starts with the same context."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    async def again(self, name: str, parameters: dict[str, object]) -> Child:
        return await self.ctx.start(name, parameters)


async def test_a_refusal_is_an_error_with_its_reason() -> None:
    channel = AsyncChannel()
    channel.answers = [RuncastError("no provider", reason="PROVIDER_NOT_FOUND")]
    end = await run(fan_out, channel, '{"numbers": [1]}')
    assert isinstance(end, Raised)
    assert (end.error.reason, end.error.message) == ("PROVIDER_NOT_FOUND", "no provider")


def test_a_wait_ends_when_the_attempt_is_to_end() -> None:
    for error in (RuncastError("stop", reason=ASKED_TO_STOP), Fenced("over")):
        channel = BlockingChannel()
        channel.answers = [ChildStarted("c0", created=True), error]
        assert run_plain(fan_out_plainly, channel, '{"numbers": [1]}') == Stopped()
        channel.answers = [ChildStarted("c0", created=True), error]
        assert run_plain(fan_out, channel, '{"numbers": [1]}') == Stopped()


async def test_parameters_that_are_no_json_start_nothing() -> None:
    ctx = Context.testing()
    with pytest.raises(ProviderError):
        await ctx.start("x", {"a": float("nan")})
    assert ctx.recorded.children == []


async def test_a_test_says_how_children_end() -> None:
    ctx = Context.testing(children=lambda child: child.parameters["number"] ** 2)
    assert await fan_out.call(ctx, numbers=[2, 3]) == [4, 9]
    assert [child.parameters for child in ctx.recorded.children] == [{"number": 2}, {"number": 3}]
    plain = SyncContext.testing(children=lambda child: child.parameters["number"] ** 2)
    assert fan_out_plainly.call(plain, numbers=[2, 3]) == [4, 9]
    failed = EndedChild("", "FAILED", error_reason="X", error_message="broken", summary="no")
    ctx = Context.testing(children=lambda child: failed)
    ended = await ctx.wait_any([await ctx.start(task="nightly", survive=True, labels={"a": "b"})])
    assert (ended.state, ended.succeeded, ended.error_message) == ("FAILED", False, "broken")
    assert ctx.recorded.children[0][1:] == ("", "nightly", {}, {"a": "b"}, True)


async def test_waiting_for_nobody() -> None:
    ctx = Context.testing()
    assert await ctx.wait_all([]) == []
    with pytest.raises(ValueError, match="at least one"):
        await ctx.wait_any([])
