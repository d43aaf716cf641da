"""A server with nothing but a process executor, which a test kills: starts trees of processes until it is gone."""

import asyncio
import sys

from runcast.server.executor.process import ProcessExecutor
from runcast.server.model.call import Call
from tests.executor.recorder import Recorder


async def main(churn: bool) -> None:
    """Keep two trees alive and say so, or start and end them without a pause."""
    executor = ProcessExecutor([], 2, loader="tests.executor.processes:load")
    await executor.open()

    async def attempt(then: str) -> None:
        recorder = Recorder()
        executor.start(Call("run-1", 1, "breed", then), recorder)
        await recorder.line("started")
        sys.stdout.write(recorder.lines[0] + "\n")
        sys.stdout.flush()
        await recorder.until(lambda: recorder.ends)

    async def keep() -> None:
        while True:
            await attempt("answer" if churn else "ignore_signals")

    await asyncio.gather(keep(), keep())


if __name__ == "__main__":
    asyncio.run(main("churn" in sys.argv))
