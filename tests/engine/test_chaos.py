"""Whatever happens in whatever order, with a store that fails and servers that end, every history holds together."""

import pytest

from tests.engine.chaos import Chaos
from tests.engine.conftest import Serve, on_each_store


@on_each_store
@pytest.mark.parametrize("seed", range(6))
async def test_every_random_history_holds_together(
    serve: Serve, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chaos = Chaos(serve, seed)
    await chaos.run(200)
    assert len(chaos.known) > 10, "too little happened for this to prove anything"
    await chaos.judge()
    assert not [record for record in caplog.records if record.exc_info]
    caplog.clear()
