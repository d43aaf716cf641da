"""The lock of a store that only one server may use: a file beside it."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from runcast.server.model.errors import StorageError

Refusal = Callable[[Path, str, str], StorageError]
"""Makes the error from the store's path, the cause and the remedy."""


def lock(path: Path, refusal: Refusal) -> int:
    """The descriptor that holds the store's lock until it is closed. StorageError where another server holds it."""
    name = f"{path}.lock"
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        remedy = f"let the server's user write to the folder {path.parent}"
        raise refusal(path, f"its lock {name} cannot be made: {error.strerror}", remedy) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise refusal(path, "it is in use by another server", "stop that one, or name another file") from None
    except OSError as error:
        os.close(descriptor)
        raise refusal(
            path, f"its folder has no file locks: {error.strerror}", "put it on a local disk"
        ) from error
    return descriptor
