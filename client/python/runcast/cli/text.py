"""Text for people: times, amounts and words, and foreign text made harmless for a terminal."""

import contextlib
import re
from datetime import datetime, timedelta

# Escape sequences as a whole (CSI, then OSC and its kin up to their end, then short ones), in 7 and in 8 bits.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Other controls but tab and line feed; what turns the direction of writing; what ends a line without being seen.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """The text without anything that a terminal would obey; tabs and line feeds stay."""
    return _CONTROL.sub("", _SEQUENCE.sub("", text.replace("\r\n", "\n")))


def line(text: str) -> str:
    """The text as one clean line: line feeds and tabs become single spaces."""
    return " ".join(clean(text.replace("\r", " ")).split())


def escape_json(text: str) -> str:
    """JSON text that means the same, with nothing in it that a terminal would obey."""
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def duration(seconds: float) -> str:
    """How long something took: `40 ms`, `0.4 s`, `12.3 s`, `2 min 05 s`, `3 h`, `2 d 04 h`; whole seconds as an int
    have no decimal."""
    if round(seconds, 1) < 60 and not isinstance(seconds, int):
        return f"{max(seconds, 0.0):.1f} s" if seconds >= 0.0995 else f"{max(seconds, 0.0) * 1000:.0f} ms"
    whole = max(round(seconds), 0)
    for size, unit, part, name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest:02} {name}" if rest else "")
    return f"{whole} s"


def clock(seconds: float) -> str:
    """A running time for a narrow place: `0:07`, `12:34`, `1:02:03`."""
    whole = int(max(seconds, 0.0))
    minutes, hours = whole // 60, whole // 3_600
    return f"{hours}:{minutes % 60:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def age(seconds: float) -> str:
    """How long ago, in one number: `5s`, `3m`, `7h`, `12d`."""
    whole = int(max(seconds, 0.0))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if whole >= 2 * size or (whole >= size and unit == "d"):
            return f"{whole // size}{unit}"
    return f"{whole}s"


def size(count: float) -> str:
    """Bytes in powers of 1024: `17 B`, `1.5 KiB`, `230 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            break
        count /= 1024
    return (
        f"{count:.0f} {unit}"
        if unit == "B" or abs(count) >= 100 or count == int(count)
        else f"{count:.1f} {unit}"
    )


def amount(count: float, unit: str = "") -> str:
    """A count with its unit, bytes as sizes: `4 files`, `1,204 rows`, `1.5 MiB`."""
    if unit == "bytes":
        return size(count)
    return f"{count:,.0f} {unit}".rstrip()


def rate(per_second: float, unit: str = "") -> str:
    """A speed: `3.2/s`, `1,204/s`, `1.5 MiB/s`, and `12/min` where a second is too short."""
    if unit == "bytes":
        return f"{size(per_second)}/s"
    if per_second < 0.1:
        return f"{per_second * 60:.1f}/min"
    return f"{per_second:,.0f}/s" if per_second >= 100 else f"{per_second:.1f}/s"


def plural(count: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def words(state: str) -> str:
    """A state as a person says it: `SUCCEEDED_WITH_ERRORS` → `succeeded with errors`."""
    return state.lower().replace("_", " ")


def short(text: str, width: int) -> str:
    """The text in at most `width` characters, with an ellipsis where it was cut."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def rfc3339(moment: datetime) -> str:
    """A time in UTC as RFC 3339, with the microseconds where there are any: `2026-11-21T08:30:00Z`."""
    return moment.isoformat().replace("+00:00", "Z")


_PARTS = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m(?:in)?|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}


def seconds(text: str) -> float:
    """`90`, `90s`, `1m30s`, `1.5h` in seconds; ValueError for what is not a length of time."""
    total, position = 0.0, 0
    for part in _PARTS.finditer(text):
        if part.start() != position:
            break
        total += float(part[1]) * _SECONDS[part[2] or ""]
        position = part.end()
    if not text or position != len(text):
        raise ValueError(f"{text!r} is not a length of time; write 90, 90s, 5m or 1h30m")
    return total


_FURTHEST = 10 * 365 * 86_400


def moment(written: str, sign: int = 1) -> datetime | timedelta:
    """A time as typed: so long from now (`sign` -1: ago), or RFC 3339 with a zone; ValueError with what to write."""
    distance: float | None = None
    with contextlib.suppress(ValueError):
        distance = seconds(written)
    if distance is not None:
        if distance > _FURTHEST:
            raise ValueError(f"{written} is too far away; ten years are the most")
        return timedelta(seconds=sign * distance)
    try:
        when = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{written} is no time; write 10m, or 2026-11-21T08:30:00Z") from None
    if when.tzinfo is None:
        raise ValueError(f"{written} has no time zone; write {written}Z for UTC, or {written}+01:00")
    return when
