"""Input is checked and completed by the function's signature, and reads back as what it was."""

import contextlib
import datetime as dt
import json
import math
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator, DirectoryPath, Field, SecretStr

from runcast.provider import provider
from runcast.server.model.errors import InvalidArgument

# A shared machine is slow at times; what is tested here is not how fast it is.
UNHURRIED = settings(deadline=None)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: int
    y: int = 0


ORIGIN = Point(x=1)


def split(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else 1 / 0


@provider
async def plain(
    *,
    count: int,
    ratio: float = 0.5,
    name: str = "n",
    flag: bool = False,
    colour: Colour = Colour.RED,
    mode: Literal["fast", "slow"] = "fast",
    items: list[int] | None = None,
    table: dict[str, float] = {},  # noqa: B006 - pydantic copies defaults
) -> None: ...


@provider
async def rich(
    *,
    when: dt.datetime,
    wait: dt.timedelta = dt.timedelta(minutes=1),
    price: Decimal = Decimal("1.10"),
    point: Point = ORIGIN,
    raw: bytes = b"\xff\x00",
    places: tuple[Path, ...] = (Path("a"),),
    tags: set[str] = {"one"},  # noqa: B006 - pydantic copies defaults
) -> None: ...


@provider
async def shadows(*, copy: int, json: str, schema: bool, model_config: int, self: int, cls: int) -> None: ...


@provider
async def nothing() -> None: ...


INPUTS = st.fixed_dictionaries(
    {"count": st.integers()},
    optional={
        "ratio": st.floats(allow_nan=False, allow_infinity=False),
        "name": st.text(),
        "flag": st.booleans(),
        "colour": st.sampled_from(["red", "blue"]),
        "mode": st.sampled_from(["fast", "slow"]),
        "items": st.none() | st.lists(st.integers()),
        "table": st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    },
)
DEFAULTS = {
    "ratio": 0.5,
    "name": "n",
    "flag": False,
    "colour": "red",
    "mode": "fast",
    "items": None,
    "table": {},
}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@UNHURRIED
@given(INPUTS)
def test_what_is_given_stays_and_what_is_not_is_filled_in(values: dict[str, Any]) -> None:
    assert json.loads(plain.validate(json.dumps(values))) == DEFAULTS | values


@UNHURRIED
@given(INPUTS)
def test_validating_twice_changes_nothing_more(values: dict[str, Any]) -> None:
    once = plain.validate(json.dumps(values))
    assert plain.validate(once) == once


@UNHURRIED
@given(INPUTS)
def test_the_order_is_the_one_of_the_signature(values: dict[str, Any]) -> None:
    assert tuple(json.loads(plain.validate(json.dumps(values)))) == plain.parameters.names


@UNHURRIED
@given(INPUTS)
def test_the_function_gets_the_values_with_their_types(values: dict[str, Any]) -> None:
    arguments = plain.parameters.parse(plain.validate(json.dumps(values)))
    assert arguments["colour"] is Colour(values.get("colour", "red"))
    assert arguments["count"] == values["count"]
    assert type(arguments["count"]) is int


@UNHURRIED
@given(st.text() | ANY_JSON.map(json.dumps))
def test_nothing_but_invalid_argument_is_ever_raised(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        json.loads(plain.validate(text))


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63) - 1, 2**64, 10**300])
def test_huge_whole_numbers_survive_exactly(number: int) -> None:
    text = plain.validate(f'{{"count": {number}}}')
    assert json.loads(text)["count"] == number
    assert plain.parameters.parse(text)["count"] == number


def test_a_number_given_as_text_becomes_a_number() -> None:
    assert json.loads(plain.validate('{"count": "5", "ratio": 2}'))["count"] == 5


