"""A server that is killed leaves no child, no zombie and no socket."""

from pathlib import Path

import pytest

from tests.torture.rounds import hygiene
from tests.torture.storm import Plan

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]


async def test_nothing_of_a_killed_server_lives_two_seconds(tmp_path: Path, seed: int) -> None:
    verdict = await hygiene(Plan(tmp_path, seed), kills=5)
    assert verdict, f"seed {seed}: {verdict}"
