"""RunService, control: what is done to a run that exists."""

from runcast.server.engine.engine import Engine
from runcast.server.model.errors import InvalidArgument
from runcast.server.rpc.handlers import Context
from runcast.server.rpc.messages import run_message
from runcast.server.rpc.requests import run_id_of
from runcast.server.rpc.units import micros
from runcast.v1 import run_service_pb2 as pb

_REASON = 1_024


class ControlServicer:
    """The RPCs of RunService that steer a run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:  # noqa: N802
        """Record the wish, and answer at once."""
        grace = micros(request.grace, "grace") if request.HasField("grace") else None
        run = await self._engine.control.cancel(
            run_id_of(request.run_id),
            reason=_reason_of(request.reason),
            immediate=request.mode == request.MODE_IMMEDIATE or grace == 0,
            grace=grace,
        )
        return pb.CancelRunResponse(run=run_message(run))

    async def PauseRun(self, request: pb.PauseRunRequest, context: Context) -> pb.PauseRunResponse:  # noqa: N802
        """Let it stand still, and answer at once."""
        run = await self._engine.control.pause(
            run_id_of(request.run_id),
            reason=_reason_of(request.reason),
            require_checkpoint=request.require_checkpoint,
        )
        return pb.PauseRunResponse(run=run_message(run))

    async def ResumeRun(self, request: pb.ResumeRunRequest, context: Context) -> pb.ResumeRunResponse:  # noqa: N802
        """Let it go on."""
        return pb.ResumeRunResponse(
            run=run_message(await self._engine.control.resume(run_id_of(request.run_id)))
        )


def _reason_of(reason: str) -> str:
    if len(reason) > _REASON:
        raise InvalidArgument.of("reason", f"{len(reason):,} characters; at most {_REASON:,}")
    return reason
