"""What goes over the wire besides the calls: encryption, and its end."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest

from runcast.client import Client, Unavailable
from runcast.v1 import run_service_pb2_grpc
from tests.client.conftest import QUICK
from tests.client.proxy import Proxy
from tests.client.scripted import RUN, ScriptedServer


def certificate(folder: Path) -> tuple[bytes, bytes]:
    """A key and a certificate for `localhost`, made for this test."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, cert = folder / "key.pem", folder / "cert.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([openssl, *made, *named, *files], check=True, capture_output=True, timeout=20)
    return key.read_bytes(), cert.read_bytes()


async def test_a_token_travels_encrypted_and_a_certificate_that_is_not_trusted_is_refused(
    tmp_path: Path, nothing_leaks: None
) -> None:
    key, cert = certificate(tmp_path)
    scripted = ScriptedServer()
    server = grpc.aio.server()
    run_service_pb2_grpc.add_RunServiceServicer_to_server(scripted, server)
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, cert)]))
    await server.start()
    target = f"dns:///localhost:{port}"
    async with Client(target, token="secret", tls=True, root_certificates=cert) as client:
        assert (await client.get(RUN)).id == RUN
        async with client.watch(RUN) as run:
            assert [event.sequence async for event in run] == [1, 2, 3, 4, 5, 6, 7]
    assert scripted.metadata[0]["authorization"] == "Bearer secret"
    async with Client(target, token="secret", tls=True, patience=0) as client:
        with pytest.raises(Unavailable):
            await client.get(RUN)
    await server.stop(None)
    assert len(scripted.requests) == 2


async def test_closing_a_client_closes_its_connection_and_no_other_clients(server: ScriptedServer) -> None:
    async with Proxy(server.port) as proxy:
        target = f"127.0.0.1:{proxy.port}"
        async with Client(target, backoff=QUICK) as stays:
            await stays.get(RUN)
            async with Client(target, backoff=QUICK) as goes:
                await goes.get(RUN)
                assert proxy.open == 2
            await asyncio.wait_for(proxy.until_open(1), 5)
            await stays.get(RUN)
        await asyncio.wait_for(proxy.until_open(0), 5)
        assert proxy.connections == 2
