"""What was measured on: versions and facts without which a figure cannot be read."""

import os
import platform
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import psutil

from bench.figures import Value, rounded
from bench.load import Load
from bench.programs import ROOT

_PACKAGES = ("grpcio", "protobuf", "uvloop", "msgspec", "pydantic", "sqlite-utils", "runcast")
_SYNCS = 200


def facts(folder: Path, load: Load, *, loop: str, quick: bool) -> dict[str, Value]:
    """The first line of a measurement. `fsync_per_s` is of 4 KiB appended to a file in `folder`, where the stores will be."""
    return {
        "kind": "machine",
        "quick": quick,
        "commit": _commit(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in _PACKAGES},
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "memory_mb": psutil.virtual_memory().total >> 20,
        "filesystem": filesystem(folder),
        "fsync_per_s": rounded(_fsyncs(folder)),
        "load_1m": os.getloadavg()[0],
        "client_loop": loop,
        "rounds": load.rounds,
        "seconds": load.seconds,
        "in_flight": load.in_flight,
        "batches_in_flight": load.batches_in_flight,
        "request_ids": load.request_ids,
    }


def filesystem(folder: Path) -> str:
    """The type of the file system that holds `folder`, such as ext4; empty where nobody can tell."""
    resolved = str(folder.resolve())
    mounts = [mount for mount in psutil.disk_partitions(all=True) if resolved.startswith(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else ""


def _fsyncs(folder: Path) -> float:
    with (folder / "fsync").open("wb", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            os.fsync(file.fileno())
        return _SYNCS / (time.perf_counter() - start)


def _commit() -> str:
    """Empty where this is no checkout; `+` where files differ from the commit."""
    try:
        command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpu() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
