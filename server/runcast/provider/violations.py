"""What is wrong with an input, field by field, in plain words: what was expected, and what was given."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from runcast.server.model.errors import Violation

_SHOWN = 200
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_MOST = 100
# By pydantic's type of error; {x} is filled from the error's context.
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "decimal_type": "a decimal number",
    "decimal_parsing": "a decimal number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "none_required": "null",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dataclass_type": "an object",
    "mapping_type": "an object",
    "bytes_type": "text in base64",
    "bytes_invalid_encoding": "text in base64",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "path_type": "a path",
    "path_not_file": "a file that exists on the server",
    "path_not_directory": "a folder that exists on the server",
    "path_exists": "a path that does not exist yet",
    "path_not_exists": "a path that exists on the server",
    "date_type": "a date such as 2026-01-31",
    "date_parsing": "a date such as 2026-01-31",
    "date_from_datetime_parsing": "a date such as 2026-01-31",
    "time_type": "a time such as 13:30:00",
    "time_parsing": "a time such as 13:30:00",
    "datetime_type": "a time such as 2026-01-31T13:30:00Z",
    "datetime_parsing": "a time such as 2026-01-31T13:30:00Z",
    "datetime_from_date_parsing": "a time such as 2026-01-31T13:30:00Z",
    "timezone_aware": "a time with its zone",
    "timezone_naive": "a time without a zone",
    "time_delta_type": "a duration such as PT1H30M, or seconds",
    "time_delta_parsing": "a duration such as PT1H30M, or seconds",
    "url_type": "a URL",
    "url_parsing": "a URL",
    "url_scheme": "a URL that begins with {expected_schemes}",
    "uuid_type": "a UUID",
    "uuid_parsing": "a UUID",
}


class Wording:
    """Words for the errors of one provider's input, by the JSON Schema of its parameters."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._properties: dict[str, Any] = schema.get("properties", {})
        self._secret = {name for name, part in self._properties.items() if self._is_secret(part, set())}

    def violations(
        self, error: ValidationError, given: dict[str, Any], *, partial: bool = False
    ) -> list[Violation]:
        """One for each of the first hundred wrong fields, in the order of the parameters; secrets are not repeated.
        `partial`: none for a parameter that is missing."""
        found: dict[str, list[ErrorDetails]] = {}
        for details in error.errors(include_url=False):
            if partial and details["type"] == "missing" and len(details["loc"]) == 1:
                continue
            found.setdefault(_path(details, given), []).append(details)
            if len(found) >= _MOST:
                break
        return [Violation(f"input{path}", self._describe(errors)) for path, errors in found.items()]

    def _describe(self, errors: list[ErrorDetails]) -> str:
        first = errors[0]
        if first["type"] == "missing":
            return f"is missing; it must be {self._of_schema(first)}"
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            return self._unknown(first)
        expected = _or(dict.fromkeys(map(_expected, errors)))
        if first["loc"] and first["loc"][0] in self._secret:
            return f"must be {expected}"
        details = min(errors, key=lambda e: len(e["loc"]))
        return f"must be {expected}, but is {_shown(details['input'])}"

    def _unknown(self, details: ErrorDetails) -> str:
        if len(details["loc"]) > 1:
            return "is not known here; leave it out"
        if not self._properties:
            return "is not known: this provider takes no parameters"
        return f"is not known; the parameters are {', '.join(self._properties)}"

    def _of_schema(self, details: ErrorDetails) -> str:
        """What a missing parameter must be."""
        part = self._properties.get(str(details["loc"][0])) if len(details["loc"]) == 1 else None
        return self._words(part) if part else "given"

    def _words(self, part: Mapping[str, Any]) -> str:
        part = self._resolve(part)
        if "const" in part:
            return json.dumps(part["const"])
        if "enum" in part:
            return _or(map(json.dumps, part["enum"]))
        if "anyOf" in part or "oneOf" in part:
            return _or(dict.fromkeys(map(self._words, part.get("anyOf") or part["oneOf"])))
        if part.get("format") == "directory-path":
            return "a folder that exists on the server"
        if part.get("format") == "file-path":
            return "a file that exists on the server"
        return _TYPES.get(str(part.get("type")), "given")

    def _resolve(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        reference = part.get("$ref", "")
        if reference.startswith("#/$defs/"):
            found: Mapping[str, Any] = self._schema["$defs"].get(reference.removeprefix("#/$defs/"), {})
            return found
        return part

    def _is_secret(self, part: Any, seen: set[str]) -> bool:
        if isinstance(part, list):
            return any(self._is_secret(item, seen) for item in part)
        if not isinstance(part, dict):
            return False
        if part.get("writeOnly") is True:
            return True
        reference = part.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            seen.add(reference)
            return self._is_secret(self._resolve(part), seen)
        return any(self._is_secret(item, seen) for item in part.values())


def _path(details: ErrorDetails, given: Any) -> str:
    """Where in the input: names and indexes that are there, without the names that pydantic gives to a union's members."""
    path, here, last = "", given, len(details["loc"]) - 1
    for number, step in enumerate(details["loc"]):
        if isinstance(here, list) and isinstance(step, int):
            path, here = f"{path}[{step}]", here[step] if step < len(here) else None
        elif isinstance(here, dict) and step in here:
            path, here = f"{path}.{step}", here[str(step)]
        elif number == last and details["type"] in ("missing", "extra_forbidden"):
            path = f"{path}.{step}"
    return path


def _expected(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        return f"valid ({context.get('error') or details['msg']})"
    if kind in ("too_short", "too_long") and context.get("field_type") == "Dictionary":
        kind = {
            "too_short": "an object of at least {min_length}",
            "too_long": "an object of at most {max_length}",
        }[kind]
        return kind.format(**context)
    template = _EXPECTED.get(kind)
    if template is None:
        return f"valid ({details['msg']})"
    if kind in ("literal_error", "enum"):
        return str(context.get("expected", "")).replace("'", '"')
    return template.format_map({name: _number(value) for name, value in context.items()})


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _or(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
