"""The errors that the contract's comments promise, read from the proto files themselves."""

import re
from pathlib import Path

PROTO = Path(__file__).parents[2] / "proto" / "runcast" / "v1"
_RPC = re.compile(r"((?:^\s*//.*\n)*)^\s*(service|rpc) (\w+)", re.MULTILINE)
_ERROR = re.compile(r"^- ([A-Z_]+), ([A-Z_, or]+):", re.MULTILINE)
_ALSO = re.compile(r"also those of (\w+)")


def promised() -> dict[str, set[tuple[str, str]]]:
    """`RunService/StartRun` → its own (status, reason) pairs; `RunService` → those that every call of it may have."""
    found: dict[str, set[tuple[str, str]]] = {}
    also: list[tuple[str, str]] = []
    for file in sorted(PROTO.glob("*_service.proto")):
        service = ""
        for comment, kind, name in _RPC.findall(file.read_text()):
            text = re.sub(r"^\s*// ?", "", comment, flags=re.MULTILINE)
            service = name if kind == "service" else service
            key = name if kind == "service" else f"{service}/{name}"
            found[key] = {
                (status, reason)
                for status, reasons in _ERROR.findall(text)
                for reason in re.split(r", | or ", reasons)
            }
            also.extend((key, f"{service}/{other}") for other in _ALSO.findall(text))
    for key, other in also:
        found[key] |= found[other]
    return found
