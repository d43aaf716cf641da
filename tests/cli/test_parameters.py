"""What is typed behind -p and --params becomes what the provider's schema wants, or is refused in words."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from runcast.cli.failures import Refused
from runcast.cli.parameters import parse

OPTIONAL_WHOLE = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
OPTIONAL_TEXT = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def read(
    given: list[str], properties: dict[str, Any], whole: str | None = None, **more: Any
) -> dict[str, Any]:
    """Parse by a schema like those that pydantic makes: other names are not taken."""
    schema = {"type": "object", "properties": properties, "additionalProperties": False, **more}
    return parse(given, whole, json.dumps(schema))


def complaint(given: list[str], properties: dict[str, Any], whole: str | None = None, **more: Any) -> str:
    """What is said of parameters that are refused."""
    with pytest.raises(Refused) as refused:
        read(given, properties, whole, **more)
    return "\n".join([refused.value.message, *(f"{name}: {what}" for name, what in refused.value.details)])


@pytest.mark.parametrize(
    "text", ["5", "true", "null", "[1]", '{"a": 1}', "", " x ", "a=b", "1e5", '"quoted"']
)
def test_text_stays_text_whatever_it_looks_like(text: str) -> None:
    assert read([f"name={text}"], {"name": {"type": "string"}}) == {"name": text}


def test_a_whole_number_is_exact_however_long() -> None:
    assert read(["n=123456789012345678901234567890"], {"n": {"type": "integer"}}) == {
        "n": 123456789012345678901234567890
    }


def test_a_number_may_be_whole_and_stays_so() -> None:
    assert repr(read(["n=5"], {"n": {"type": "number"}})) == "{'n': 5}"


@pytest.mark.parametrize(("text", "number"), [("0.1", 0.1), ("-2.5e3", -2500.0), (".5", 0.5), ("-7", -7)])
def test_a_number_is_read(text: str, number: float) -> None:
    assert read([f"n={text}"], {"n": {"type": "number"}}) == {"n": number}


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "0x10", "1_000", "five", ""])
def test_what_is_no_number_is_refused(text: str) -> None:
    assert "input.n: must be a number, but is " in complaint([f"n={text}"], {"n": {"type": "number"}})


@pytest.mark.parametrize("text", ["5.0", "5.5", "1e3", "ten"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    said = complaint([f"n={text}"], {"n": {"type": "integer"}})
    assert f'input.n: must be a whole number, but is "{text}"' in said


@pytest.mark.parametrize("text", ["true", "True", "yes", "on", "1"])
def test_a_yes_in_any_spelling_is_true(text: str) -> None:
    assert read([f"b={text}"], {"b": {"type": "boolean"}}) == {"b": True}


@pytest.mark.parametrize("text", ["false", "NO", "off", "0"])
def test_a_no_in_any_spelling_is_false(text: str) -> None:
    assert read([f"b={text}"], {"b": {"type": "boolean"}}) == {"b": False}


def test_maybe_is_neither() -> None:
    assert "must be true or false" in complaint(["b=maybe"], {"b": {"type": "boolean"}})


def test_a_list_is_json_or_grows_with_each_p() -> None:
    numbers = {"n": {"type": "array", "items": {"type": "integer"}}}
    assert read(["n=[1, 2]"], numbers) == {"n": [1, 2]}
    assert read(["n=1", "n=2", "n=[3, 4]"], numbers) == {"n": [1, 2, 3, 4]}


def test_one_item_of_a_list_of_texts_may_look_like_anything() -> None:
    assert read(["n=true"], {"n": {"type": "array", "items": {"type": "string"}}}) == {"n": ["true"]}


def test_an_object_is_json() -> None:
    assert read(['o={"a": [1.5]}'], {"o": {"type": "object"}}) == {"o": {"a": [1.5]}}
    assert "must be a JSON object" in complaint(["o=[1]"], {"o": {"type": "object"}})


def test_null_is_null_where_text_does_not_fit_and_text_where_it_does() -> None:
    assert read(["n=null"], {"n": OPTIONAL_WHOLE}) == {"n": None}
    assert read(["n=null"], {"n": OPTIONAL_TEXT}) == {"n": "null"}


def test_a_choice_is_taken_by_its_value_also_where_that_is_a_number() -> None:
    assert read(["c=red"], {"c": {"enum": ["red", "green"]}}) == {"c": "red"}
    assert read(["c=2"], {"c": {"enum": [1, 2]}}) == {"c": 2}
    assert read(["c=only"], {"c": {"const": "only"}}) == {"c": "only"}


def test_what_is_no_choice_is_refused_with_the_choices() -> None:
    said = complaint(["c=blue"], {"c": {"enum": ["red", "green"], "type": "string"}})
    assert 'input.c: must be "red" | "green", but is "blue"' in said


def test_references_and_unions_are_looked_through() -> None:
    schema = {"c": {"anyOf": [{"$ref": "#/$defs/Colour"}, {"type": "null"}]}}
    colours: dict[str, Any] = {"$defs": {"Colour": {"enum": [1, 2]}}}
    assert read(["c=2"], schema, **colours) == {"c": 2}


def test_a_schema_that_refers_to_itself_does_not_hang() -> None:
    loop: dict[str, Any] = {"$defs": {"Loop": {"$ref": "#/$defs/Loop"}}}
    assert read(["c=2"], {"c": {"$ref": "#/$defs/Loop"}}, **loop) == {"c": 2}


def test_a_parameter_of_any_type_is_json_where_it_can_be() -> None:
    assert read(["a=5", "b=five"], {"a": {}, "b": {}}) == {"a": 5, "b": "five"}


def test_a_colon_before_the_equals_sign_says_it_in_json() -> None:
    assert read(['n:="5"', "o:=null"], {"n": {"type": "string"}, "o": {}}) == {"n": "5", "o": None}
    assert "input.n: is not JSON" in complaint(["n:=five"], {"n": {}})
    assert "NaN is not a number" in complaint(["n:=NaN"], {"n": {}})


def test_a_name_that_is_not_taken_is_refused_with_the_nearest() -> None:
    seconds = {"seconds": {"type": "integer"}}
    assert "did you mean seconds?" in complaint(["secnds=5"], seconds)
    assert "it takes: seconds" in complaint(["path=5"], seconds)


def test_an_open_schema_takes_other_names() -> None:
    assert parse(["other=5"], None, "") == {"other": 5}


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = complaint(["a=x", "b=y", "c=1"], {"a": {"type": "integer"}, "b": {"type": "boolean"}})
    assert [line.split(":")[0] for line in said.splitlines()[1:]] == ["input.a", "input.b", "input.c"]


def test_a_value_that_is_no_list_can_be_given_once() -> None:
    assert "input.a: was given twice" in complaint(["a=1", "a=2"], {"a": {"type": "integer"}})


@pytest.mark.parametrize("given", ["name", "=5", ":=5"])
def test_a_p_without_name_or_value_is_refused_with_how_to_write_it(given: str) -> None:
    assert "write -p name=value" in complaint([given], {"name": {"type": "string"}})


def test_an_at_sign_is_kept_for_files_and_says_how_to_write_text_that_begins_so() -> None:
    assert ':="@…"' in complaint(["name=@ada"], {"name": {"type": "string"}})
    assert read(['name:="@ada"'], {"name": {"type": "string"}}) == {"name": "@ada"}


def test_params_are_an_object_over_which_p_goes() -> None:
    properties = {"a": {"type": "integer"}, "b": {"type": "integer"}}
    assert read(["b=3"], properties, '{"a": 1, "b": 2}') == {"a": 1, "b": 3}


def test_params_come_from_a_file_or_from_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "params.json"
    file.write_text('{"a": "ä"}')
    assert read([], {"a": {"type": "string"}}, f"@{file}") == {"a": "ä"}
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"a": 5}'))
    assert read([], {"a": {}}, "-") == {"a": 5}


@pytest.mark.parametrize("whole", ["[1]", '"a"', "5", "null"])
def test_params_that_are_no_object_are_refused(whole: str) -> None:
    assert "--params must hold a JSON object" in complaint([], {}, whole)


def test_params_that_are_no_json_are_refused_with_the_place() -> None:
    assert "--params is not JSON: Expecting" in complaint([], {}, '{"a": }')
