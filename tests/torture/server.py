"""The server as a person starts it, but for what a test wants changed; what is not known here goes to the server.

`--die POINT:N`: die there. `--bug NAME`: with this deliberate bug. `--unlocked`: share the store with another server.
`--ttl SECONDS`: a lease of this length. `--hold SECONDS`: one on an owner's stream. `--coroutines N`: so many slots for
them. `--fold BYTES`: a file store folds each journal of this size.
"""

import argparse
import os
import sys
from functools import partial
from typing import Any

from runcast.server import __main__ as program
from runcast.server.engine import engine, lease
from runcast.server.engine.attachments import Attachments
from runcast.server.executor import tree
from runcast.server.executor.assembly import executors
from runcast.server.repository.abc import Repository
from runcast.server.repository.file import FileRepository
from runcast.server.repository.storage import repository_at
from tests.torture import bugs, failpoints
from tests.torture.mortal_disk import MortalDisk


def main() -> int:
    """As the server's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--die")
    parser.add_argument("--bug", action="append", default=[])
    parser.add_argument("--unlocked", action="store_true")
    parser.add_argument("--ttl", type=float)
    parser.add_argument("--hold", type=float)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--coroutines", type=int, default=256)
    asked, sys.argv[1:] = parser.parse_known_args()
    tree.die_with_parent(os.getppid())  # a storm that is broken off leaves no server behind
    for name in asked.bug:
        bugs.named(name).apply(bugs.put_in)
    if asked.ttl:
        lease.TTL_SECONDS = asked.ttl
    changed: Any = program
    changed.executors = partial(executors, async_slots=asked.coroutines)
    if asked.hold:
        any_engine: Any = engine
        any_engine.Attachments = partial(Attachments, hold=int(asked.hold * 1e6))
    open_store = unlocked if asked.unlocked else partial(folding, asked.fold)
    changed.repository_at = open_store
    if asked.die:
        fuse = failpoints.Fuse(asked.die)
        open_store = partial(folding, asked.fold, fuse=fuse) if not asked.unlocked else open_store
        changed.repository_at = lambda url: failpoints.MortalRepository(open_store(url), fuse)
        changed.LocalNotifier = partial(failpoints.mortal_notifier, fuse)
    return program.main()


def folding(size: int | None, url: str, fuse: failpoints.Fuse | None = None) -> Repository:
    """The store at `url`; one of files folds often, and is mortal between any two steps of its protocol."""
    repository = repository_at(url)
    changed: Any = repository
    if isinstance(repository, FileRepository):
        if size is not None:
            changed._must_fold = lambda: changed._log.journal_size > size
        if fuse is not None:
            changed._disk = MortalDisk(fuse)
    return repository


def unlocked(url: str) -> Repository:
    """The store at `url` without the lock that keeps other servers out."""
    from runcast.server.repository.sqlite import SQLiteRepository

    repository = repository_at(url)
    if not isinstance(repository, SQLiteRepository):
        raise SystemExit(f"{url} has no lock that could be left out")
    return SQLiteRepository(repository._path, exclusive=False)


if __name__ == "__main__":
    sys.exit(main())
