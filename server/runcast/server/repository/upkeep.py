"""What a store offers to whoever operates it, without being opened: also while a server runs on it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct


class Copied(Struct, frozen=True):
    """A back-up that was written: durable, under its final name."""

    path: Path
    size: int
    runs: int


class Problem(Struct, frozen=True):
    """Something that is not as it should be; `run` is empty where it is not one run's."""

    what: str
    remedy: str
    run: str = ""


class Report(Struct, frozen=True):
    """What a check has looked at, counted by its kind, and the problems that it found: the first ones, and how many."""

    counts: Mapping[str, int]
    problems: tuple[Problem, ...] = ()
    found: int = 0


class Upkeep(ABC):
    """Blocking; nothing here writes to the store. StorageError where there is none, or another program's, or one that a
    newer version wrote."""

    @abstractmethod
    def backup(self, destination: Path, *, replace: bool = False) -> Copied:
        """Write the store as it is at one moment to the file `destination`, whole or not at all; one that exists is
        kept unless `replace`."""

    @abstractmethod
    def check(self) -> Report:
        """Read everything that is stored, at one moment, and hold it against what was promised."""
