"""What is saved comes back, as plain data or as its type, or fails in a way that says so."""

import datetime as dt
import pickle
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.dataclasses import dataclass as pydantic_dataclass

from runcast.provider import CheckpointIncompatible, Context, ProviderError, SyncContext, provider
from runcast.provider.checkpoint import decode, decode_as, encode
from runcast.provider.runner import run_async
from runcast.server.model.call import Raised
from runcast.server.model.event import SaveCheckpoint
from tests.provider.channels import AsyncChannel, BlockingChannel, call, run, run_plain

# A shared machine is slow at times; what is tested here is not how fast it is.
UNHURRIED = settings(deadline=None)


class Model(BaseModel):
    place: Path
    when: dt.datetime
    price: Decimal = Decimal("0.10")
    raw: bytes = b"\xff"
    tags: set[str] = set()


class Struct(msgspec.Struct):
    done: int
    seen: dict[int, str]
    model: Model | None = None


@dataclass
class Plain:
    id: UUID
    names: list[str] = field(default_factory=list)


@pydantic_dataclass
class Checked:
    count: int
    path: Path


MODEL = Model(place=Path("a"), when=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), tags={"x"})
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(0, 99), inner)
    ),
    max_leaves=20,
)


def small(value: Any) -> bool:
    """Whether all whole numbers in it fit into 64 bits."""
    if isinstance(value, list):
        return all(map(small, value))
    if isinstance(value, dict):
        return all(map(small, value.values()))
    return not isinstance(value, int) or -(2**63) <= value < 2**64


@UNHURRIED
@given(PLAIN.filter(small))
def test_plain_data_comes_back_as_it_was(state: Any) -> None:
    assert decode(encode(state)) == state


@UNHURRIED
@given(st.binary())
def test_bytes_come_back_as_they_were(state: bytes) -> None:
    assert decode(encode(state)) == state
    assert decode_as(encode(bytearray(state)), bytes) == state


@pytest.mark.parametrize("state", [2**64, -(2**70), {"n": [10**300]}])
def test_huge_whole_numbers_come_back_exactly(state: Any) -> None:
    assert decode(encode(state)) == state


@pytest.mark.parametrize(
    "state",
    [
        MODEL,
        Struct(1, {2: "b"}),
        Struct(1, {}, MODEL),
        Plain(UUID(int=1), ["a"]),
        Checked(1, Path("p")),
        (1, "a"),
        {"a": 1},
        dt.timedelta(seconds=5),
        Path("x"),
    ],
    ids=lambda state: type(state).__name__,
)
def test_a_type_comes_back_as_itself(state: Any) -> None:
    assert decode_as(encode(state), type(state)) == state


def test_nested_types_come_back_as_themselves() -> None:
    assert decode_as(encode([MODEL]), list[Model]) == [MODEL]
    assert decode_as(encode({"a": Plain(UUID(int=1))}), dict[str, Plain]) == {"a": Plain(UUID(int=1))}


def test_as_plain_data_a_type_is_a_dictionary() -> None:
    assert decode(encode(Struct(1, {2: "b"}))) == {"done": 1, "seen": {2: "b"}, "model": None}


@pytest.mark.parametrize("state", [object(), lambda: 1, {1, object()}])
def test_what_cannot_be_saved_is_refused_with_its_type(state: object) -> None:
    with pytest.raises(ProviderError, match="cannot be saved as a checkpoint") as caught:
        encode(state)
    assert caught.value.reason == "CHECKPOINT_INVALID"
    assert type(state).__name__ in caught.value.message


def test_a_state_beyond_the_limit_is_refused() -> None:
    with pytest.raises(ProviderError, match="1,048,576 bytes") as caught:
        encode(bytes(1024 * 1024))
    assert caught.value.reason == "CHECKPOINT_TOO_LARGE"


@pytest.mark.parametrize("data", [b"", b"\x01\xc1", b"\x02{", pickle.dumps({"a": 1}), b"\x07x"])
def test_bytes_that_no_provider_saved_are_incompatible(data: bytes) -> None:
    with pytest.raises(CheckpointIncompatible, match="the last checkpoint cannot be read"):
        decode(data)


@pytest.mark.parametrize(
    ("state", "kind"),
    [({"done": "x"}, Struct), ({}, Model), (b"raw", Plain), ([1], int), ({"count": "x", "path": 1}, Checked)],
)
def test_another_type_than_the_saved_one_is_incompatible(state: object, kind: type[Any]) -> None:
    with pytest.raises(CheckpointIncompatible, match=f"cannot be read as {kind.__name__}"):
        decode_as(encode(state), kind)


def test_on_a_first_start_nothing_is_restored() -> None:
    ctx = Context.testing()
    assert ctx.restored is None
    assert ctx.restore(Struct) is None


def test_a_pickle_that_was_saved_comes_back_as_bytes() -> None:
    saved = pickle.dumps({"a": 1})
    assert SyncContext.testing(restored=saved).restored == saved


def test_what_is_restored_is_what_was_there_when_the_attempt_began() -> None:
    ctx = SyncContext.testing(restored={"at": 1})
    ctx.checkpoint({"at": 2})
    assert ctx.restored == {"at": 1}
    assert ctx.recorded.checkpoints == [{"at": 2}]


async def test_a_checkpoint_is_committed_and_not_only_reported() -> None:
    @provider
    async def saves(ctx: Context) -> None:
        await ctx.checkpoint(7)

    @provider
    def saves_too(ctx: SyncContext) -> None:
        ctx.checkpoint(7)

    channel, blocking = AsyncChannel(), BlockingChannel()
    await run(saves, channel)
    run_plain(saves_too, blocking)
    assert channel.committed == blocking.committed == [SaveCheckpoint(encode(7))]


async def test_an_attempt_that_cannot_read_its_checkpoint_fails_for_good() -> None:
    @provider
    async def resumes(ctx: Context) -> Any:
        return ctx.restored

    end = await run_async(resumes, call(checkpoint=b"\x07x"), AsyncChannel())
    assert isinstance(end, Raised)
    assert end.error.reason == "CHECKPOINT_INCOMPATIBLE"
    assert end.error.metadata == {"retryable": "false"}


async def test_a_schema_version_tells_later_code_in_which_form_the_state_is() -> None:
    @provider
    async def saves(ctx: Context) -> None:
        await ctx.checkpoint(7, schema_version=2)

    @provider
    def saves_too(ctx: SyncContext) -> None:
        ctx.checkpoint(7, schema_version=2)

    channel, blocking = AsyncChannel(), BlockingChannel()
    await run(saves, channel)
    run_plain(saves_too, blocking)
    assert channel.committed == blocking.committed == [SaveCheckpoint(encode(7), 2)]
    assert Context.testing(restored=7, restored_version=2).restored_version == 2
    assert Context.testing(restored=7).restored_version == Context.testing().restored_version == 0


@pytest.mark.parametrize("version", [-1, 1 << 31])
def test_a_schema_version_that_the_contract_cannot_hold_is_refused(version: int) -> None:
    with pytest.raises(ProviderError, match=f"schema_version is {version}"):
        SyncContext.testing().checkpoint(7, schema_version=version)
