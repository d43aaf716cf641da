"""A store at its limit: what is new is refused with the store's own words, and what is there goes on."""

from pathlib import Path

import pytest

from runcast.server.engine.request import Start
from runcast.server.model.call import Returned
from runcast.server.model.errors import ResourceExhausted
from runcast.server.model.run import Payload, State
from runcast.server.repository.file import FileRepository
from tests.engine.clock import HandClock
from tests.engine.server import Server
from tests.engine.tasks import task


async def test_a_full_store_refuses_new_runs_and_tasks_and_ends_what_it_has(
    tmp_path: Path, clock: HandClock
) -> None:
    server = Server(FileRepository(tmp_path / "runs", limit=5_000, smallest=100_000), clock)
    await server.open()
    run, attempt = await server.running()
    filled = await server.engine.start(
        Start(provider="work", input=Payload(json='{"x": "' + "x" * 5_000 + '"}'))
    )
    with pytest.raises(ResourceExhausted, match="is at its limit of 5000 bytes") as refused:
        await server.start()
    assert refused.value.reason == "STORAGE_FULL"
    with pytest.raises(ResourceExhausted):
        await server.engine.tasks.create(task("new"))
    (started, other) = await server.engine.start_many([Start(provider="work"), Start(provider="nobody")])
    assert isinstance(started, ResourceExhausted)
    assert not isinstance(other, ResourceExhausted)
    attempt.end(Returned("null"))
    await server.becomes(run.id, State.SUCCEEDED)
    assert filled.created
    await server.engine.close()
