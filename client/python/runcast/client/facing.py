"""How a blocking face is put before an asynchronous object: method by method, with its name, words and types."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from runcast.client.portal import Portal

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Face(Generic[S]):
    """A blocking object before an asynchronous one."""

    def __init__(self, portal: Portal, source: S) -> None:
        self._portal = portal
        self._source = source


class Faced(Generic[P, R]):
    """A method of a face: what type checkers, `help` and `inspect` are to see of it."""

    def __init__(self, function: Callable[Concatenate[Any, P], R]) -> None:
        self._function = function

    @overload
    def __get__(self, face: None, owner: type) -> Callable[Concatenate[Any, P], R]: ...

    @overload
    def __get__(self, face: object, owner: type) -> Callable[P, R]: ...

    def __get__(self, face: object | None, owner: type) -> Any:
        return self._function if face is None else MethodType(self._function, face)


def blocking(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> Faced[P, R]:
    """A coroutine method that is waited for."""

    @wraps(method)
    def call(face: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return face._portal.call(method(face._source, *args, **kwargs))  # noqa: SLF001 - a part of Face

    return Faced(call)


def iterating(method: Callable[Concatenate[Any, P], AsyncIterator[T]]) -> Faced[P, Iterator[T]]:
    """A method whose items are waited for, one by one."""

    @wraps(method)
    def call(face: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return _each(face._portal, method(face._source, *args, **kwargs))  # noqa: SLF001

    return Faced(call)


def facing(method: Callable[Concatenate[Any, P], S], make: Callable[[Portal, S], R]) -> Faced[P, R]:
    """A method that answers at once, with an object that gets a face of its own."""

    @wraps(method)
    def call(face: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return make(face._portal, method(face._source, *args, **kwargs))  # noqa: SLF001

    return Faced(call)


def _each(portal: Portal, items: AsyncIterator[T]) -> Iterator[T]:
    while True:
        try:
            yield portal.call(following(items))
        except StopAsyncIteration:
            return


async def following(items: AsyncIterator[T]) -> T:
    """The next one, as a coroutine."""
    return await anext(items)


def constructed(
    init: Callable[Concatenate[Any, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Mark a constructor that takes what another one takes."""

    def mark(function: Callable[..., None]) -> Callable[Concatenate[Any, P], None]:
        return cast(Callable[Concatenate[Any, P], None], wraps(init)(function))

    return mark
