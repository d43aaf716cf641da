"""A real table, imported through a real server: damaged, paused, killed and repaired, with no row lost or doubled."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest

from runcast.v1 import run_pb2
from runcast.v1.run_service_pb2_grpc import RunServiceStub
from tests.examples.flights import COLUMNS, ROWS, flights
from tests.rpc.calls import Runs, pb, stub_of
from tests.serving import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
STATES = run_pb2.Run


@pytest.fixture(scope="module")
def table() -> list[bytes]:
    """The lines of the real table, the header first."""
    lines = flights().read_bytes().splitlines(keepends=True)
    assert len(lines) == ROWS + 1
    return lines


@contextmanager
def serving(folder: Path) -> Iterator[tuple[ServerProcess, Runs]]:
    """A server whose runs are kept in that folder, and a client of it."""
    with (
        ServerProcess(f"sqlite:///{folder / 'runs.db'}") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield server, Runs(stub_of(RunServiceStub, channel))


def parameters(folder: Path, **given: Any) -> str:
    known = {"source": str(folder / "flights.csv"), "database": str(folder / "db.sqlite"), "missing": "NA"}
    return json.dumps(known | given)


def damage(table: list[bytes], dice: Random) -> dict[int, bytes]:
    """A hundred lines, each broken in one of the ways a line can be."""

    def broken(line: bytes) -> bytes:
        values = line.rstrip(b"\n").split(b",")
        match dice.randrange(4):
            case 0:
                values.pop(dice.randrange(COLUMNS))
            case 1:
                values[dice.choice([0, 1, 2, 4, 15])] = b"a lot"
            case 2:
                values[9] = b'"UA" or so'
            case _:
                values[11] = b"N\xff" + values[11]
        return b",".join(values) + b"\n"

    return {number: broken(table[number - 1]) for number in sorted(dice.sample(range(2, ROWS + 2), 100))}


def write(folder: Path, table: list[bytes], damaged: dict[int, bytes]) -> None:
    lines = list(table)
    for number, line in damaged.items():
        lines[number - 1] = line
    (folder / "flights.csv").write_bytes(b"".join(lines))


def check(folder: Path, table: list[bytes], left_out: set[int]) -> None:
    """Compare the database with the file, value by value as text."""
    expected = [
        [None if value == "NA" else value for value in line.decode().rstrip("\n").split(",")]
        for number, line in enumerate(table, 1)
        if number > 1 and number not in left_out
    ]
    with closing(sqlite3.connect(folder / "db.sqlite")) as db:
        found = db.execute("SELECT * FROM flights ORDER BY rowid").fetchall()
    assert len(found) == len(expected)
    for row, right in zip(found, expected, strict=True):
        assert [None if value is None else str(value) for value in row] == right


def first_progress(runs: Runs, run_id: str) -> None:
    """Return once some of the file has been imported, and not all of it."""
    for frame in runs.watch(run_id):
        for event in frame.batch.events:
            if event.HasField("progress") and 0.02 < event.progress.fraction < 0.6:
                return
    pytest.fail("it came to its end unseen")


def ended(runs: Runs, run_id: str) -> run_pb2.Run:
    """The run at its end, however slow the machine is today."""
    while (run := runs.wait(run_id)).state < STATES.STATE_SUCCEEDED:
        pass
    return run


def failed_lines(run: run_pb2.Run) -> list[int]:
    return [int(failure.target.removeprefix("line ")) for failure in run.failures]


def test_damaged_lines_of_a_real_table_are_named_and_repaired_by_a_retry(
    table: list[bytes], tmp_path: Path
) -> None:
    damaged = damage(table, Random(1))
    write(tmp_path, table, damaged)
    with serving(tmp_path) as (_, runs):
        started = runs.start("import_csv", parameters(tmp_path))
        run = ended(runs, started.id)
        assert run.state == STATES.STATE_SUCCEEDED_WITH_ERRORS
        assert failed_lines(run) == list(damaged)
        assert {failure.code for failure in run.failures} == {"COLUMNS", "VALUE", "MALFORMED", "ENCODING"}
        assert run.summary == "336,676 rows into flights, 100 bad lines"
        check(tmp_path, table, set(damaged))
        some = dict(list(damaged.items())[:10])
        write(tmp_path, table, some)
        retry = runs.RetryRun(pb.RetryRunRequest(run_id=run.id, failed_targets_only=True)).run
        again = ended(runs, retry.id)
        assert again.state == STATES.STATE_SUCCEEDED_WITH_ERRORS
        assert failed_lines(again) == list(some)
        assert again.summary == "90 rows into flights, 10 bad lines"


def test_an_import_that_is_paused_in_the_middle_goes_on_and_loses_or_doubles_no_row(
    table: list[bytes], tmp_path: Path
) -> None:
    damaged = damage(table, Random(2))
    write(tmp_path, table, damaged)
    with serving(tmp_path) as (_, runs):
        run_id = runs.start("import_csv", parameters(tmp_path, batch=1_000)).id
        first_progress(runs, run_id)
        runs.PauseRun(pb.PauseRunRequest(run_id=run_id, require_checkpoint=True))
        for frame in runs.watch(run_id):
            if frame.snapshot.run.state == STATES.STATE_PAUSED or any(
                event.state_changed.to_state == STATES.STATE_PAUSED for event in frame.batch.events
            ):
                break
        with closing(sqlite3.connect(tmp_path / "db.sqlite")) as db:
            assert 0 < db.execute("SELECT count(*) FROM flights").fetchone()[0] < ROWS - 100
        runs.ResumeRun(pb.ResumeRunRequest(run_id=run_id))
        run = ended(runs, run_id)
        assert (run.state, run.attempt) == (STATES.STATE_SUCCEEDED_WITH_ERRORS, 2)
        assert failed_lines(run) == list(damaged)
    check(tmp_path, table, set(damaged))


@pytest.mark.crash
def test_an_import_whose_server_is_killed_goes_on_and_loses_or_doubles_no_row(
    table: list[bytes], tmp_path: Path
) -> None:
    damaged = damage(table, Random(3))
    write(tmp_path, table, damaged)
    with serving(tmp_path) as (server, runs):
        run_id = runs.start("import_csv", parameters(tmp_path, batch=1_000)).id
        first_progress(runs, run_id)
        server.kill()
    with serving(tmp_path) as (_, runs):
        run = ended(runs, run_id)
        assert (run.state, run.attempt) == (STATES.STATE_SUCCEEDED_WITH_ERRORS, 2)
        assert sorted(set(failed_lines(run))) == list(damaged)
    check(tmp_path, table, set(damaged))
