"""Ownership in the contract: who wants a run so much that it depends on their stream."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from runcast.server.engine.engine import Engine
from runcast.server.engine.request import Start
from runcast.server.engine.starting import Started
from runcast.server.model.errors import InvalidArgument, Unavailable
from runcast.server.model.run import OnDisconnect
from runcast.server.rpc.units import known, micros
from runcast.v1 import run_service_pb2 as pb

_GRACE = 30_000_000
_LONGEST_GRACE = 24 * 3600 * 1_000_000
_ID = 128
T = TypeVar("T")


class Owner(Struct, frozen=True):
    """What a stream says of its ownership; `policy` is None where the run goes on without it. `grace` in microseconds.

    `named`: the id is the client's own, which it comes back with.
    """

    attachment_id: str
    named: bool
    policy: OnDisconnect | None
    grace: int


def owner_of(message: pb.Ownership, prefix: str) -> Owner:
    """The owner, with an id made where none was sent. InvalidArgument."""
    if len(message.attachment_id) > _ID:
        raise InvalidArgument.of(f"{prefix}attachment_id", f"at most {_ID} characters")
    policy = known(message, "policy", prefix)
    grace = micros(message.grace, f"{prefix}grace") if message.HasField("grace") else _GRACE
    if grace > _LONGEST_GRACE:
        raise InvalidArgument.of(f"{prefix}grace", f"{grace / 1e6:g} s: at most 24 hours")
    named = bool(message.attachment_id)
    attachment_id = message.attachment_id or f"attachment_{uuid.uuid4().hex}"
    return Owner(attachment_id, named, OnDisconnect(policy) if policy in (2, 3) else None, grace)


async def started(engine: Engine, start: Start, owner: Owner) -> Started:
    """The run of a stream's start, which depends on its owner from its first commit on.

    Where the stream goes meanwhile, the run is started all the same, and the owner's grace begins.
    """
    if owner.policy is None:
        return await engine.start(start)
    interest = engine.attachments.interest(owner.attachment_id, owner.policy, owner.grace)
    begun = asyncio.ensure_future(engine.start(replace(start, attachment=interest)))
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        begun.add_done_callback(partial(_begun, engine, owner))
        raise


def _begun(engine: Engine, owner: Owner, begun: "asyncio.Future[Started]") -> None:
    if not begun.cancelled() and begun.exception() is None:
        gone(engine, begun.result().run.id, owner)


def gone(engine: Engine, run_id: str, owner: Owner) -> None:
    """The stream that started the run ended before the run was seen to depend on it."""
    if owner.policy is not None and not engine.draining:
        interest = engine.attachments.interest(owner.attachment_id, owner.policy, owner.grace)
        engine.attachments.gone(run_id, interest)


def hung_up(engine: Engine, run_id: str, owner: Owner) -> None:
    """The owner half-closed its stream without a word: a disconnect, although it is still sent to."""
    if owner.policy is not None and not engine.draining:
        engine.attachments.hang_up(run_id, owner.attachment_id, owner.policy, owner.grace)


def owned(
    engine: Engine, run_id: str, owner: Owner, frames: AsyncGenerator[T, None]
) -> AsyncGenerator[T, None]:
    """The frames of a stream on which the run depends while they flow, if the owner wants that."""
    return frames if owner.policy is None and not owner.named else _owned(engine, run_id, owner, frames)


async def _owned(
    engine: Engine, run_id: str, owner: Owner, frames: AsyncGenerator[T, None]
) -> AsyncGenerator[T, None]:
    async with aclosing(frames):
        if owner.policy is None:  # it may have been attached before, with another policy
            await engine.attachments.detach(run_id, owner.attachment_id)
            async for frame in frames:
                yield frame
            return
        async with engine.attachments.stream(run_id, owner.attachment_id, owner.policy, owner.grace) as held:
            try:
                async for frame in frames:
                    yield frame
                held.kept = True  # its end was the server's doing, or the run's
            except Unavailable:
                held.kept = True
                raise
            finally:
                held.kept = held.kept or engine.draining
