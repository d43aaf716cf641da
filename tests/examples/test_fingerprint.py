"""A folder's fingerprint is exact, survives an interruption, and says what it could not read."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from runcast.examples import fingerprint
from runcast.examples.fingerprint import Fingerprint
from runcast.provider import Cancelled, Provider, SyncContext
from runcast.provider.runner import run_blocking
from runcast.provider.testing import RecordingSyncContext
from runcast.server.model.call import Returned
from runcast.server.model.errors import InvalidArgument
from tests.provider.channels import BlockingChannel, call

STDLIB_JSON = Path(json.__file__).parent
# The package names its provider like the module that holds it.
MODULE: Any = sys.modules["runcast.examples.fingerprint"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A few files, one of them in a folder below."""
    (tmp_path / "below").mkdir()
    (tmp_path / "a.txt").write_bytes(b"a" * 10)
    (tmp_path / "b.txt").write_bytes(b"b" * 30)
    (tmp_path / "below" / "c.txt").write_bytes(b"c" * 20)
    return tmp_path


@pytest.fixture
def saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every file."""
    monkeypatch.setattr(MODULE, "CHECKPOINT_EVERY", 0)


def take(path: Path, ctx: RecordingSyncContext | None = None, **given: Any) -> Fingerprint:
    return fingerprint.call(ctx or SyncContext.testing(), path=str(path), **given)


def expected(root: Path, algorithm: str = "sha256") -> dict[str, str]:
    """Every regular file's digest, found another way."""
    return {
        str(file.relative_to(root)): hashlib.new(algorithm, file.read_bytes()).hexdigest()
        for file in root.rglob("*")
        if file.is_file() and not file.is_symlink()
    }


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, error: OSError) -> None:
    """Opening files of that name fails: a test that runs as root cannot be refused by permissions."""
    real = os.open

    def refusing(path: Any, *rest: Any, **named: Any) -> int:
        if str(path).endswith(name):
            raise error
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "open", refusing)


@pytest.mark.parametrize("algorithm", ["sha256", "blake2b"])
def test_every_file_of_a_real_folder_has_its_digest(algorithm: str) -> None:
    result = take(STDLIB_JSON, algorithm=algorithm)
    assert {file.path: file.digest for file in result.files} == expected(STDLIB_JSON, algorithm)
    assert result.byte_count == sum(f.stat().st_size for f in STDLIB_JSON.rglob("*") if f.is_file())
    assert result.left_out == result.failed == 0


def test_the_digest_of_all_follows_from_the_digests_of_each(folder: Path) -> None:
    digest = ""
    for path, own in sorted(expected(folder).items()):
        digest = hashlib.sha256(f"{digest}{path}\0{own}".encode()).hexdigest()
    assert take(folder).digest == digest


def test_the_same_folder_has_the_same_fingerprint(folder: Path) -> None:
    assert take(folder) == take(folder)


@pytest.mark.parametrize("change", ["content", "name", "removal"])
def test_any_change_changes_the_digest(folder: Path, change: str) -> None:
    before = take(folder).digest
    if change == "content":
        (folder / "a.txt").write_bytes(b"A" * 10)
    elif change == "name":
        (folder / "a.txt").rename(folder / "z.txt")
    else:
        (folder / "a.txt").unlink()
    assert take(folder).digest != before


def test_the_largest_files_come_first(folder: Path) -> None:
    assert [file.path for file in take(folder).files] == ["b.txt", "below/c.txt", "a.txt"]


def test_progress_is_told_in_files_and_in_bytes(folder: Path) -> None:
    ctx = SyncContext.testing()
    result = take(folder, ctx)
    stages = {progress.stage: progress for progress in ctx.recorded.progress}
    assert (stages["listing"].unit, stages["listing"].completed) == ("files", 3)
    last = stages["hashing"]
    assert (last.unit, last.completed, last.total, last.fraction) == ("bytes", 60, 60, 1.0)
    assert last.message == "file 3 of 3: below/c.txt"
    assert ctx.recorded.summary == f"3 files, 60 bytes, sha256 {result.digest[:16]}…"
    assert ctx.recorded.refs[0].id == str(folder)


def test_a_file_that_cannot_be_read_is_a_failed_target_and_the_rest_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "b.txt", PermissionError(13, "Permission denied"))
    ctx = SyncContext.testing()
    result = take(folder, ctx)
    [failure] = ctx.recorded.failures
    assert failure == type(failure)("b.txt", "EACCES", "Permission denied")
    assert (result.failed, result.file_count, result.byte_count) == (1, 2, 30)


def test_a_file_that_vanishes_meanwhile_is_a_failed_target(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "a.txt", FileNotFoundError(2, "No such file or directory"))
    ctx = SyncContext.testing()
    take(folder, ctx)
    [failure] = ctx.recorded.failures
    assert failure == type(failure)("a.txt", "ENOENT", "it vanished meanwhile")


