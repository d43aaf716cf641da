"""From a URL to a repository, or to words that help."""

from pathlib import Path

import pytest

from runcast.server.model.errors import InvalidArgument
from runcast.server.repository.file import FileRepository
from runcast.server.repository.memory import MemoryRepository
from runcast.server.repository.sqlite import SQLiteRepository
from runcast.server.repository.storage import repository_at


def test_memory_is_a_repository_of_this_process() -> None:
    assert isinstance(repository_at("memory://"), MemoryRepository)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///runs.db", "runs.db"),
        ("sqlite:///data/runs.db", "data/runs.db"),
        ("sqlite:////var/lib/runs.db", "/var/lib/runs.db"),
        ("sqlite:///a%20b%3F.db", "a b?.db"),
        ("SQLITE:///runs.db", "runs.db"),
    ],
)
def test_a_sqlite_url_has_three_slashes_before_a_relative_and_four_before_an_absolute_path(
    url: str, path: str
) -> None:
    repository = repository_at(url)
    assert isinstance(repository, SQLiteRepository)
    assert repository._path == Path(path)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///runs", "runs"),
        ("file:///data/runs", "data/runs"),
        ("file:////var/lib/runs", "/var/lib/runs"),
        ("file:///a%20b%3F%2525", "a b?%25"),
        ("FILE:///runs", "runs"),
    ],
)
def test_a_file_url_is_read_in_the_same_way(url: str, path: str) -> None:
    repository = repository_at(url)
    assert isinstance(repository, FileRepository)
    assert repository._path == Path(path)


@pytest.mark.parametrize("url", ["postgres://host/db", "postgresql://host/db", "redis://host"])
def test_a_backend_that_is_planned_is_not_in_this_version(url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"is not in this version; known are memory://, file:///"):
        repository_at(url)


@pytest.mark.parametrize(
    "url",
    [
        "", "runs.db", "/var/runs.db", "mysql://host/db", "sqlite:", "sqlite://", "sqlite:///", "sqlite:////",
        "sqlite://runs.db", "sqlite://host/runs.db", "sqlite:///runs.db?mode=ro", "sqlite:///runs.db#x",
        "file:", "file:///", "file:///folder/", "file://host/runs", "file:///runs?x=1", "sqlite:///folder/", "sqlite:///a%00b", "memory://host", "memory:///path", "sqlite://[/x", ":memory:",
    ],
)  # fmt: skip
def test_any_other_url_is_refused_with_what_is_known(url: str) -> None:
    with pytest.raises(InvalidArgument, match="known are memory://, file:///") as error:
        repository_at(url)
    assert [violation.field for violation in error.value.violations] == ["storage"]
