"""The two files of a store: a snapshot of its state, and the journal of what was done since.

    path            header, frames of entries, an empty frame as its end
    path.journal    header, one frame for each call that stored something
    path.new, path.journal.new    half made; removed when the store is opened

A new snapshot is written beside the old one, synced, and renamed over it; then the folder is synced, and the same is
done for a new journal. Whatever of that a crash leaves is one of: a snapshot with its journal; a new snapshot with the
journal of an older generation, all of which is in the snapshot. A snapshot's flag says whether it is complete alone; it
is set when the store is closed, and taken back, synced, before the first call is stored behind it.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from runcast.server.model.errors import StorageError
from runcast.server.repository.file.disk import Disk, File
from runcast.server.repository.file.framing import (
    ALONE,
    AT_FLAG,
    CONTINUED,
    JOURNAL,
    SNAPSHOT,
    START,
    Damaged,
    Header,
    decode_header,
    encode_header,
    frame,
    frames,
)
from runcast.server.repository.file.opening import is_full, refusal

log = logging.getLogger(__name__)

Apply = Callable[[memoryview], None]
"""Takes a payload; ValueError where it cannot be read."""


class Log:
    """The files at `path`, for the one who holds the store's lock. Every method may raise OSError.

    `new_id` makes sixteen random bytes. `broken`: nobody knows what is behind the journal's end; only `renew` mends it.
    """

    def __init__(self, path: Path, disk: Disk, new_id: Callable[[], bytes]) -> None:
        self._path = path
        self._journal_path = path.with_name(f"{path.name}.journal")
        self._disk = disk
        self._new_id = new_id
        self._generation = 0
        self._store = b""
        self._snapshot = b""
        self._journal: File | None = None
        self._number = 0
        self.snapshot_size = 0
        self.journal_size = 0
        self.broken = False

    def open(self, apply: Apply, payloads: Callable[[], Iterable[bytes]]) -> None:
        """Read what is stored, each payload in order, and make ready to append; `payloads` is the state that was read.
        StorageError, and nothing is changed, where it cannot be read.

        A journal that holds something was left by a crash, perhaps after a sync that failed: what was read of it may be
        in the system's memory only, where syncing it again does nothing. So it is written anew before anybody sees it.
        """
        header, old, end = self._load(apply)
        if header is not None:
            self._disk.update(self._path).close()  # may it be written? Nothing is changed yet.
        # Another server may have been killed before its last rename or write was durable, and we have read it.
        self._disk.sync_folder(self._path.parent)
        for path in (self._path, self._journal_path):
            self._disk.remove(_new(path))
        if header is None:
            self._store = self._new_id()
            self._replace_snapshot((), ALONE)
        if old is None:
            self._start_journal()
        else:
            self._take_over(len(old), end, payloads)
        self._flag(CONTINUED)

    def append(self, payload: bytes) -> None:
        """Store a payload; durable on return. Where it raises, the payload may be found by the next `open` only if
        `broken`."""
        assert self._journal is not None
        assert not self.broken
        data = frame(payload, self._number, self._snapshot)
        try:
            self._journal.append(self.journal_size, data)
        except OSError as error:
            self._retract(error)
            raise
        self.journal_size += len(data)
        self._number += 1

    def renew(self, payloads: Iterable[bytes], *, alone: bool = False) -> None:
        """Put a snapshot of these payloads in the place of snapshot and journal; with `alone`, without a journal."""
        self._replace_snapshot(payloads, ALONE if alone else CONTINUED)
        if alone:
            self._drop_journal()
        else:
            self._start_journal()

    def seal(self, payloads: Callable[[], Iterable[bytes]]) -> None:
        """Leave the snapshot complete alone: as it is where the journal is empty, else renewed."""
        if self._number or self.broken:
            self.renew(payloads(), alone=True)
            return
        self._flag(ALONE)
        self._drop_journal()

    def close(self) -> None:
        """Let go of the files."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _load(self, apply: Apply) -> tuple[Header | None, bytes | None, int]:
        """The snapshot's header, the journal where it goes on, and the end of what is sound in it; reads only."""
        data = self._disk.read(self._path)
        journal = self._disk.read(self._journal_path)
        if not data:
            if journal is not None:
                cause = f"its snapshot is missing, and its journal {self._journal_path} is there"
                remedy = "put the snapshot back beside it; to begin a new store, move the journal away"
                raise refusal(self._path, cause, remedy)
            return None, None, 0
        header = self._read_snapshot(data, apply)
        if journal is None:
            if header.flag == CONTINUED:
                cause = f"its journal {self._journal_path} is missing, and with it what was stored last"
                remedy = "put it back, or restore a copy that was made while the server was stopped"
                raise refusal(self._path, cause, remedy)
            return header, None, 0
        return (header, *self._read_journal(journal, header, apply))

    def _read_snapshot(self, data: bytes, apply: Apply) -> Header:
        offset = 0
        try:
            header = decode_header(data, SNAPSHOT)
            offset, last = START, None
            for behind, payload in frames(data, header.snapshot):
                if payload:
                    _apply(apply, payload, offset)
                offset, last = behind, payload
            if last is None or last or offset != len(data):
                raise Damaged(offset, "it is damaged, or its end is missing")
        except Damaged as error:
            raise self._damaged(self._path, error) from error
        self._generation, self._store, self._snapshot = header.generation, header.store, header.snapshot
        self.snapshot_size = len(data)
        return header

    def _read_journal(self, data: bytes, snapshot: Header, apply: Apply) -> tuple[bytes | None, int]:
        try:
            header = decode_header(data, JOURNAL)
            if header.snapshot != snapshot.snapshot:
                self._require_older(header, snapshot)
                return None, 0
            offset, self._number = START, 0
            for behind, payload in frames(data, header.snapshot):
                _apply(apply, payload, offset)
                offset, self._number = behind, self._number + 1
        except Damaged as error:
            raise self._damaged(self._journal_path, error) from error
        return data, offset

    def _require_older(self, journal: Header, snapshot: Header) -> None:
        if journal.store == snapshot.store and journal.generation < snapshot.generation:
            return
        what = "another store"
        if journal.store == snapshot.store:
            what = f"another snapshot (generation {journal.generation}, and this is {snapshot.generation})"
        remedy = "put back the snapshot and the journal that belong together"
        raise refusal(self._path, f"its journal {self._journal_path} belongs to {what}", remedy)

    def _damaged(self, path: Path, error: Damaged) -> StorageError:
        whose = "" if path == self._path else f"its journal {path}: "
        if error.newer:
            return refusal(self._path, f"{whose}{error.cause}", "start that version, or name another file")
        remedy = (
            "restore a copy of the store (the snapshot, and its journal if it has one); nothing was changed"
        )
        return refusal(self._path, f"{whose}at byte {error.offset}: {error.cause}", remedy)

    def _replace_snapshot(self, payloads: Iterable[bytes], flag: bytes) -> None:
        header = Header(SNAPSHOT, self._generation + 1, self._store, self._new_id(), flag)
        new = _new(self._path)
        try:
            size = self._write_snapshot(new, header, payloads)
        except BaseException:
            with suppress(OSError):  # it is in nobody's way but the disk's
                self._disk.remove(new)
            raise
        # From here on the old journal may be obsolete: nothing is appended to it any more, also if this fails.
        self.broken = True
        self._generation, self._snapshot, self.snapshot_size = header.generation, header.snapshot, size
        self._disk.rename(new, self._path)
        self._disk.sync_folder(self._path.parent)

    def _write_snapshot(self, path: Path, header: Header, payloads: Iterable[bytes]) -> int:
        file = self._disk.create(path, self._path)
        try:
            file.write(0, encode_header(header))
            size, number = START, 0
            for payload in payloads:
                data = frame(payload, number, header.snapshot)
                file.write(size, data)
                size, number = size + len(data), number + 1
            data = frame(b"", number, header.snapshot)
            file.write(size, data)
            file.sync()
        finally:
            file.close()
        return size + len(data)

    def _start_journal(self) -> None:
        header = Header(JOURNAL, self._generation, self._store, self._snapshot)
        new = _new(self._journal_path)
        file = self._disk.create(new, self._path)
        try:
            file.write(0, encode_header(header))
            file.sync()
            self._disk.rename(new, self._journal_path)
            self._disk.sync_folder(self._path.parent)
        except BaseException:
            file.close()
            raise
        self.close()
        self._journal, self._number, self.journal_size = file, 0, START
        self.broken = False

    def _take_over(self, size: int, end: int, payloads: Callable[[], Iterable[bytes]]) -> None:
        if end < size:
            log.warning(
                "%s: its last record was not written whole, and was never acknowledged: %d bytes are cut off",
                self._journal_path,
                size - end,
            )
        if size > START:
            try:
                self.renew(payloads())
                return
            except OSError as error:
                # Without room for a second copy it goes on with the journal, as sound as it can be made.
                if self.broken or not is_full(error):
                    raise
        self._journal, self.journal_size = self._disk.update(self._journal_path), end
        if end < size:
            self._journal.truncate(end)
        self._journal.sync()

    def _drop_journal(self) -> None:
        self.close()
        self.broken = True
        self._disk.remove(self._journal_path)
        self._disk.sync_folder(self._path.parent)

    def _flag(self, flag: bytes) -> None:
        file = self._disk.update(self._path)
        try:
            file.write(AT_FLAG, flag)
            file.sync()
        finally:
            file.close()

    def _retract(self, error: OSError) -> None:
        """Cut off what a failed append left. Only a full disk is believed to have failed at once and to be whole: after
        any other error what the system holds in its memory may not be what is on the disk."""
        self.broken = True
        if not is_full(error):
            return
        assert self._journal is not None
        with suppress(OSError):
            self._journal.truncate(self.journal_size)
            self._journal.sync()
            self.broken = False


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _apply(apply: Apply, payload: memoryview, offset: int) -> None:
    try:
        apply(payload)
    except ValueError as error:
        raise Damaged(offset, f"a record cannot be read: {error}") from error
