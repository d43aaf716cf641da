"""Requests that come again under one id: how long an id is kept, and what it was used for."""

from runcast.server.engine.committer import Committer
from runcast.server.model.change import Group, Known, Request
from runcast.server.model.document import DocumentChange
from runcast.server.model.errors import AlreadyExists
from runcast.server.model.task import Task

KEPT = 48 * 3600 * 1_000_000
"""In microseconds."""

_NEVER = DocumentChange(Task("", 1, 0, 0, ""))


async def earlier(committer: Committer, request: Request | None) -> Known | None:
    """What the same request made when it came before, although it would be refused now; None where it did not."""
    if request is None:
        return None
    # The store answers Known before anything else, and a second version of what does not exist is never stored.
    result = await committer.save(Group((), request, (_NEVER,)))
    return result if isinstance(result, Known) and result.digest == request.digest else None


def made_it(known: Known, create_time: int) -> bool:
    """Whether what has the id now was made by that request: it may be gone, and its id somebody else's."""
    return create_time <= known.expire_time - KEPT


def reused(request_id: str) -> AlreadyExists:
    """The request id was used for something else."""
    message = f"request id {request_id!r} was used for another request: choose a new one"
    return AlreadyExists("request", request_id, message, reason="REQUEST_ID_REUSED")
