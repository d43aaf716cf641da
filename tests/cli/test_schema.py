"""A JSON Schema reads as a list that a person understands."""

import json
from typing import Any

import pytest

from runcast.cli.schema import Parameter, Parameters


def described(schema: dict[str, Any], **more: Any) -> Parameter:
    """How one parameter `x` of this schema reads."""
    (parameter,) = Parameters(json.dumps({"properties": {"x": schema}, **more})).described()
    return parameter


@pytest.mark.parametrize(
    ("schema", "type_"),
    [
        ({"type": "integer"}, "integer"),
        ({"type": "string", "format": "date-time"}, "date-time"),
        ({"type": "array", "items": {"type": "number"}}, "list of number"),
        ({"type": "array"}, "list"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"type": ["integer", "string"]}, "integer or string"),
        ({"enum": ["a", 2]}, '"a" | 2'),
        ({"const": "only"}, '"only"'),
        ({}, "any"),
    ],
)
def test_a_type_is_a_word_or_two(schema: dict[str, Any], type_: str) -> None:
    assert described(schema).type == type_


def test_a_required_parameter_has_no_default_and_another_has_its_own_as_json() -> None:
    assert described({"type": "string", "default": "a"}).default == '"a"'
    assert described({"type": "string"}, required=["x"]).default is None


@pytest.mark.parametrize(
    ("schema", "constraints"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 9}, "≥ 0, ≤ 9"),
        ({"type": "number", "exclusiveMinimum": 0}, "> 0"),
        ({"type": "string", "minLength": 1, "maxLength": 100}, "1 to 100 characters"),
        ({"type": "string", "minLength": 1}, "at least 1 character"),
        ({"type": "array", "maxItems": 3, "uniqueItems": True}, "at most 3 items, no item twice"),
        ({"type": "array", "minItems": 2, "maxItems": 2}, "2 items"),
        ({"type": "string", "pattern": "^a+$"}, "matches ^a+$"),
        ({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}, "≥ 1"),
    ],
)
def test_constraints_are_said_in_signs_and_words(schema: dict[str, Any], constraints: str) -> None:
    assert described(schema).constraints == constraints


def test_a_reference_is_followed() -> None:
    schema = {"$ref": "#/$defs/Mode"}
    assert described(schema, **{"$defs": {"Mode": {"enum": ["fast", "safe"]}}}).type == '"fast" | "safe"'


def test_no_schema_takes_anything() -> None:
    assert Parameters("").names == ()
    assert Parameters("").open


@pytest.mark.parametrize("text", ["true", "[]", "null"])
def test_a_schema_that_is_no_object_takes_anything(text: str) -> None:
    assert Parameters(text).open
