"""From a storage URL to the repository that it means."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from runcast.server.model.errors import InvalidArgument
from runcast.server.repository.abc import Repository

KNOWN = (
    "memory://",
    "file:///relative/path",
    "file:////absolute/path",
    "sqlite:///relative/path",
    "sqlite:////absolute/path",
)
_PLANNED = ("postgres", "postgresql", "redis", "rediss")


def repository_at(url: str) -> Repository:
    """The repository at `url`, not opened yet; nothing is touched. InvalidArgument for a URL that no backend serves."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _wrong(f"{url!r} is no URL: {error}") from error
    if parts.scheme in _PLANNED:
        raise _wrong(f"{parts.scheme}:// is not in this version")
    if parts.scheme not in ("memory", "sqlite", "file"):
        raise _wrong(f"{url!r} names no backend")
    if parts.query or parts.fragment:
        raise _wrong(f"{url!r} has options, and {parts.scheme}:// takes none")
    if parts.netloc:
        raise _wrong(f"{url!r} names a host, and {parts.scheme}:// has none")
    if parts.scheme == "memory":
        return _memory(url, parts.path)
    return _in_a_file(url, parts.scheme, parts.path)


def _memory(url: str, path: str) -> Repository:
    if path:
        raise _wrong(f"{url!r} has a path, and memory:// has none")
    from runcast.server.repository.memory import MemoryRepository

    return MemoryRepository()


def _in_a_file(url: str, scheme: str, path: str) -> Repository:
    name = unquote(path)[1:]
    if not name or name.endswith("/") or "\0" in name:
        raise _wrong(f"{url!r} names no file")
    if scheme == "file":
        from runcast.server.repository.file import FileRepository

        return FileRepository(Path(name))
    from runcast.server.repository.sqlite import SQLiteRepository

    return SQLiteRepository(Path(name))


def _wrong(cause: str) -> InvalidArgument:
    return InvalidArgument.of("storage", f"{cause}; known are {', '.join(KNOWN)}")
