"""What a function's signature says of it as a provider: its parameters, its result, and where its context goes."""

import inspect
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from runcast.provider.context import Context, SyncContext
from runcast.provider.errors import InvalidProvider

_Kind = inspect.Parameter


class Signature(NamedTuple):
    """`parameters` maps names to annotation and default (`inspect.Parameter.empty` for none); `context` is a name."""

    coroutine: bool
    parameters: dict[str, tuple[Any, Any]]
    context: str | None
    returns: Any
    annotated: bool


def read(function: Callable[..., Any]) -> Signature:
    """InvalidProvider, naming the function and the parameter, where it cannot be a provider."""
    if not inspect.isfunction(function):
        raise InvalidProvider(f"a provider is a function, and {function!r} is none")
    name = function.__qualname__
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidProvider(
            f"{name}() yields: a provider returns its result; use ctx.partial() for pieces of it"
        )
    hints = _hints(function)
    coroutine = inspect.iscoroutinefunction(function)
    context: str | None = None
    parameters: dict[str, tuple[Any, Any]] = {}
    for parameter in inspect.signature(function).parameters.values():
        _check(name, parameter, hints)
        annotation = hints[parameter.name]
        kind = _context_kind(annotation)
        if kind is None:
            parameters[parameter.name] = (annotation, parameter.default)
        elif context is not None:
            raise InvalidProvider(
                f"{name}(): {context} and {parameter.name} are both contexts; one is enough"
            )
        elif coroutine and kind is SyncContext:
            raise InvalidProvider(
                f"{name}(): {parameter.name} is a SyncContext, which blocks; annotate a coroutine's with Context"
            )
        else:
            context = parameter.name
    return Signature(coroutine, parameters, context, hints.get("return"), "return" in hints)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise InvalidProvider(
            f"{function.__qualname__}(): an annotation cannot be resolved ({error}); its types must be known at module level"
        ) from error


def _check(function: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> None:
    name = parameter.name
    if parameter.kind is _Kind.POSITIONAL_ONLY:
        raise InvalidProvider(f"{function}(): {name} is positional-only; parameters are given by name")
    if parameter.kind in (_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD):
        star = "*" if parameter.kind is _Kind.VAR_POSITIONAL else "**"
        raise InvalidProvider(f"{function}(): {star}{name} takes anything; name each parameter and its type")
    if name not in hints:
        raise InvalidProvider(f"{function}(): {name} has no annotation; its type says what may be given")


def _context_kind(annotation: Any) -> type | None:
    """Which context is asked for; also inside of Annotated and of a union."""
    if annotation in (Context, SyncContext):
        return typing.cast("type", annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        return _context_kind(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in map(_context_kind, get_args(annotation)) if kind]
        return Context if len(kinds) > 1 else kinds[0] if kinds else None
    return None
