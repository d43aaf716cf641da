"""Words on their way into a run's journal: encodable, and never longer than an event may be."""

LONGEST = 60 * 1024
_BRIEF = 1024
_ATTRIBUTES = 3 * 1024


def clean(text: str, limit: int = LONGEST) -> str:
    """`text` as valid UTF-8 of at most `limit` bytes and a note of how many were cut; undecodable file names are escaped."""
    if len(text) <= limit and text.isascii():
        return text
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = text.encode(errors="backslashreplace")
    if len(data) <= limit:
        return data.decode()
    kept = data[:limit].decode(errors="ignore")
    return f"{kept}… [{len(data) - len(kept.encode()):,} more bytes cut]"


def attributes(given: dict[str, object]) -> dict[str, str]:
    """A log line's attributes as text, at most 1 KiB each and 3 KiB together: the first ones, and how many are left out."""
    kept: dict[str, str] = {}
    room = _ATTRIBUTES
    for name, value in given.items():
        key, text = clean(text_of(name), 64), clean(text_of(value), _BRIEF)
        room -= len(key.encode()) + len(text.encode())
        if room < 0:
            kept["…"] = f"{len(given) - len(kept)} more attributes left out"
            break
        kept[key] = text
    return kept


def text_of(value: object) -> str:
    """`str(value)`, also where that raises."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a value that cannot be shown must not take its log line with it
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
