"""What a disk holds after the power was lost: of each file, what was written to it before it was last synced."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

CALLS = "pwrite64,write,fdatasync,fsync,ftruncate,unlink"
_GONE = re.compile(r"^unlink\(\"((?:\\x[0-9a-f]{2})*)\"\) += 0")
_CALL = re.compile(
    r"^(?:\d+ +)?(\w+)\((\d+)<([^>]*)>(?:, \"((?:\\x[0-9a-f]{2})*)\"(?:\.\.\.)?)?(?:, (\d+))?(?:, (\d+))?\) += (-?\d+)"
)


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


@dataclass
class Disk:
    """Files by path: what is safe, and what would be lost. Fed with the lines of a trace, as `strace -f -y -xx` writes them."""

    safe: dict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    cache: dict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    said: str = ""

    def feed(self, line: str) -> None:
        """One finished system call; others change nothing."""
        gone = _GONE.match(line)
        if gone is not None:
            self.safe.pop(_bytes(gone.group(1)).decode(), None)
            self.cache.pop(_bytes(gone.group(1)).decode(), None)
        found = _CALL.match(line)
        if found is None:
            return
        call, descriptor, where, data, first, second, result = found.groups()
        path = _bytes(where).decode()
        if int(result) < 0:
            return
        if call == "write" and descriptor == "1":
            self.said += _bytes(data).decode()
        elif call == "pwrite64":
            content = _bytes(data)
            assert len(content) == int(first), "the trace was cut"
            self._put(path, int(second), content)
        elif call == "ftruncate":
            del self.cache[path][int(first) :]
            self.cache[path] += bytes(int(first) - len(self.cache[path]))
        elif call in ("fdatasync", "fsync"):
            self.safe[path] = bytearray(self.cache[path])

    def _put(self, path: str, offset: int, content: bytes) -> None:
        held = self.cache[path]
        if len(held) < offset:
            held += bytes(offset - len(held))
        held[offset : offset + len(content)] = content

    def restore(self, store: Path, folder: Path) -> Path:
        """The store as it is found after the loss, copied into another folder."""
        for path, content in self.safe.items():
            name = Path(path).name
            if (
                Path(path).parent == store.parent
                and name.startswith(store.name)
                and not name.endswith("-shm")
            ):
                (folder / name).write_bytes(content)
        return folder / store.name
