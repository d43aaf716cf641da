"""Every command that prints data does so in every format, by one mechanism."""

import json
from typing import Any

import pytest
import yaml

from runcast.cli.yaml import to_yaml
from tests.cli.conftest import Call, started

LISTS = [["runs", "ls", "--provider", "records"], ["providers", "ls", "--search", "hello"]]
ONES = [["runs", "show", "RUN"], ["providers", "show", "greet"], ["cancel", "RUN"], ["wait", "RUN", "-q"]]


@pytest.fixture
def run(call: Call) -> str:
    """A run that has ended."""
    run_id = started(call, "records")
    assert call("wait", run_id).code == 0
    return run_id


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_a_list_is_the_same_in_every_format(call: Call, run: str, words: list[str]) -> None:
    listed = json.loads(call(*words, "-o", "json").out)
    assert len(listed) >= 1
    assert json.loads(call(*words, "--json").out) == listed
    assert [json.loads(each) for each in call(*words, "-o", "jsonl").out.splitlines()] == listed
    assert yaml.safe_load(call(*words, "-o", "yaml").out) == listed
    names = [each.get("id") or each["name"] for each in listed]
    assert call(*words, "-o", "name").out.split() == names
    assert [each.split()[0] for each in call(*words, "-o", "table").out.splitlines()[1:]] == names


@pytest.mark.parametrize("words", ONES, ids=" ".join)
def test_one_thing_is_the_same_in_every_format(call: Call, run: str, words: list[str]) -> None:
    words = [run if each == "RUN" else each for each in words]
    shown = json.loads(call(*words, "-o", "json").out)
    assert yaml.safe_load(call(*words, "-o", "yaml").out) == shown
    assert [json.loads(each) for each in call(*words, "-o", "jsonl").out.splitlines()] == [shown]
    name = shown.get("id") or shown["name"]
    assert call(*words, "-o", "name").out == f"{name}\n"
    assert name in call(*words, "-o", "table").out


@pytest.mark.parametrize("words", [["info"], ["health"]], ids=" ".join)
def test_what_has_no_name_has_the_other_formats(call: Call, words: list[str]) -> None:
    shown = json.loads(call(*words, "-o", "json").out)
    assert yaml.safe_load(call(*words, "-o", "yaml").out).keys() == shown.keys()
    assert json.loads(call(*words, "-o", "jsonl").out).keys() == shown.keys()
    assert "-o name means nothing here" in call(*words, "-o", "name").err


def test_an_empty_list_is_an_empty_list(call: Call) -> None:
    nobody = ["runs", "ls", "--provider", "nobody"]
    assert call(*nobody, "-o", "json").out == "[]\n"
    assert call(*nobody, "-o", "yaml").out == "[]\n"
    assert call(*nobody, "-o", "jsonl").out == call(*nobody, "-o", "name").out == ""


def test_a_result_may_be_yaml(call: Call) -> None:
    done = call("run", "records", "-o", "yaml")
    assert (done.code, done.out) == (
        0,
        "- name: Ada\n  born: 1815\n- name: Grace\n  born: 1906\n  rank: admiral\n",
    )


def test_a_start_prints_the_run_where_a_format_is_asked_for(call: Call) -> None:
    assert yaml.safe_load(call("start", "records", "-o", "yaml").out)["provider"] == "records"
    assert "records" in call("start", "records", "-o", "table").out.splitlines()[1]


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, {"b": "x\ny\n"}], "c": "yes", "d": "2026-01-01T00:00:00Z", "e": 10**30, "f": "é😀"},
        "\u202ebackwards\x1b[2J",
        "first\nthen\u202e",
        "...",
        [],
        None,
        1e300,
    ],
)
def test_yaml_is_exact_and_harmless(value: Any) -> None:
    written = to_yaml(value)
    assert yaml.safe_load(written) == value
    assert "\x1b" not in written
    assert "\u202e" not in written
