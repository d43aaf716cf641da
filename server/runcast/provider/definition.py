"""A provider: a function with everything that is known of it before it runs."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from runcast.provider.context import AnyContext, BaseContext, Context, SyncContext
from runcast.provider.parameters import DIALECT, Parameters
from runcast.provider.result import Result, json_text
from runcast.provider.signature import Signature
from runcast.server.model import provider as model

P = ParamSpec("P")
R = TypeVar("R")


class Provider(Generic[P, R]):
    """What `@provider` makes of a function; calling it calls the function, with nothing in between.

    `description` is what the server tells of it, `where` the function's "file:line", `context` the name of the parameter
    that takes the context, or None.
    """

    def __init__(
        self,
        function: Callable[P, R],
        signature: Signature,
        parameters: Parameters,
        result: Result,
        description: model.Provider,
    ) -> None:
        self.function = function
        self.coroutine = signature.coroutine
        self.context = signature.context
        self.parameters = parameters
        self.result = result
        self.description = description
        self.where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", description.name)
        self.__module__ = function.__module__
        self.__wrapped__ = function

    @property
    def name(self) -> str:
        """By which clients start it."""
        return self.description.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, as it is written."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<provider {self.name!r} at {self.where}>"

    def validate(self, text: str) -> str:
        """Input as JSON text, checked and with defaults filled in; InvalidArgument with a violation for each field."""
        return self.parameters.validate(text)

    def check_given(self, text: str) -> None:
        """Whether what is given fits, where parameters may be missing; InvalidArgument with a violation for each field."""
        self.parameters.check_given(text)

    def call(self, context: AnyContext | None = None, /, **parameters: Any) -> R:
        """Call the function as a run does: parameters checked and converted by its types, defaults filled in.

        For unit tests: `await countdown.call(Context.testing(), seconds=3)`, and without `await` and with SyncContext
        where it is a plain function. Parameters are plain JSON data or what can be turned into it.
        """
        wanted = Context if self.coroutine else SyncContext
        if self.context is not None and not isinstance(context, wanted):
            raise TypeError(f"{self.name} takes a context: give it {wanted.__name__}.testing()")
        arguments = self.parameters.parse(self.validate(json_text(parameters, "the input")))
        return self.invoke(context, arguments)

    def invoke(self, context: BaseContext[Any] | None, arguments: dict[str, Any]) -> R:
        """Call the function with parsed arguments, and with its context if it takes one."""
        if self.context is not None:
            arguments[self.context] = context
        return self.function(**arguments)  # type: ignore[call-arg]


def schema_text(schema: dict[str, Any] | None) -> str:
    """A JSON Schema as compact text that names its dialect; nothing for None."""
    if schema is None:
        return ""
    return json.dumps({"$schema": DIALECT, **schema}, ensure_ascii=False, separators=(",", ":"))


def digest(*schemas: str) -> str:
    """Changes whenever a schema does: sha256, in hex."""
    return hashlib.sha256("\n".join(schemas).encode()).hexdigest()
