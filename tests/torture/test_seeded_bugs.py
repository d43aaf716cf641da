"""Every deliberate bug is caught by the test that is named for it; those that need a storm, in `make seeded-bugs`."""

import subprocess
import sys

import pytest

from tests.torture.bugs import BUGS
from tests.torture.seeded import is_quick
from tests.torture.world import ROOT


@pytest.mark.timeout(120)
def test_every_deliberate_bug_is_caught_by_the_test_that_is_named_for_it() -> None:
    quick = [bug.name for bug in BUGS if is_quick(bug)]
    assert len(quick) >= 20
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.seeded", *quick],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(quick)} of {len(quick)} caught" in done.stdout
