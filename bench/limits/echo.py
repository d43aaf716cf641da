"""The least that a unary call costs: bytes in, the same bytes out.

Server: grpc.aio on uvloop, one process, a generic handler without (de)serialisers, no storage.
Client: grpc.aio, one channel, `SIZE` bytes, no (de)serialisers; see `bench.limits.client`.
"""

import grpc
import grpc.aio

from bench.limits.serving import serve

METHOD = "/bench.Echo/Echo"
SIZE = 100


async def echo(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """Answer what was sent."""
    return request


async def _prepare(server: grpc.aio.Server) -> None:
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", handlers),))


if __name__ == "__main__":
    serve(_prepare)
