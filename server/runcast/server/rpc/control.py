"""RunService, control: what is done to a run that exists."""

from runcast.server.engine.engine import Engine
from runcast.server.model.errors import InvalidArgument
from runcast.server.rpc.handlers import Context
from runcast.server.rpc.messages import run_message
from runcast.server.rpc.requests import micros, run_id_of
from runcast.v1 import run_service_pb2 as pb

_REASON = 1_024


class ControlServicer:
    """The RPCs of RunService that steer a run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:  # noqa: N802
        """Record the wish, and answer at once."""
        if len(request.reason) > _REASON:
            raise InvalidArgument.of("reason", f"{len(request.reason)} characters; at most {_REASON:,}")
        grace = micros(request.grace, "grace") if request.HasField("grace") else None
        run = await self._engine.control.cancel(
            run_id_of(request.run_id),
            reason=request.reason,
            immediate=request.mode == request.MODE_IMMEDIATE or grace == 0,
            grace=grace,
        )
        return pb.CancelRunResponse(run=run_message(run))
