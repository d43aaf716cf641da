# ruff: noqa: T201 - printing is what is tested
"""What is written in pieces becomes lines, as a terminal would show them."""

import sys

import pytest

from runcast.provider import provider
from tests.provider.channels import AsyncChannel, run

pytestmark = pytest.mark.usefixtures("out")


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (["a", "b\n"], ["ab"]),
        (["a\nb\n", "c"], ["a", "b", "c"]),
        (["\n\n"], ["", ""]),
        (["a\r\nb\r\n"], ["a", "b"]),
        (["a\r", "\n"], ["a"]),
        (["10%", "\r20%", "\r30%", "\n"], ["30%"]),
        (["10%\r", "20%\r", "30%\r", "\n"], ["30%"]),
        (["no end"], ["no end"]),
        ([], []),
        ([""], []),
        (["x"] * 5000 + ["\n"], ["x" * 5000]),
    ],
)
async def test_lines_are_what_a_terminal_would_show(pieces: list[str], lines: list[str]) -> None:
    @provider
    async def writes() -> None:
        for piece in pieces:
            sys.stdout.write(piece)

    channel = AsyncChannel()
    await run(writes, channel)
    assert [message for _, message in channel.lines()] == lines


async def test_an_endless_line_is_cut_and_says_so() -> None:
    @provider
    async def rambles() -> None:
        for _ in range(300):
            sys.stdout.write("é" * 1000)
        print()
        print("next")

    channel = AsyncChannel()
    await run(rambles, channel)
    long, short = (message for _, message in channel.lines())
    assert len(long.encode()) <= 60 * 1024 + 100
    assert "cut]" in long
    assert short == "next"


async def test_a_line_that_is_overwritten_for_ever_takes_no_memory() -> None:
    @provider
    async def counts() -> None:
        for number in range(20_000):
            sys.stderr.write(f"\r{number:>20}")

    channel = AsyncChannel()
    await run(counts, channel)
    assert [message.strip() for _, message in channel.lines()] == ["19999"]
