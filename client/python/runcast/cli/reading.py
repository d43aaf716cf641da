"""Things of the contract as people write them in files: TOML, JSON or YAML, read by the messages they stand for."""

import difflib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runcast.cli import text
from runcast.cli.failures import Refused


def read_document(name: str) -> tuple[str, Any]:
    """What a file holds, or stdin for `-`, and what to call it; Refused with the place of a mistake."""
    if name == "-":
        return "stdin", _either(sys.stdin.read())
    path = Path(name).expanduser()
    written = path.read_text(encoding="utf-8")
    match path.suffix.lower():
        case ".json":
            return name, _read(name, "JSON", json.loads, written)
        case ".yaml" | ".yml":
            from runcast.cli.yaml import from_yaml

            return name, _read(name, "YAML", from_yaml, written)
        case ".toml":
            import tomllib

            return name, _read(name, "TOML", tomllib.loads, written)
    raise Refused(f"{name}: what is in it? Its name must end with .toml, .json, .yaml or .yml")


def _read(name: str, kind: str, load: Any, written: str) -> Any:
    try:
        return load(written)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{name} is not {kind}: {text.line(str(error))}") from None


def _either(written: str) -> Any:
    import tomllib

    try:
        return json.loads(written)
    except ValueError as no_json:
        try:
            return tomllib.loads(written)
        except ValueError as no_toml:
            raise Refused(f"stdin is neither JSON ({no_json}) nor TOML ({no_toml})") from None


def fill(message: Any, given: Any, where: str, *, ignored: tuple[str, ...] = ()) -> None:
    """Set the message's fields as a file says them; Refused for what the message does not have, naming `where` it was
    said and what there is. What is null is not set. Lengths of time are written as on the command line (`5m`), enums by their short names."""
    if not isinstance(given, Mapping):
        raise Refused(f"{where} must be a table with a key for each field, but is {_shown(given)}")
    fields = message.DESCRIPTOR.fields_by_name
    for key, value in given.items():
        if key in ignored or value is None:
            continue
        if key not in fields:
            known = [each for each in fields if each not in ignored]
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]}?" if near else ""
            raise Refused(
                f"{where}: {key} is not known{'; ' + hint if hint else ''}",
                remedy=f"Known are: {', '.join(known)}.",
            )
        try:
            _set(message, fields[key], value, f"{where}: {key}")
        except (TypeError, ValueError, AttributeError, OverflowError):
            raise Refused(
                f"{where}: {key} cannot be {_shown(value)}; {_expected(fields[key])} is expected"
            ) from None


def _set(message: Any, field: Any, value: Any, where: str) -> None:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        getattr(message, field.name).update({str(key): _label(each) for key, each in dict(value).items()})
    elif kind is None and field.enum_type is not None:
        setattr(message, field.name, _enum(field.enum_type, value))
    elif kind is None and field.is_repeated:
        getattr(message, field.name).extend(value)
    elif kind is None:
        if isinstance(value, bool) != (field.cpp_type == _TRUTH):
            raise TypeError(value)
        setattr(message, field.name, value)
    elif kind.full_name == "google.protobuf.Duration":
        length = value if isinstance(value, (int, float)) else text.seconds(value)
        getattr(message, field.name).FromNanoseconds(round(length * 1e9))
    elif kind.full_name == "runcast.v1.Payload":
        getattr(message, field.name).json = json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
    else:
        getattr(message, field.name).SetInParent()
        fill(getattr(message, field.name), value, where)


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise TypeError(value)


def _enum(kind: Any, value: str) -> int:
    prefix = kind.values[0].name.removesuffix("UNSPECIFIED")
    name = prefix + value.upper().replace("-", "_").removeprefix(prefix)
    if name not in kind.values_by_name:
        raise ValueError(value)
    number: int = kind.values_by_name[name].number
    return number


def _expected(field: Any) -> str:
    kind = field.message_type
    if field.enum_type is not None:
        prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
        return "one of " + ", ".join(each.name.removeprefix(prefix) for each in field.enum_type.values[1:])
    if kind is not None:
        return "a length of time such as 5m" if kind.name == "Duration" else "a table"
    if field.is_repeated:
        return "a list of texts"
    return _SCALARS.get(field.cpp_type, "a number")


_TRUTH = 7
# By protobuf's numbers for kinds: text is 9, truth 7, whole numbers 1 to 4.
_SCALARS = {
    9: "a text",
    _TRUTH: "true or false",
    1: "a whole number",
    2: "a whole number",
    3: "a whole number",
}


def _shown(value: Any) -> str:
    return text.short(json.dumps(value, ensure_ascii=False, default=str), 40)
