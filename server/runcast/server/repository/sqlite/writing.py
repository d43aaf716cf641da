"""All that is written, by the one connection that writes."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from runcast.server.model.errors import DataLoss
from runcast.server.repository.sqlite import opening
from runcast.server.repository.sqlite.damage import keep_bytes
from runcast.server.repository.sqlite.saving import Saver

_OF_A_RUN = (
    ("definitions", "run"), ("labels", "run"), ("outcomes", "run"), ("checkpoints", "run"), ("journal", "run"),
    ("attempts", "run"), ("refs", "run"), ("texts", "run"), ("runs", "key"),
)  # fmt: skip


class Writer(Saver):
    """Holds the store's lock from its making to `close`. StorageError where the store cannot be used."""

    def __init__(self, path: Path, *, exclusive: bool) -> None:
        opening.look(path)
        self._lock = opening.lock(path) if exclusive else None
        try:
            super().__init__(opening.connect_writer(path, void_leases=exclusive))
        except BaseException:
            self._unlock()
            raise

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of both file and lock."""
        try:
            self._connection.close()
        finally:
            self._unlock()

    def beat(self, boot_id: str, expires: int) -> None:
        """Make or renew a lease."""
        self._connection.execute("INSERT OR REPLACE INTO leases VALUES (?, ?)", (boot_id, expires))

    def retire(self, boot_id: str) -> None:
        """Drop a lease."""
        self._connection.execute("DELETE FROM leases WHERE boot_id = ?", (boot_id,))

    def set_aside(self, run_id: str, now: int) -> DataLoss | None:
        """Keep the bytes of what cannot be decoded; the first error, if there is any. NotFound."""
        return self._transact(
            lambda ids: [keep_bytes(self._connection, each, now) for each in ids], [run_id]
        )[0]

    def remove(self, run_ids: Sequence[str]) -> list[str]:
        """As `Repository.remove`."""
        return self._transact(self._remove, run_ids)

    def _remove(self, run_ids: Sequence[str]) -> list[str]:
        found = "SELECT key, id FROM runs WHERE state >= 16 AND id IN (SELECT value FROM json_each(?))"
        rows = self._connection.execute(found, (json.dumps([*run_ids]),)).fetchall()
        keys = json.dumps([key for key, _ in rows])
        for table, column in _OF_A_RUN:
            self._connection.execute(
                f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))",  # noqa: S608 - names of our own
                (keys,),
            )
        gone = {run_id for _, run_id in rows}
        for run_id in gone:
            self._keys.pop(run_id, None)
        return [run_id for run_id in run_ids if run_id in gone]

    def prune_requests(self, now: int, limit: int) -> int:
        """Forget at most `limit` expired request ids; answers how many."""
        sql = (
            "DELETE FROM requests WHERE (principal, request_id) IN"
            " (SELECT principal, request_id FROM requests WHERE expire_time <= ? LIMIT ?)"
        )
        return self._connection.execute(sql, (now, limit)).rowcount

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
