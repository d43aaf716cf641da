"""Every wrong field is named, with what was expected of it and what was given, in words a person understands."""

import datetime as dt
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AfterValidator, BaseModel, DirectoryPath, Field, FilePath, HttpUrl, SecretStr

from runcast.provider import Provider, provider
from runcast.server.model.errors import InvalidArgument


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Point(BaseModel):
    x: int
    label: str = ""


class Account(BaseModel):
    user: str
    password: SecretStr


ORIGIN = Point(x=1)
PIN = SecretStr("0")


def even(value: int) -> int:
    if value % 2:
        raise ValueError("only pairs can dance")
    return value


def violations(provider: Provider[..., Any], text: str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidArgument) as caught:
        provider.validate(text)
    return [(field, words) for field, words in caught.value.violations]


@provider
async def simple(seconds: Annotated[int, Field(ge=0, le=86_400)], name: str = "x") -> None: ...


@provider
async def typed(
    *,
    number: int = 1,
    ratio: float = 1.0,
    text: str = "",
    flag: bool = False,
    size: Size = Size.SMALL,
    mode: Literal["fast", "slow"] = "fast",
    items: list[int] = [],  # noqa: B006 - pydantic copies defaults
    table: dict[str, int] = {},  # noqa: B006 - pydantic copies defaults
    point: Point = ORIGIN,
    points: list[Point] = [],  # noqa: B006 - pydantic copies defaults
    either: int | list[str] = 1,
    day: dt.date = dt.date(2026, 1, 1),
    when: dt.datetime | None = None,
    wait: dt.timedelta = dt.timedelta(0),
    price: Decimal = Decimal(1),
    id: UUID | None = None,
    url: HttpUrl | None = None,
    short: Annotated[str, Field(min_length=2, max_length=3)] = "ab",
    code: Annotated[str, Field(pattern="^[A-Z]+$")] = "A",
    positive: Annotated[int, Field(gt=0)] = 1,
    below: Annotated[float, Field(lt=1)] = 0.0,
    fives: Annotated[int, Field(multiple_of=5)] = 5,
    pair: Annotated[list[int], Field(min_length=2, max_length=2)] = [1, 2],  # noqa: B006
    few: Annotated[dict[str, int], Field(max_length=1)] = {},  # noqa: B006
    dance: Annotated[int, AfterValidator(even)] = 2,
) -> None: ...


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ('{"number": "many"}', "number", 'must be a whole number, but is "many"'),
        ('{"number": 1.5}', "number", "must be a whole number, but is 1.5"),
        ('{"ratio": "x"}', "ratio", 'must be a number, but is "x"'),
        ('{"ratio": null}', "ratio", "must be a number, but is null"),
        ('{"text": 3}', "text", "must be text, but is 3"),
        ('{"flag": "maybe"}', "flag", 'must be true or false, but is "maybe"'),
        ('{"size": "m"}', "size", 'must be "s" or "l", but is "m"'),
        ('{"mode": "best"}', "mode", 'must be "fast" or "slow", but is "best"'),
        ('{"items": 3}', "items", "must be a list, but is 3"),
        ('{"items": [1, "b"]}', "items[1]", 'must be a whole number, but is "b"'),
        ('{"table": []}', "table", "must be an object, but is []"),
        ('{"table": {"a": "b"}}', "table.a", 'must be a whole number, but is "b"'),
        ('{"point": 3}', "point", "must be an object, but is 3"),
        ('{"point": {}}', "point.x", "is missing; it must be given"),
        ('{"point": {"x": "a"}}', "point.x", 'must be a whole number, but is "a"'),
        ('{"points": [{"x": 1}, {"x": []}]}', "points[1].x", "must be a whole number, but is []"),
        ('{"either": {}}', "either", "must be a whole number or a list, but is {}"),
        ('{"either": ["a", 3]}', "either", 'must be a whole number, but is ["a", 3]'),
        ('{"day": "soon"}', "day", 'must be a date such as 2026-01-31, but is "soon"'),
        ('{"when": "soon"}', "when", 'must be a time such as 2026-01-31T13:30:00Z, but is "soon"'),
        ('{"wait": "long"}', "wait", 'must be a duration such as PT1H30M, or seconds, but is "long"'),
        ('{"price": "dear"}', "price", 'must be a decimal number, but is "dear"'),
        ('{"id": "me"}', "id", 'must be a UUID, but is "me"'),
        ('{"url": "here"}', "url", 'must be a URL, but is "here"'),
        ('{"short": "a"}', "short", 'must be text of at least 2 characters, but is "a"'),
        ('{"short": "abcd"}', "short", 'must be text of at most 3 characters, but is "abcd"'),
        ('{"code": "a"}', "code", 'must be text that matches ^[A-Z]+$, but is "a"'),
        ('{"positive": 0}', "positive", "must be more than 0, but is 0"),
        ('{"below": 1}', "below", "must be less than 1, but is 1"),
        ('{"fives": 3}', "fives", "must be a multiple of 5, but is 3"),
        ('{"pair": [1]}', "pair", "must be a list of at least 2, but is [1]"),
        ('{"pair": [1, 2, 3]}', "pair", "must be a list of at most 2, but is [1, 2, 3]"),
        ('{"few": {"a": 1, "b": 2}}', "few", 'must be an object of at most 1, but is {"a": 1, "b": 2}'),
        ('{"dance": 3}', "dance", "must be valid (only pairs can dance), but is 3"),
    ],
)
def test_a_wrong_value_is_described(text: str, field: str, words: str) -> None:
    assert (f"input.{field}", words) in violations(typed, text)