def test_types_that_json_does_not_have_read_back_as_they_were() -> None:
    text = rich.validate('{"when": "2026-01-31T10:00:00Z", "tags": ["b"]}')
    assert rich.parameters.parse(text) == {
        "when": dt.datetime(2026, 1, 31, 10, tzinfo=dt.UTC),
        "wait": dt.timedelta(minutes=1),
        "price": Decimal("1.10"),
        "point": Point(x=1),
        "raw": b"\xff\x00",
        "places": (Path("a"),),
        "tags": {"b"},
    }
    assert rich.validate(text) == text


def test_a_default_inside_of_a_nested_model_is_filled_in_too() -> None:
    text = rich.validate('{"when": "2026-01-31T10:00:00Z", "point": {"x": 3}}')
    assert json.loads(text)["point"] == {"x": 3, "y": 0}


def test_a_secret_is_kept_as_given_and_not_as_asterisks() -> None:
    @provider
    async def login(password: SecretStr, user: str = "ada") -> None: ...

    text = login.validate('{"password": "hunter2"}')
    assert json.loads(text) == {"password": "hunter2", "user": "ada"}
    assert login.parameters.parse(text)["password"].get_secret_value() == "hunter2"


def test_a_value_whose_type_does_not_read_back_what_it_writes_is_kept_as_given() -> None:
    @provider
    async def tagged(tags: Annotated[list[str], BeforeValidator(split)], size: int = 1) -> None: ...

    assert json.loads(tagged.validate('{"tags": "a,b", "size": "2"}')) == {"tags": "a,b", "size": "2"}
    assert tagged.parameters.parse('{"tags": "a,b"}') == {"tags": ["a", "b"], "size": 1}


def test_a_default_made_anew_is_decided_once() -> None:
    numbers = iter(range(10))

    @provider
    async def fresh(token: Annotated[int, Field(default_factory=lambda: next(numbers))]) -> None: ...

    text = fresh.validate("{}")
    assert text == '{"token":0}'
    assert fresh.parameters.parse(text) == {"token": 0}


def test_names_that_pydantic_uses_itself_are_names_like_any_other() -> None:
    text = shadows.validate('{"copy":1,"json":"j","schema":true,"model_config":2,"self":3,"cls":4}')
    assert shadows.parameters.parse(text) == {
        "copy": 1,
        "json": "j",
        "schema": True,
        "model_config": 2,
        "self": 3,
        "cls": 4,
    }


def test_a_relative_folder_that_exists_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @provider
    async def inside(path: DirectoryPath = Path()) -> None: ...

    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    assert inside.validate('{"path": "sub"}') == '{"path":"sub"}'
    assert inside.parameters.parse(inside.validate("")) == {"path": Path()}


@pytest.mark.parametrize("text", ["", "  \n", "{}", " { } "])
def test_no_input_is_an_empty_object(text: str) -> None:
    assert nothing.validate(text) == "{}"
    assert nothing.parameters.parse("{}") == {}


def test_a_default_written_as_a_field_counts() -> None:
    @provider
    async def classic(number: int = Field(3, ge=0, description="how many")) -> None: ...

    assert classic.validate("") == '{"number":3}'
    assert '"description":"how many"' in classic.description.input_schema


@pytest.mark.parametrize("text", ['{"x": NaN}', '{"x": [Infinity]}', '{"x": 1e999}'])
def test_numbers_that_json_does_not_have_are_refused(text: str) -> None:
    @provider
    async def anything(x: Any) -> None: ...

    with pytest.raises(InvalidArgument, match="input: "):
        anything.validate(text)
    assert not math.isinf(float("1e308"))


def test_parameters_that_are_given_are_checked_though_others_are_missing() -> None:
    @provider
    def copy(source: str, times: int, point: Point) -> None:
        """Copy."""

    copy.check_given("")
    copy.check_given('{"times": 2}')
    with pytest.raises(InvalidArgument) as refused:
        copy.check_given('{"times": "often", "tmies": 1, "point": {"label": "p"}}')
    assert {violation.field for violation in refused.value.violations} == {
        "input.times",
        "input.tmies",
        "input.point.x",
    }
    with pytest.raises(InvalidArgument, match="JSON object"):
        copy.check_given("[]")
