"""`@provider`: marks a function as one that can be run, and says how."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, overload

from runcast.provider.definition import Provider, digest, schema_text
from runcast.provider.docstring import read as read_docstring
from runcast.provider.errors import InvalidProvider
from runcast.provider.parameters import Parameters
from runcast.provider.result import Result
from runcast.provider.signature import Signature
from runcast.provider.signature import read as read_signature
from runcast.provider.spec import Duration, Recovery, Retry, Timeouts, microseconds, recovery_of
from runcast.server.model import provider as model
from runcast.server.model.run import Execution, Spec

P = ParamSpec("P")
R = TypeVar("R")
Kind = Literal["async", "thread", "process"]
_TIMEOUTS = Timeouts()
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@overload
def provider(function: Callable[P, R], /) -> Provider[P, R]: ...
@overload
def provider(
    *,
    name: str = "",
    title: str = "",
    description: str | None = None,
    category: str = "",
    icon: str = "",
    tags: Sequence[str] = (),
    danger: str = "",
    expensive: bool = False,
    idempotent: bool = False,
    checkpointing: bool = False,
    pausable: bool | None = None,
    execution: Kind | None = None,
    timeouts: Timeouts | Duration = ...,
    retry: Retry | int = 1,
    recovery: Recovery | None = None,
    queue: str = "default",
    priority: int = 0,
    concurrency_key: str = "",
    rate_limit_key: str = "",
    max_failures: int = 0,
    retention: Duration | None = None,
) -> Callable[[Callable[P, R]], Provider[P, R]]: ...
def provider(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a provider. Bare, or with what should not be guessed:

    `name` (default: the function's), `title` (made of the name), `description` (the docstring's text), `category`, `icon`,
    `tags`; `danger`, a reason to ask before it is run; `expensive`; `idempotent`, running it twice does no harm;
    `checkpointing`, it goes on from what it saved; `pausable` (default: as `checkpointing`).
    `execution`: "async" is the default of a coroutine, "process" of a plain function, which "thread" puts into the server.
    `timeouts`: how long an attempt may take, or `Timeouts(…)`; durations are seconds or timedelta.
    `retry`: how many attempts, or `Retry(…)`. `recovery`: what happens when the server is lost; "resume" where the provider
    is idempotent or checkpointing, else "hold". `retention`: how long its finished runs are kept; None is for good.

    Raises InvalidProvider, naming function and parameter, where something does not fit.
    """
    if function is not None:
        return _make(function)
    return lambda function: _make(function, **options)


def _make(
    function: Callable[..., Any],
    *,
    name: str = "",
    description: str | None = None,
    execution: Kind | None = None,
    **options: Any,
) -> Provider[..., Any]:
    signature = read_signature(function)
    where = f"{function.__qualname__}()"
    documented = read_docstring(function.__doc__)
    parameters = Parameters(function.__qualname__, signature.parameters, documented.parameters)
    result = _result(where, signature)
    described = _describe(
        where,
        name=name or function.__name__,
        description=documented.text if description is None else description,
        execution=_execution(where, signature, execution),
        schemas=(schema_text(parameters.schema), schema_text(result.schema)),
        **options,
    )
    return Provider(function, signature, parameters, result, described)


def _describe(
    where: str,
    *,
    name: str,
    description: str,
    execution: Execution,
    schemas: tuple[str, str],
    title: str = "",
    category: str = "",
    icon: str = "",
    tags: Sequence[str] = (),
    danger: str = "",
    expensive: bool = False,
    idempotent: bool = False,
    checkpointing: bool = False,
    pausable: bool | None = None,
    **policies: Any,
) -> model.Provider:
    _check(where, name, tags)
    return model.Provider(
        name,
        execution,
        title=title or _title(name),
        description=description,
        category=category,
        icon=icon,
        tags=tuple(tags),
        danger=danger,
        expensive=expensive,
        input_schema=schemas[0],
        output_schema=schemas[1],
        idempotent=idempotent,
        checkpointing=checkpointing,
        pausable=checkpointing if pausable is None else pausable,
        defaults=_spec(where, safe_to_repeat=idempotent or checkpointing, **policies),
        schema_digest=digest(*schemas),
    )


def _check(where: str, name: str, tags: Sequence[str]) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidProvider(
            f"{where}: the name {name!r} may hold letters, digits, '.', '_' and '-', at most 128"
        )
    if isinstance(tags, str):
        raise InvalidProvider(f"{where}: tags is a list of texts, not one text")


def _spec(
    where: str,
    *,
    safe_to_repeat: bool,
    timeouts: Timeouts | Duration = _TIMEOUTS,
    retry: Retry | int = 1,
    recovery: Recovery | None = None,
    queue: str = "default",
    priority: int = 0,
    concurrency_key: str = "",
    rate_limit_key: str = "",
    max_failures: int = 0,
    retention: Duration | None = None,
) -> Spec:
    if not isinstance(timeouts, Timeouts):
        timeouts = Timeouts(attempt=timeouts)
    if not isinstance(retry, Retry):
        retry = Retry(max_attempts=retry)
    try:
        return Spec(
            timeouts=timeouts.to_model(),
            retry=retry.to_model(),
            recovery=recovery_of(recovery, safe_to_repeat),
            queue=queue,
            priority=priority,
            concurrency_key=concurrency_key,
            rate_limit_key=rate_limit_key,
            max_failures=max_failures,
            retention=None if retention is None else microseconds("retention", retention),
        )
    except InvalidProvider as error:
        raise InvalidProvider(f"{where}: {error}") from None


def _execution(where: str, signature: Signature, given: Kind | None) -> Execution:
    if given is None:
        return Execution.ASYNC if signature.coroutine else Execution.PROCESS
    kinds = {"async": Execution.ASYNC, "thread": Execution.THREAD, "process": Execution.PROCESS}
    if given not in kinds:
        raise InvalidProvider(f"{where}: execution is one of {', '.join(kinds)}, not {given!r}")
    if given == "async" and not signature.coroutine:
        raise InvalidProvider(
            f"{where}: a plain function would block its server; make it `async def`, or leave execution out"
        )
    return kinds[given]


def _result(where: str, signature: Signature) -> Result:
    try:
        return Result(signature.returns, signature.annotated)
    except TypeError as error:
        raise InvalidProvider(f"{where}: its result cannot be turned into JSON: {error}") from error


def _title(name: str) -> str:
    words = re.sub(r"[._-]+", " ", name).strip()
    return words[:1].upper() + words[1:]
