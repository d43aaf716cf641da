"""What the bare servers have in common: a grpc.aio server on uvloop, a free port of loopback, an end by SIGTERM.

Nothing is switched on that Runcast's server does without: no interceptors, no reflection, no health service. The options
are gRPC's defaults but for `so_reuseport`, which is off so that two servers never share a port.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import grpc.aio
import uvloop

OPTIONS = (("grpc.so_reuseport", 0),)
Prepare = Callable[[grpc.aio.Server], Awaitable[Callable[[], Awaitable[None]] | None]]


def serve(prepare: Prepare) -> None:
    """Serve until SIGTERM or SIGINT, and say where. `prepare` adds the handlers; what it returns is awaited at the end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(prepare))


async def _serve(prepare: Prepare) -> None:
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    server = grpc.aio.server(options=OPTIONS)
    close = await prepare(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await stopped.wait()
    await server.stop(None)
    if close is not None:
        await close()
