"""Words on their way into a run's journal: encodable, and never longer than an event may be."""

LONGEST = 60 * 1024
_BRIEF = 1024
_ATTRIBUTES = 16


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
    """The first 16 of a log line's attributes as text of at most 1 KiB each."""
    kept = list(given.items())[:_ATTRIBUTES]
    return {clean(str(name), 64): clean(text_of(value), _BRIEF) for name, value in kept}


def text_of(value: object) -> str:
    """`str(value)`, also where that raises."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a value that cannot be shown must not take its log line with it
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
