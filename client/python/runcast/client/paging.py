"""Lists that come page by page."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol, TypeVar

import grpc.aio

from runcast.client.connection import Connection

PAGE = 200
"""How many to ask for at once."""


class PageRequest(Protocol):
    """Asks for a page."""

    page_size: int
    page_token: str


class Page(Protocol):
    """Names the page that follows."""

    next_page_token: str


Request = TypeVar("Request", bound=PageRequest)
Answer = TypeVar("Answer", bound=Page)
Item = TypeVar("Item")


async def items(
    connection: Connection,
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Answer],
    request: Request,
    read: Callable[[Answer], Iterable[Item]],
    limit: int | None = None,
) -> AsyncIterator[Item]:
    """What `read` finds on all pages, at most `limit`; a page is fetched once the loop has come to it."""
    left = limit
    while left is None or left > 0:
        request.page_size = PAGE if left is None else min(PAGE, left)
        page = await connection.unary(method, request)
        for item in read(page):
            yield item
            left = None if left is None else left - 1
        request.page_token = page.next_page_token
        if not request.page_token:
            return
