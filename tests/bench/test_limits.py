"""The bare programs do what their figures say they do."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import grpc.aio
import pytest

from bench.limits import client, durable
from bench.load import Load
from bench.measure import bare
from bench.programs import Program, ProgramError, serving
from bench.rows import ROWS, Round

LOAD = Load(
    seconds=0.05, in_flight=4, batches=2, batch_size=20, batches_in_flight=2, watchers=3, events=130, ticks=5
)


@pytest.mark.parametrize(
    ("module", "round", "count"),
    [
        ("echo", client.echoes, lambda count: count > 0),
        ("echo", client.echo_time, lambda count: count > 0),
        ("stream", client.Streams(64), lambda count: count == 3 * 130),
        ("stream", client.single_events, lambda count: count == 3 * 5),
        ("stream", client.single_events_on_one_stream, lambda count: count == 10 * 5),
    ],
)
async def test_a_limit_gives_a_figure(
    module: str, round: Round, count: Callable[[int], bool], tmp_path: Path
) -> None:
    async with (
        serving(bare(f"bench.limits.{module}", tmp_path)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        reading = await round(channel, LOAD)
    assert reading.value > 0
    assert count(reading.count)


async def test_every_durable_run_is_stored_once_and_as_finished(tmp_path: Path) -> None:
    async with (
        serving(bare("bench.limits.durable", tmp_path)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        single = await client.durable_runs(channel, LOAD)
        batches = await client.durable_batches(channel, LOAD)
    assert batches.count == 40
    with closing(sqlite3.connect(tmp_path / "limit.db")) as store:
        found = store.execute(
            "SELECT count(*), min(state), min(length(row)), min(length(result)) FROM runs"
        ).fetchone()
    assert found == (single.count + 40, 16, durable.ROW, durable.RESULT)


async def test_a_program_that_does_not_start_is_reported_with_what_it_said() -> None:
    with pytest.raises(ProgramError, match="No module named"):
        async with serving(Program("bench.limits.missing")):
            pass


def test_rows_are_numbered_as_they_stand() -> None:
    assert [row.number for row in ROWS] == list(range(1, len(ROWS) + 1))
