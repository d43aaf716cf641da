"""What a disk holds after the power was lost: of each file what was synced, of each folder which files were in it then."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = "openat,pwrite64,pwritev2,write,fdatasync,fsync,ftruncate,unlink,rename"
_HEX = r"(?:\\x[0-9a-f]{2})*"
_NAMED = re.compile(rf"^(unlink|rename)\(\"({_HEX})\"(?:, \"({_HEX})\")?\) += 0")
_MADE = re.compile(r"^openat\([^)]*O_CREAT[^)]*\) += \d+<([^>]*)>")
_VECTOR = re.compile(
    rf"^pwritev2\(\d+<([^>]*)>, \[\{{iov_base=\"({_HEX})\", iov_len=(\d+)\}}\], 1, (\d+), (\w+)\) += (\d+)"
)
_CALL = re.compile(
    rf"^(\w+)\((\d+)<([^>]*)>(?:, \"({_HEX})\"(?:\.\.\.)?)?(?:, (\d+))?(?:, (\d+))?\) += (-?\d+)"
)


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _path(escaped: str) -> str:
    return _bytes(escaped).decode(errors="replace")


@dataclass
class _Content:
    """A file, whatever it is called: what is in the kernel's memory, and what of it is on the disk."""

    cache: bytearray = field(default_factory=bytearray)
    safe: bytes = b""

    def write(self, offset: int, data: bytes) -> None:
        if len(self.cache) < offset:
            self.cache += bytes(offset - len(self.cache))
        self.cache[offset : offset + len(data)] = data

    def cut(self, size: int) -> None:
        del self.cache[size:]
        self.cache += bytes(size - len(self.cache))

    def sync(self) -> None:
        self.safe = bytes(self.cache)


@dataclass
class Disk:
    """Files by name, as programs see them and as a folder's last sync has left them; the names of a folder reach the disk
    only with its sync. Fed with the lines of a trace, as `strace -f -y -xx` writes them."""

    seen: dict[str, _Content] = field(default_factory=dict)
    safe: dict[str, _Content] = field(default_factory=dict)
    said: str = ""
    folder_syncs: int = 0

    def feed(self, line: str) -> None:
        """One finished system call; others change nothing."""
        if named := _NAMED.match(line):
            self._name(*named.groups())
        elif made := _MADE.match(line):
            self.seen.setdefault(_path(made.group(1)), _Content())
        elif vector := _VECTOR.match(line):
            path, data, length, offset, flags, _ = vector.groups()
            assert len(_bytes(data)) == int(length), "the trace was cut"
            self._at(_path(path)).write(int(offset), _bytes(data))
            if "DSYNC" in flags:
                self._at(_path(path)).sync()
        elif found := _CALL.match(line):
            self._call(found)

    def _name(self, call: str, path: str, new: str | None) -> None:
        content = self.seen.pop(_path(path), None)
        if call == "rename" and new is not None and content is not None:
            self.seen[_path(new)] = content

    def _call(self, found: "re.Match[str]") -> None:
        call, number, where, data, first, second, result = found.groups()
        path = _path(where)
        if int(result) < 0:
            return
        if call == "write" and number == "1":
            self.said += _bytes(data).decode()
        elif call == "pwrite64":
            assert len(_bytes(data)) == int(first), "the trace was cut"
            self._at(path).write(int(second), _bytes(data))
        elif call == "ftruncate":
            self._at(path).cut(int(first))
        elif call in ("fdatasync", "fsync"):
            if path in self.seen:
                self.seen[path].sync()
            else:
                self._sync_folder(path)

    def _at(self, path: str) -> _Content:
        return self.seen.setdefault(path, _Content())

    def _sync_folder(self, folder: str) -> None:
        self.folder_syncs += 1
        for names, wanted in ((self.safe, False), (self.seen, True)):
            for path in [path for path in names if path.rpartition("/")[0] == folder]:
                if wanted:
                    self.safe[path] = self.seen[path]
                else:
                    del self.safe[path]

    def restore(self, store: Path, folder: Path) -> Iterator[Path]:
        """The store as it may be found after the loss, each time in a folder of its own: with the names that were synced,
        and with those that were not."""
        for kind, names in (("synced", self.safe), ("named", self.seen)):
            place = folder / kind
            place.mkdir(parents=True)
            for path, content in names.items():
                name = Path(path).name
                if Path(path).parent == store.parent and name.startswith(store.name) and "-shm" not in name:
                    (place / name).write_bytes(content.safe)
            yield place / store.name
