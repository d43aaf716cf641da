"""What is written behind `-p` and `--params`, as the parameters of a run."""

import difflib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runcast.cli.failures import Refused
from runcast.cli.schema import Parameters, Schema

_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TRUTH = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_EXPECTED = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a JSON array, or one item for each -p",
    "object": "a JSON object",
    "null": "null",
}


def parse(given: Sequence[str], whole: str | None, schema_text: str) -> dict[str, Any]:
    """The parameters that `--params` (`whole`) and then each `-p` (`given`) say, read by the provider's schema.

    Refused, naming each parameter that cannot be what the schema wants. What is missing is for the server to say.
    """
    parameters = Parameters(schema_text)
    chosen = _whole(whole) if whole is not None else {}
    wrong: list[tuple[str, str]] = []
    said: set[str] = set()
    for each in given:
        name, value, is_json = _split(each)
        try:
            _check_name(name, parameters)
            several = name in said
            parsed = _from_json(value) if is_json else _parsed(value, parameters.schema(name), parameters)
            chosen[name] = _added(chosen[name], parsed) if several else parsed
        except ValueError as error:
            wrong.append((f"input.{name}", str(error)))
        said.add(name)
    if wrong:
        raise Refused("these parameters are not what the provider takes", details=wrong)
    return chosen


def _split(given: str) -> tuple[str, str, bool]:
    """A name, the text behind it, and whether that text is JSON."""
    name, found, value = given.partition("=")
    if not found or not name.rstrip(":"):
        raise Refused(f"-p {given}: write -p name=value, or -p name:=JSON")
    return (name[:-1], value, True) if name.endswith(":") else (name, value, False)


def _whole(text: str) -> dict[str, Any]:
    """What `--params` says: a JSON object, `@` and the file that holds it, or `-` for stdin."""
    where = "--params"
    if text == "-":
        where, text = "stdin", sys.stdin.read()
    elif text.startswith("@"):
        where = text[1:]
        text = Path(where).expanduser().read_text(encoding="utf-8")
    try:
        value = _from_json(text)
    except ValueError as error:
        raise Refused(f"{where} {error}") from None
    if not isinstance(value, dict):
        raise Refused(
            f'{where} must hold a JSON object with a key for each parameter, such as {{"name": "Ada"}}'
        )
    return value


def _from_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"is not JSON: {name} is not a number there")


def _check_name(name: str, parameters: Parameters) -> None:
    if name in parameters.names or parameters.open:
        return
    near = difflib.get_close_matches(name, parameters.names, 1)
    known = ", ".join(parameters.names) or "none"
    raise ValueError(
        "is not a parameter of this provider"
        + (f"; did you mean {near[0]}?" if near else f"; it takes: {known}")
    )


def _added(before: Any, more: Any) -> Any:
    """A list grows with each `-p` of its name; anything else can be said once."""
    if isinstance(before, list) and isinstance(more, list):
        return before + more
    raise ValueError("was given twice")


def _parsed(text: str, schema: Schema, parameters: Parameters) -> Any:
    """The value that a text stands for: a string where only that fits, else the first type that it can be."""
    if text.startswith("@"):
        raise ValueError('cannot be a file yet; for text that begins with @, write it as JSON: name:="@…"')
    options = parameters.alternatives(schema)
    for option in options:
        found, value = _choice(text, option)
        if found:
            return value
    kinds = [option.get("type") for option in options if "enum" not in option and "const" not in option]
    for kind in (kind for kind in _READERS if kind in kinds):
        if kind == "null" and "string" in kinds:
            continue
        try:
            return _READERS[kind](text, options, parameters)
        except ValueError:
            continue
    if "string" in kinds:
        return text
    if None in kinds or not options:
        return _anything(text)
    raise ValueError(
        f"must be {_expected(options, parameters)}, but is {json.dumps(text, ensure_ascii=False)}"
    )


def _choice(text: str, option: Schema) -> tuple[bool, Any]:
    """Whether the text is one of the values that the schema lists, and which."""
    listed = option.get("enum", [option["const"]] if "const" in option else [])
    for value in listed:
        if value == text or (not isinstance(value, str) and json.dumps(value) == text):
            return True, value
    return False, None


def _expected(options: Sequence[Schema], parameters: Parameters) -> str:
    kinds = dict.fromkeys(
        _EXPECTED.get(str(each.get("type")), "") if "enum" not in each and "const" not in each else ""
        for each in options
    )
    listed = [parameters.type_of(each) for each in options if "enum" in each or "const" in each]
    return " or ".join([*listed, *(kind for kind in kinds if kind)])


def _anything(text: str) -> Any:
    try:
        return _from_json(text)
    except ValueError:
        return text


def _integer(text: str, _options: Sequence[Schema], _parameters: Parameters) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _number(text: str, _options: Sequence[Schema], _parameters: Parameters) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    number = int(text) if _INTEGER.fullmatch(text) else float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number


def _boolean(text: str, _options: Sequence[Schema], _parameters: Parameters) -> bool:
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _null(text: str, _options: Sequence[Schema], _parameters: Parameters) -> None:
    if text != "null":
        raise ValueError(text)


def _array(text: str, options: Sequence[Schema], parameters: Parameters) -> list[Any]:
    if text.lstrip().startswith("["):
        value = _from_json(text)
        if isinstance(value, list):
            return value
    items = next((each.get("items") for each in options if each.get("type") == "array"), None)
    return [_parsed(text, items if isinstance(items, dict) else {}, parameters)]


def _object(text: str, _options: Sequence[Schema], _parameters: Parameters) -> dict[str, Any]:
    value = _from_json(text)
    if isinstance(value, dict):
        return value
    raise ValueError(text)


# In the order in which a text is tried where several types would do.
_READERS: Mapping[str, Callable[[str, Sequence[Schema], Parameters], Any]] = {
    "null": _null,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "object": _object,
    "array": _array,
}