def test_a_folder_that_cannot_be_listed_is_told_once_although_the_run_is_resumed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, saving: None
) -> None:
    real = os.scandir

    def refusing(path: str) -> Any:
        if path.endswith("below"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    ctx = SyncContext.testing()
    whole = take(folder, ctx)
    assert [failure.target for failure in ctx.recorded.failures] == ["below"]
    again = SyncContext.testing(restored=ctx.recorded.checkpoints[0])
    assert take(folder, again) == whole
    assert again.recorded.failures == []


def test_links_and_what_is_no_file_are_skipped(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("x")
    before = take(folder)
    (folder / "link").symlink_to(outside / "secret")
    (folder / "links").symlink_to(outside)
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    after = take(folder)
    assert after.skipped == 4
    assert after.digest == before.digest


@pytest.mark.parametrize("what", ["link", "pipe", "folder"])
def test_a_file_that_is_replaced_meanwhile_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    real = MODULE.Reading.find

    def swap(reading: Any) -> Any:
        found = real(reading)
        (folder / "a.txt").unlink()
        if what == "link":
            (folder / "a.txt").symlink_to("/etc/hostname")
        elif what == "pipe":
            os.mkfifo(folder / "a.txt")
        else:
            (folder / "a.txt").mkdir()
        return found

    monkeypatch.setattr(MODULE.Reading, "find", swap)
    ctx = SyncContext.testing()
    assert take(folder, ctx).file_count == 2
    assert [failure.target for failure in ctx.recorded.failures] == ["a.txt"]


def test_an_empty_folder_has_an_empty_fingerprint(tmp_path: Path) -> None:
    result = take(tmp_path)
    assert (result.file_count, result.digest, result.files) == (0, "", [])


def test_names_that_are_no_text_are_shown_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / name).write_text("x")
    [file] = take(tmp_path).files
    assert file.path == "caf\\xe9"
    assert file.digest == hashlib.sha256(b"x").hexdigest()


@pytest.mark.usefixtures("saving")
def test_resuming_anywhere_gives_the_same_as_a_fresh_run(folder: Path) -> None:
    for number in range(20):
        (folder / f"more{number}").write_bytes(os.urandom(number * 100))
    ctx = SyncContext.testing()
    fresh = take(folder, ctx)
    checkpoints = ctx.recorded.checkpoints
    assert len(checkpoints) == fresh.file_count
    for state in checkpoints:
        resumed = SyncContext.testing(restored=state)
        assert take(folder, resumed) == fresh
        assert resumed.recorded.progress[-1].fraction == 1.0
    assert len(SyncContext.testing(restored=checkpoints[5]).restored["so_far"]["files"]) == 6


@pytest.mark.usefixtures("saving")
def test_a_resumed_run_reads_no_file_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = SyncContext.testing()
    fresh = take(folder, ctx)
    refuse(monkeypatch, "a.txt", OSError("read again"))
    refuse(monkeypatch, "b.txt", OSError("read again"))
    resumed = SyncContext.testing(restored=ctx.recorded.checkpoints[1])
    assert take(folder, resumed) == fresh


def test_a_run_is_cancelled_within_a_huge_file(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    ctx = Cancelling()
    with pytest.raises(Cancelled):
        fingerprint.call(ctx, path=str(tmp_path))


class Cancelling(RecordingSyncContext):
    """Cancels itself once some bytes have been read."""

    __slots__ = ()

    def progress(self, completed: int | None = None, total: int | None = None, **more: Any) -> None:
        super().progress(completed, total, **more)
        if completed and completed >= 1 << 20:
            self.cancel()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Thousands of files with names as long and as awkward as names may be."""
    for number in range(3_000):
        (tmp_path / f"{number:05}{chr(1) * 240}").write_bytes(b"x" * (number % 7))
    return tmp_path


def test_the_result_stays_small_for_thousands_of_files_and_says_what_it_leaves_out(many: Path) -> None:
    channel = BlockingChannel()
    made: Provider[..., Any] = fingerprint
    end = run_blocking(
        made, call(fingerprint.validate(json.dumps({"path": str(many), "largest": 1_000}))), channel
    )
    assert isinstance(end, Returned)
    assert len(end.output) < 1024 * 1024
    result = json.loads(end.output)
    assert result["file_count"] == 3_000
    assert result["left_out"] == 3_000 - len(result["files"])
    assert 0 < len(result["files"]) < 1_000
    assert {file["size"] for file in result["files"]} <= {4, 5, 6}


@pytest.mark.usefixtures("saving")
def test_the_table_is_the_same_however_often_the_run_is_interrupted(folder: Path) -> None:
    ctx = SyncContext.testing()
    fresh = take(folder, ctx, largest=2)
    assert [file.path for file in fresh.files] == ["b.txt", "below/c.txt"]
    assert fresh.left_out == 1
    assert take(folder, SyncContext.testing(restored=ctx.recorded.checkpoints[1]), largest=2) == fresh


def test_excluded_folders_are_left_out_wherever_they_are(folder: Path) -> None:
    result = take(folder, exclude=["below"])
    assert [file.path for file in result.files] == ["b.txt", "a.txt"]


@pytest.mark.parametrize(
    ("given", "field"),
    [({}, "path"), ({"path": "/nowhere/at/all"}, "path"), ({"path": "/", "algorithm": "md5"}, "algorithm")],
)
def test_wrong_parameters_are_refused_before_anything_starts(given: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"input\.{field}"):
        fingerprint.validate(json.dumps(given))


def test_a_relative_folder_is_named_in_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert take(Path("below")).folder == str(folder / "below")