def test_a_bound_that_is_passed_is_named() -> None:
    assert violations(simple, '{"seconds": -3}') == [("input.seconds", "must be at least 0, but is -3")]
    assert violations(simple, '{"seconds": 100000}') == [
        ("input.seconds", "must be at most 86400, but is 100000")
    ]


def test_a_missing_parameter_says_what_it_must_be() -> None:
    @provider
    async def needs(
        *, a: int, b: Literal["x", "y"], c: Size, d: str | None, e: DirectoryPath, f: FilePath
    ) -> None: ...

    assert violations(needs, "") == [
        ("input.a", "is missing; it must be a whole number"),
        ("input.b", 'is missing; it must be "x" or "y"'),
        ("input.c", 'is missing; it must be "s" or "l"'),
        ("input.d", "is missing; it must be text or null"),
        ("input.e", "is missing; it must be a folder that exists on the server"),
        ("input.f", "is missing; it must be a file that exists on the server"),
    ]


def test_every_wrong_field_has_one_violation_in_the_order_of_the_signature() -> None:
    assert violations(simple, '{"nonsense": 1, "name": 3}') == [
        ("input.seconds", "is missing; it must be a whole number"),
        ("input.name", "must be text, but is 3"),
        ("input.nonsense", "is not known; the parameters are seconds, name"),
    ]


def test_an_unknown_parameter_is_refused_where_there_are_none() -> None:
    @provider
    async def nothing() -> None: ...

    assert violations(nothing, '{"a": 1}') == [("input.a", "is not known: this provider takes no parameters")]


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "null", "true", "[1, 2]"])
def test_input_that_is_no_object_is_refused_as_a_whole(text: str) -> None:
    expected = f"must be a JSON object with a field for each parameter, but is {text}"
    assert violations(simple, text) == [("input", expected)]


@pytest.mark.parametrize(
    "text", ["{", "seconds=3", '{"seconds": 3}}', "{'seconds': 3}", '{"seconds": \ud800}']
)
def test_input_that_is_no_json_is_refused_as_a_whole(text: str) -> None:
    [(field, words)] = violations(simple, text)
    assert field == "input"
    assert words.startswith("must be a JSON object, but is not JSON: ")


def test_a_folder_must_exist_on_the_server(tmp_path: Path) -> None:
    @provider
    async def look(path: DirectoryPath) -> None: ...

    missing = tmp_path / "missing"
    expected = f'must be a folder that exists on the server, but is "{missing}"'
    assert violations(look, f'{{"path": "{missing}"}}') == [("input.path", expected)]


def test_a_long_value_is_not_repeated_as_a_whole() -> None:
    [(_, words)] = violations(simple, f'{{"seconds": "{"9x" * 1000}"}}')
    assert len(words) < 300


def test_a_secret_is_never_repeated() -> None:
    @provider
    async def login(
        password: Annotated[SecretStr, Field(min_length=20)],
        account: Account | None = None,
        pin: SecretStr = PIN,
    ) -> None: ...

    found = violations(login, '{"password": "hunter2", "account": {"password": "hunter2"}, "pin": [11]}')
    assert "hunter2" not in str(found)
    assert "11" not in str(found)
    assert [field for field, _ in found] == ["input.password", "input.account.user", "input.pin"]


def test_a_default_that_is_wrong_is_told_like_a_value() -> None:
    @provider
    async def broken(count: Annotated[int, Field(ge=5)] = 1) -> None: ...

    assert violations(broken, "") == [("input.count", "must be at least 5, but is 1")]
