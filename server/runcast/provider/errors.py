"""What can go wrong on the provider's side, for authors to raise, to catch, or to read once at start.

Exception
├── InvalidProvider          (a TypeError) a decorated function cannot be a provider; names function and parameter
└── ProviderError            the attempt fails for this reason
    └── CheckpointIncompatible   … because the last checkpoint cannot be read
BaseException
└── Cancelled                the attempt is to end; passes by `except Exception`
"""

UNKNOWN, INVALID_ARGUMENT, FAILED_PRECONDITION = 2, 3, 9


class InvalidProvider(TypeError):
    """The function or its policies cannot be a provider; raised where it is decorated."""


class ProviderError(Exception):
    """Fails the attempt with words of its author's own, instead of the exception's type and text.

    `reason` is UPPER_SNAKE_CASE: policies and clients decide by it. `code` is a google.rpc code. `retryable` False
    ends the run although its retry policy would allow another attempt. `metadata` is kept with the error, as text.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "PROVIDER_ERROR",
        code: int = UNKNOWN,
        retryable: bool = True,
        **metadata: object,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.retryable = retryable
        self.metadata = {name: str(value) for name, value in metadata.items()}


class CheckpointIncompatible(ProviderError):
    """The last checkpoint cannot be read as asked; it is kept, and trying again does not help."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="CHECKPOINT_INCOMPATIBLE", code=FAILED_PRECONDITION, retryable=False)


class Cancelled(BaseException):
    """The attempt was asked to end, or is over: raised in plain functions by what their context does.

    Like `asyncio.CancelledError` it is no Exception: clean up in `finally`, and let it through.
    """
