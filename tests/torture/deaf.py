"""Providers that stop when they are asked, late, or never; and such that wait at a gate, a file that a test makes."""

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

from runcast.provider import Cancelled, Context, SyncContext, provider


async def _until(path: str) -> str:
    while not Path(path).exists():
        await asyncio.sleep(0.005)
    return "through"


def _until_blocking(path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.005)
    return "through"


@provider(idempotent=True)
async def obeys(ctx: Context, path: str) -> str:
    """Awaits, and so stops wherever it is."""
    ctx.log.info("begun")
    return await _until(path)


@provider(idempotent=True)
async def swallows(ctx: Context, path: str) -> str:
    """Goes on whatever it is told."""
    ctx.log.info("begun")
    while True:
        try:
            return await _until(path)
        except asyncio.CancelledError:
            continue


@provider(idempotent=True)
async def spins(ctx: Context, path: str) -> str:
    """Keeps the whole server from everything for a while, then looks up."""
    ctx.log.info("begun")
    while not Path(path).exists():
        end = time.monotonic() + 0.015
        while time.monotonic() < end:
            pass
        await asyncio.sleep(0)
    return "through"


@provider(execution="thread", idempotent=True)
def obeys_in_thread(ctx: SyncContext, path: str) -> str:
    """Looks whether it is to stop."""
    ctx.log.info("begun")
    while not Path(path).exists():
        ctx.sleep(0.005)
    return "through"


@provider(execution="thread", idempotent=True)
def deaf_in_thread(ctx: SyncContext, path: str) -> str:
    """Never looks."""
    ctx.log.info("begun")
    return _until_blocking(path)


@provider(idempotent=True)
def plain(ctx: SyncContext, path: str) -> str:
    """A plain function, which knows nothing of cancelling."""
    ctx.log.info("begun")
    return _until_blocking(path)


@provider(idempotent=True)
def deaf_to_signals(ctx: SyncContext, path: str) -> str:
    """Neither looks nor listens."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctx.log.info("begun")
    while True:
        try:
            return _until_blocking(path)
        except Cancelled:
            continue


@provider(idempotent=True)
def breeds(ctx: SyncContext, path: str) -> str:
    """Has a child, and a grandchild in a session of its own whose parent is gone."""
    subprocess.Popen(["sleep", "600"])
    subprocess.run(["sh", "-c", "setsid sleep 600 </dev/null >/dev/null 2>&1 &"], check=True)
    ctx.log.info("begun", process=str(os.getpid()))
    return _until_blocking(path)
