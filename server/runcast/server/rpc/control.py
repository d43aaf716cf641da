"""RunService, control: what is done to a run that exists."""

import hashlib

from runcast.server.engine.control import Control
from runcast.server.engine.engine import Engine
from runcast.server.engine.retrying import Again
from runcast.server.model.errors import InvalidArgument
from runcast.server.model.run import Run
from runcast.server.rpc.handlers import Context
from runcast.server.rpc.messages import run_message
from runcast.server.rpc.requests import input_of, run_id_of
from runcast.server.rpc.units import known, micros
from runcast.v1 import run_service_pb2 as pb

_REASON = 1_024


class ControlServicer:
    """The RPCs of RunService that steer a run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:  # noqa: N802
        """Record the wish, and answer at once."""
        return pb.CancelRunResponse(run=run_message(await cancelled(self._engine.control, request)))

    async def PauseRun(self, request: pb.PauseRunRequest, context: Context) -> pb.PauseRunResponse:  # noqa: N802
        """Let it stand still, and answer at once."""
        return pb.PauseRunResponse(run=run_message(await paused(self._engine.control, request)))

    async def ResumeRun(self, request: pb.ResumeRunRequest, context: Context) -> pb.ResumeRunResponse:  # noqa: N802
        """Let it go on."""
        return pb.ResumeRunResponse(run=run_message(await resumed(self._engine.control, request)))

    async def RetryRun(self, request: pb.RetryRunRequest, context: Context) -> pb.RetryRunResponse:  # noqa: N802
        """Start it again, as a new run."""
        again = Again(
            run_id=run_id_of(request.run_id),
            from_checkpoint=request.from_checkpoint,
            failed_targets_only=request.failed_targets_only,
            input=input_of(request.input, "input") if request.HasField("input") else None,
            request_id=request.request_id,
            digest=_digest(request),
        )
        started = await self._engine.retry(again)
        return pb.RetryRunResponse(run=run_message(started.run), created=started.created)


async def cancelled(control: Control, request: pb.CancelRunRequest) -> Run:
    """Do as CancelRun."""
    grace = micros(request.grace, "grace") if request.HasField("grace") else None
    return await control.cancel(
        run_id_of(request.run_id),
        reason=_reason_of(request.reason),
        immediate=known(request, "mode") == request.MODE_IMMEDIATE or grace == 0,
        grace=grace,
    )


async def paused(control: Control, request: pb.PauseRunRequest) -> Run:
    """Do as PauseRun."""
    return await control.pause(
        run_id_of(request.run_id),
        reason=_reason_of(request.reason),
        require_checkpoint=request.require_checkpoint,
    )


async def resumed(control: Control, request: pb.ResumeRunRequest) -> Run:
    """Do as ResumeRun."""
    return await control.resume(run_id_of(request.run_id))


def _digest(request: pb.RetryRunRequest) -> bytes:
    """What tells requests of one id apart, also from those of other calls."""
    raw = request.DESCRIPTOR.full_name.encode() + request.SerializeToString(deterministic=True)
    return hashlib.blake2b(raw, digest_size=16).digest()


def _reason_of(reason: str) -> str:
    if len(reason) > _REASON:
        raise InvalidArgument.of("reason", f"{len(reason):,} characters; at most {_REASON:,}")
    return reason
