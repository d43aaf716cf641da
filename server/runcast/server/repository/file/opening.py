"""What happens before the files of a store are read, and the words for what is wrong with them."""

import errno
from pathlib import Path

from runcast.server.model.errors import StorageError
from runcast.server.repository.file.framing import MAGIC, is_ours

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def refusal(path: Path, cause: str, remedy: str) -> StorageError:
    """The error that names the store, the cause and the remedy."""
    return StorageError(f"file store {path}: {cause}; {remedy}")


def is_full(error: OSError) -> bool:
    """Whether room on the disk would have helped."""
    return error.errno in _FULL


def explain(path: Path, error: OSError) -> StorageError:
    """What an error of the system means for whoever opens the store."""
    where = f"{error.filename or path}: {error.strerror}"
    if error.errno in _READ_ONLY:
        remedy = (
            "let the server's user read and write it and its folder, on a file system that is not read-only"
        )
    elif is_full(error):
        remedy = "make room on its disk"
    else:
        remedy = "put it on a local disk that works"
    return refusal(path, where, remedy)


def look(path: Path) -> None:
    """StorageError where no store can be at `path` or something else is. Changes nothing, not even beside it."""
    try:
        if not path.parent.is_dir():
            raise refusal(path, f"the folder {path.parent} does not exist", "create it, or name another one")
        if path.is_dir():
            raise refusal(path, "it is a folder", "name a file in it")
        if not path.exists():
            return
        if not path.is_file():
            raise refusal(path, "it is no ordinary file", "name another one")
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise explain(path, error) from error
    if start and not is_ours(start):
        cause = "it is a file of another program, or its first bytes are damaged"
        raise refusal(path, cause, "name another file, or restore a copy; nothing in it was changed")
