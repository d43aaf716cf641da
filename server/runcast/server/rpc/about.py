"""ServerService: what this server is and can do."""

from collections.abc import Callable, Sequence
from importlib.metadata import version

from runcast.server.engine import limits
from runcast.server.engine.engine import Engine
from runcast.server.model.attempts import KEPT_FAILURES
from runcast.server.rpc import pages
from runcast.server.rpc.following import STREAM_AGE
from runcast.server.rpc.handlers import Context
from runcast.server.rpc.messages import duration, timestamp
from runcast.server.rpc.runs import BATCH, LONGEST_WAIT
from runcast.v1 import server_pb2
from runcast.v1 import server_service_pb2 as pb

MAX_REQUEST = 4 << 20
_FEATURES = ("health", "operations", "reflection")


class ServerServicer:
    """The one RPC of ServerService; `methods` is filled once all services are registered."""

    def __init__(self, engine: Engine, now: Callable[[], int]) -> None:
        self._engine = engine
        self._now = now
        self.methods: Sequence[str] = ()

    async def GetServerInfo(  # noqa: N802
        self, request: pb.GetServerInfoRequest, context: Context
    ) -> pb.GetServerInfoResponse:
        """Versions, features, limits, durability, server time."""
        return pb.GetServerInfoResponse(
            server_version=version("runcast"),
            api_version="v1",
            boot_id=self._engine.boot_id,
            features=_FEATURES,
            methods=self.methods,
            limits=_limits(),
            durability=self._engine.durability,  # type: ignore[arg-type]  # the model's values are the wire's
            storage=self._engine.storage,
            server_time=timestamp(self._now()),
            start_time=timestamp(self._engine.start_time),
        )


def _limits() -> server_pb2.Limits:
    return server_pb2.Limits(
        max_input_bytes=limits.PARAMETERS,
        max_output_bytes=limits.RESULT,
        max_event_bytes=limits.EVENT,
        max_checkpoint_bytes=limits.CHECKPOINT,
        max_request_bytes=MAX_REQUEST,
        max_response_bytes=pages.BYTES_PER_PAGE,
        max_batch_size=BATCH,
        default_page_size=pages.DEFAULT_SIZE,
        max_page_size=pages.LARGEST_SIZE,
        max_kept_failures=KEPT_FAILURES,
        max_wait=duration(int(LONGEST_WAIT * 1_000_000)),
        max_stream_age=duration(int(STREAM_AGE * 1_000_000)),
        request_id_retention=duration(48 * 3600 * 1_000_000),
    )
