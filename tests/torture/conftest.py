"""The seed of whatever is random here."""

import os
import random

import pytest


@pytest.fixture
def seed() -> int:
    """Another one each time, unless TORTURE_SEED says which; every failure names it."""
    given = os.environ.get("TORTURE_SEED")
    return int(given) if given else random.SystemRandom().randrange(1 << 32)
