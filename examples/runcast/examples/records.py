"""Cuts a CSV file into records, each with the physical line that it begins at, and goes on behind what is broken."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Literal, NamedTuple

Type = Literal["integer", "real", "text"]
LONGEST = 1024 * 1024
MOST_BYTES = 8 * LONGEST
_BOM = b"\xef\xbb\xbf"
# A number that begins with 0, such as a postal code, is a text; so is a whole number that SQLite could not hold.
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
_REAL = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?")


class Position(NamedTuple):
    """A place between two lines: how many bytes are before it, and the number of the line after it, from 1."""

    offset: int
    line: int


class Bad(NamedTuple):
    """What cannot be imported: where it begins, a code, and what is wrong."""

    line: int
    code: str
    message: str


@dataclass
class Block:
    """Some records: `lines` says where each of `rows` begins; `end` is where the next block begins."""

    rows: list[list[str]]
    lines: Sequence[int]
    end: Position
    bad: list[Bad] = field(default_factory=list)


class CsvFile:
    """A file of records, read from any position in blocks; `width` is how many columns a record has, None any number.

    A record whose quotes can be made sense of is one, however many lines it spans: what is wrong in it is told once. Where
    they cannot, its first line alone is lost, and reading goes on with the next one.
    """

    def __init__(self, file: BufferedReader, encoding: str, delimiter: str) -> None:
        self._file = file
        self._encoding = "utf-8" if encoding.lower().replace("_", "-") == "utf-8-sig" else encoding
        self._delimiter = delimiter
        self.width: int | None = None

    @property
    def start(self) -> Position:
        """Where the text begins: behind a byte order mark."""
        self._file.seek(0)
        return Position(len(_BOM) if self._file.read(len(_BOM)) == _BOM else 0, 1)

    def read(self, at: Position, most: int) -> Block | None:
        """The records from there on, of about `most` lines and at least one; None at the end of the file."""
        while True:
            lines, skipped, full = self._lines(at, most)
            if not lines:
                return None
            ended = not self._file.peek(1)
            block = None if skipped else self._plain(lines, at)
            if block is None:
                block = self._careful(lines, at, more=not ended, full=full)
            # What was skipped is not in the line that stands for it.
            past = sum(size for line, size in skipped.items() if line < block.end.line)
            block.end = Position(block.end.offset + past, block.end.line)
            if block.end != at:
                return self._fitting(block)
            most *= 2

    def _lines(self, at: Position, most: int) -> tuple[list[bytes], dict[int, int], bool]:
        """Lines as bytes, what was skipped of those that are too long, and whether there is no room for more."""
        self._file.seek(at.offset)
        lines: list[bytes] = []
        skipped: dict[int, int] = {}
        size = 0
        while len(lines) < most and size < MOST_BYTES and (line := self._file.readline(LONGEST)):
            if len(line) == LONGEST and not line.endswith(b"\n"):
                skipped[at.line + len(lines)] = self._skip()
            lines.append(line)
            size += len(line)
        return lines, skipped, size >= MOST_BYTES

    def _skip(self) -> int:
        size = 0
        while piece := self._file.readline(LONGEST):
            size += len(piece)
            if piece.endswith(b"\n"):
                break
        return size

    def _plain(self, lines: list[bytes], at: Position) -> Block | None:
        """The fast way, where each line is a record and all is well; None where it is not."""
        try:
            texts = [str(line, self._encoding) for line in lines]
            rows = list(csv.reader(texts, delimiter=self._delimiter, strict=True))
        except (UnicodeDecodeError, csv.Error):
            return None
        if len(rows) != len(lines):
            return None
        numbers = range(at.line, at.line + len(lines))
        return Block(rows, numbers, Position(at.offset + sum(map(len, lines)), numbers.stop))

    def _careful(self, lines: list[bytes], at: Position, *, more: bool, full: bool) -> Block:
        """The slow way: record by record. Where there is more of the file, a last one without its end is left for later."""
        rows: list[list[str]] = []
        begins: list[int] = []
        bad: list[Bad] = []
        here = 0
        while here < len(lines):
            feed = _Feed(lines, here, self._encoding)
            reader = csv.reader(feed, delimiter=self._delimiter, strict=True)
            first = here
            try:
                for row in reader:
                    if _is_text(row):
                        rows.append(row)
                        begins.append(at.line + here)
                    else:
                        message = f"it holds bytes that are no {self._encoding}"
                        bad.append(Bad(at.line + here, "ENCODING", message))
                    here = first + reader.line_num
            except csv.Error as error:
                if feed.ended and more and (here or not full):
                    break
                bad.append(Bad(at.line + here, "MALFORMED", str(error)))
                here += 1
        end = Position(at.offset + sum(map(len, lines[:here])), at.line + here)
        return Block(rows, begins, end, bad)

    def _fitting(self, block: Block) -> Block:
        """Without empty lines, and with each record of another width among the bad ones."""
        widths = set(map(len, block.rows))
        right = widths - {0} if self.width is None else {self.width}
        if widths <= right:
            return block
        rows: list[list[str]] = []
        lines: list[int] = []
        for line, row in zip(block.lines, block.rows, strict=True):
            if len(row) in right:
                rows.append(row)
                lines.append(line)
            elif row:
                message = f"it has {len(row)} columns, and the table has {self.width}"
                block.bad.append(Bad(line, "COLUMNS", message))
        return Block(rows, lines, block.end, block.bad)


class _Feed:
    """Lines as text for the reader, from one of them on; what is not in the encoding becomes surrogates."""

    def __init__(self, lines: list[bytes], first: int, encoding: str) -> None:
        self._lines = lines
        self._next = first
        self._encoding = encoding
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._next == len(self._lines):
            self.ended = True
            raise StopIteration
        line = self._lines[self._next]
        self._next += 1
        if len(line) == LONGEST and not line.endswith(b"\n"):
            raise csv.Error(f"it is longer than {LONGEST:,} bytes")
        return str(line, self._encoding, "surrogateescape")


def _is_text(row: list[str]) -> bool:
    text = "".join(row)
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def infer(rows: Sequence[list[str]], width: int, missing: Iterable[str]) -> list[Type]:
    """The narrowest type of each column that all its values fit; a column without values is a text."""
    nothing = set(missing)
    return [_narrowest([row[i] for row in rows if row[i] not in nothing]) for i in range(width)]


def _narrowest(values: list[str]) -> Type:
    if not values:
        return "text"
    # A sign in front, an exponent: it may be a number, or a telephone's or an article's. As a text nothing is lost.
    plain = not any(value[0] == "+" or "e" in value.lower() for value in values)
    if plain and all(map(_INTEGER.fullmatch, values)):
        return "integer"
    return "real" if plain and all(map(_REAL.fullmatch, values)) else "text"


def keeps_ascii(encoding: str) -> bool:
    """Whether lines can be told apart in it before they are decoded: a byte below 128 is the character it is in ASCII."""
    try:
        # The first says no where a backslash means something, before one that means nothing is warned of.
        return all(
            sample.decode(encoding) == sample.decode("ascii") for sample in (b"\\n", bytes(range(128)))
        )
    except (LookupError, ValueError):
        return False
