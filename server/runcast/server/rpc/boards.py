"""RunService, streams: following all runs under a filter."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from weakref import WeakKeyDictionary

from runcast.server.engine import board
from runcast.server.engine.board import Changes, Place, Standing
from runcast.server.engine.engine import Engine
from runcast.server.engine.watching import Frame, GoingAway, Heartbeat
from runcast.server.model.errors import InvalidArgument
from runcast.server.rpc import pages
from runcast.server.rpc.following import STREAM_AGE
from runcast.server.rpc.frames import fill_frame, stream_age_message
from runcast.server.rpc.handlers import Context
from runcast.server.rpc.messages import fill_run
from runcast.server.rpc.requests import filter_of
from runcast.server.rpc.units import heartbeat_of, known
from runcast.v1 import run_pb2, watch_pb2
from runcast.v1 import run_service_pb2 as pb

_DELIMITED = 2
_CHANGES = bytes([pb.WatchRunsResponse.CHANGES_FIELD_NUMBER << 3 | _DELIMITED])
_ALL_LISTED = (-1, "")
_LATEST = 1 << 62

_Encoded = WeakKeyDictionary[Standing, bytes]


class BoardServicer:
    """The RPC of RunService that streams many runs."""

    def __init__(self, engine: Engine, now: Callable[[], int], *, age: float = STREAM_AGE) -> None:
        self._engine = engine
        self._now = now
        self._age = age
        self._encoded: dict[bool, _Encoded] = {True: WeakKeyDictionary(), False: WeakKeyDictionary()}

    async def WatchRuns(self, request: pb.WatchRunsRequest, context: Context) -> AsyncIterator[object]:  # noqa: N802
        """Stream the runs that match, as they stand and as they change."""
        heartbeat = heartbeat_of(request)
        selection, tokens = filter_of(request.filter), _Tokens(request)
        place = tokens.read(request.resume_token)
        full = known(request, "view") == run_pb2.RUN_VIEW_FULL
        clock = asyncio.get_running_loop().time
        end = clock() + self._age * random.uniform(0.9, 1.0)  # noqa: S311 - so that streams do not end all at once
        token = request.resume_token
        messages = self._engine.board.frames(selection, place, heartbeat)
        try:
            async for place, message in messages:
                before, token = token, tokens.make(place)
                if isinstance(message, Changes):
                    parts = list(self._parts(message, before, token, full=full))
                else:
                    parts = [self._other(message, token)]
                del message  # a reader who stops holds what it is being sent, and nothing else
                for part in parts:
                    yield part
                if clock() > end:
                    age = stream_age_message(0)
                    yield pb.WatchRunsResponse(resume_token=token, going_away=age.going_away)
                    return
        finally:
            await messages.aclose()  # type: ignore[attr-defined]  # an async generator

    def _parts(self, changes: Changes, before: str, after: str, *, full: bool) -> Iterator[bytes]:
        """One message, or several where the runs are large: then each but the last keeps the place before them all."""
        body, size = [pb.WatchRunsResponse.Changes(removed=changes.removed).SerializeToString()], 0
        for standing in changes.runs:
            run = self._run(standing, full=full)
            size += len(run)
            if size > pages.BYTES_PER_PAGE and len(body) > 1:
                yield _framed(before, b"".join(body))
                body, size = [], len(run)
            body.append(run)
        yield _framed(after, b"".join(body))

    def _run(self, standing: Standing, *, full: bool) -> bytes:
        """The run as the only one of a Changes; of several such bytes in a row, any reader makes one with all runs."""
        encoded = self._encoded[full].get(standing)
        if encoded is None:
            changes = pb.WatchRunsResponse.Changes()
            fill_run(changes.runs.add(), standing.run, full=full)
            encoded = self._encoded[full][standing] = changes.SerializeToString()
        return encoded

    def _other(self, message: "board.Message", token: str) -> bytes:
        response = pb.WatchRunsResponse(resume_token=token)
        if isinstance(message, board.Resync):
            response.resync.reason = message.reason
            response.resync.SetInParent()
        elif isinstance(message, Heartbeat | GoingAway):
            frame = _frame(message, self._now())
            if isinstance(message, Heartbeat):
                response.heartbeat.CopyFrom(frame.heartbeat)
            else:
                response.going_away.CopyFrom(frame.going_away)
        else:
            response.caught_up.SetInParent()
        return response.SerializeToString()


def _frame(message: Frame, now: int) -> watch_pb2.WatchFrame:
    frame = watch_pb2.WatchFrame()
    fill_frame(frame, 0, message, now)
    return frame


def _framed(token: str, changes: bytes) -> bytes:
    """A response with these encoded changes."""
    length, rest = bytearray(), len(changes)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    head = pb.WatchRunsResponse(resume_token=token).SerializeToString()
    return b"".join((head, _CHANGES, length, changes))


class _Tokens:
    """Resume tokens of one filter, whatever the view."""

    def __init__(self, request: pb.WatchRunsRequest) -> None:
        self._bound = pb.WatchRunsRequest()
        if request.filter.ByteSize():
            self._bound.filter.CopyFrom(request.filter)

    def make(self, place: Place) -> str:
        """The token of a place."""
        created, run_id = _ALL_LISTED if place.behind is None else place.behind
        return pages.token_for(self._bound, place.boot_id, place.number, created, run_id)

    def read(self, token: str) -> Place | None:
        """The place of a token, None without one. InvalidArgument for one of another filter, or none of ours."""
        try:
            position = pages.position_of(self._bound, token, str, int, int, str)
        except InvalidArgument:
            raise _foreign() from None
        if position is None:
            return None
        boot_id, number, created, run_id = position
        if (created, run_id) == _ALL_LISTED:
            return Place(boot_id, number)
        if not (0 <= created <= _LATEST and run_id.isprintable()):
            raise _foreign()
        return Place(boot_id, number, (created, run_id))


def _foreign() -> InvalidArgument:
    expected = "not a token of this filter: send the last `resume_token` back with the same filter, or none"
    return InvalidArgument.of("resume_token", expected)
