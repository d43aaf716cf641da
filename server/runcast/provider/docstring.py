"""Reads docstrings in the styles of Google, NumPy and Sphinx: the text, and what it says of each parameter."""

import inspect
import re
from typing import NamedTuple

_SECTIONS = "args|arguments|parameters|params|returns?|yields?|raises|examples?|notes?|attributes|see also|warns|warnings|references|todo"
_OF_PARAMETERS = ("args", "arguments", "parameters", "params")
_GOOGLE = re.compile(rf"^({_SECTIONS}):\s*$", re.IGNORECASE)
_NUMPY = re.compile(rf"^({_SECTIONS})\s*$", re.IGNORECASE)
_SPHINX = re.compile(r"^:(\w+)([^:]*):\s*(.*)$")
_ENTRY = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_NUMPY_ENTRY = re.compile(r"^(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?$")


class Docstring(NamedTuple):
    """`text` is what stands before the first section; `parameters` maps names to what is said of them."""

    text: str
    parameters: dict[str, str]


def read(docstring: str | None) -> Docstring:
    """What a docstring says; nothing where there is none."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    start = next((i for i in range(len(lines)) if _begins_section(lines, i)), len(lines))
    found: dict[str, str] = {}
    i = start
    while i < len(lines):
        title = _title(lines, i)
        sphinx = _SPHINX.match(lines[i])
        end = _end(lines, i + 1)
        if title in _OF_PARAMETERS:
            numpy = bool(_NUMPY.match(lines[i]))
            found |= _numpy(lines[i + 2 : end]) if numpy else _google(lines[i + 1 : end])
        elif sphinx and sphinx[1] in ("param", "parameter", "arg", "argument") and sphinx[2].split():
            words = [sphinx[3], *(line.strip() for line in lines[i + 1 : end])]
            found[sphinx[2].split()[-1]] = " ".join(filter(None, words))
        i = end
    return Docstring("\n".join(lines[:start]).strip(), found)


def _begins_section(lines: list[str], i: int) -> bool:
    return bool(_title(lines, i) or _SPHINX.match(lines[i]))


def _title(lines: list[str], i: int) -> str:
    if google := _GOOGLE.match(lines[i]):
        return google[1].lower()
    underlined = i + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[i + 1].strip())
    numpy = _NUMPY.match(lines[i])
    return numpy[1].lower() if numpy and underlined else ""


def _end(lines: list[str], i: int) -> int:
    while i < len(lines) and not _begins_section(lines, i):
        i += 1
    return i


def _google(lines: list[str]) -> dict[str, str]:
    """Entries stand at the smallest indent; deeper lines continue them."""
    body = inspect.cleandoc("\n" + "\n".join(lines)).splitlines()
    found: dict[str, str] = {}
    name = ""
    for line in body:
        entry = _ENTRY.match(line)
        if entry:
            name = entry[1]
            found[name] = entry[2].strip()
        elif name and line.startswith(" "):
            found[name] = f"{found[name]} {line.strip()}".strip()
        elif line.strip():
            name = ""
    return found


def _numpy(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        entry = _NUMPY_ENTRY.match(line)
        if entry:
            names = [name.strip() for name in entry[1].split(",")]
            found |= dict.fromkeys(names, "")
        elif line.startswith(" "):
            for name in names:
                found[name] = f"{found[name]} {line.strip()}".strip()
    return found
