"""What this program goes by: flags, the environment, profiles and files, each with where it came from."""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from runcast.cli import text
from runcast.cli.failures import Refused
from runcast.cli.follow.view import Progress
from runcast.cli.output import Format

DEFAULT_SERVER = "localhost:7433"
SECRETS = frozenset({"token"})
PROJECT_FILE = "runcast.toml"
PYPROJECT = "pyproject.toml"
USER_FILE = "~/.config/runcast/config.toml"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is expected")
    return value


def _choice(kind: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value not in list(kind):
            raise ValueError(f"one of {', '.join(kind)} is expected")
        return kind(value)

    return read


def _seconds(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return text.seconds(_text(value))


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in (*_TRUE, *_FALSE):
        return value.lower() in _TRUE
    raise ValueError("true or false is expected")


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "server": _text,
    "output": _choice(Format),
    "progress": _choice(Progress),
    "timeout": _seconds,
    "tls": _truth,
    "token": _text,
}
_DEFAULTS: Mapping[str, Any] = {
    "server": DEFAULT_SERVER,
    "output": None,
    "progress": Progress.AUTO,
    "timeout": None,
    "tls": False,
    "token": None,
}


class Setting(NamedTuple):
    """What a setting is, and where that was said."""

    value: Any
    origin: str


class _Source(NamedTuple):
    """A place where settings are said: its name, what it says, and the file where lines can be looked up."""

    name: str
    values: Mapping[str, Any]
    file: "_File | None" = None


class _File(NamedTuple):
    name: str
    written: str
    values: Mapping[str, Any]

    def place(self, key: str) -> str:
        """The file, and the line where the key is said."""
        found = re.search(rf"(?m)^[ \t]*(?:\[[^\n]*\b)?{re.escape(key)}\b", self.written)
        return f"{self.name}, line {self.written.count(chr(10), 0, found.end()) + 1}" if found else self.name


def read_settings(
    flags: Mapping[str, Any],
    profile: str | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    folder: Path = Path(),
) -> dict[str, Setting]:
    """Every setting; Refused for what cannot be one, naming where it was said.

    A flag wins over the environment, that over the profile, that over `./runcast.toml` or `[tool.runcast]`, that over
    the user's file. A profile that a flag names wins over the environment: whoever names it means it.
    """
    files = list(_files(environment, folder))
    name, origin = _profile(profile, environment, files)
    profiles = [] if name is None else list(_profile_sources(name, origin, files))
    sources = [
        _Source("flag", {key: value for key, value in flags.items() if value is not None}),
        *(profiles if profile else ()),
        _environment(environment),
        *(() if profile else profiles),
        *(_Source(file.name, file.values, file) for file in files),
    ]
    found = {"profile": Setting(name, origin)}
    for key, read in _READERS.items():
        found[key] = next(
            (_read(source, key, read) for source in sources if key in source.values),
            Setting(_DEFAULTS[key], "default"),
        )
    return found


def _read(source: _Source, key: str, read: Callable[[Any], Any]) -> Setting:
    name = f"{source.name}{key.upper()}" if source.name == _PREFIX else source.name
    try:
        return Setting(read(source.values[key]), name)
    except ValueError as error:
        where = source.file.place(key) if source.file else name
        shown = "" if key in SECRETS else f" cannot be {source.values[key]!r}"
        raise Refused(f"{where}: {key}{shown}: {error}") from None


# ---------------------------------------------------------------------------------------------------------- environment
_PREFIX = "RUNCAST_"


def _environment(environment: Mapping[str, str]) -> _Source:
    values: dict[str, Any] = {}
    for key in _READERS:
        if environment.get(f"{_PREFIX}{key.upper()}"):
            values[key] = environment[f"{_PREFIX}{key.upper()}"]
        elif key in SECRETS and (file := environment.get(f"{_PREFIX}{key.upper()}_FILE")):
            values[key] = _secret(file)
    return _Source(_PREFIX, values)


def _secret(file: str) -> str:
    return Path(file).expanduser().read_text(encoding="utf-8").strip()


# ---------------------------------------------------------------------------------------------------------------- files
def _files(environment: Mapping[str, str], folder: Path) -> Iterator[_File]:
    """The files that are there, the strongest first."""
    project = _file(folder / PROJECT_FILE, PROJECT_FILE)
    if project is not None:
        yield project
    if (pyproject := _file(folder / PYPROJECT, PYPROJECT)) is not None:
        tools = pyproject.values.get("tool", {})
        table = tools.get("runcast") if isinstance(tools, Mapping) else None
        if table is not None and not isinstance(table, Mapping):
            raise Refused(f"{pyproject.place('runcast')}: it must be a table, as in [tool.runcast]")
        if table is not None:
            yield pyproject._replace(values=table)
    home = environment.get("HOME")
    user = _file(Path(USER_FILE.replace("~", home)) if home else Path(USER_FILE).expanduser(), USER_FILE)
    if user is not None:
        yield user


def _file(path: Path, name: str) -> _File | None:
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Refused(f"{name}: {error.strerror}") from None
    import tomllib

    try:
        written = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Refused(f"{name}, line {line}: it is not UTF-8") from None
    try:
        return _File(name, written, tomllib.loads(written))
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        line = int(found[2]) if found and found[2] else written.count("\n") + 1
        raise Refused(f"{name}, line {line}: {found[1] if found else error}") from None


# ------------------------------------------------------------------------------------------------------------- profiles
def _profile(flag: str | None, environment: Mapping[str, str], files: list[_File]) -> tuple[str | None, str]:
    if flag:
        return flag, "flag"
    if name := environment.get(f"{_PREFIX}PROFILE"):
        return name, f"{_PREFIX}PROFILE"
    for file in files:
        if "profile" in file.values:
            return str(file.values["profile"]), file.name
    return None, "default"


def _profile_sources(name: str, origin: str, files: list[_File]) -> Iterator[_Source]:
    """What the profile says in each file; Refused where no file has it."""
    known: list[str] = []
    found = False
    for file in files:
        profiles = file.values.get("profiles", {})
        if not isinstance(profiles, Mapping):
            raise Refused(f"{file.place('profiles')}: profiles must be tables, as in [profiles.staging]")
        known += profiles
        if name not in profiles:
            continue
        found = True
        values = profiles[name]
        if not isinstance(values, Mapping):
            raise Refused(f"{file.place(name)}: a profile must be a table, as in [profiles.{name}]")
        yield _Source(f"{file.name} [profiles.{name}]", _checked(values, file), file)
    if not found:
        there = f"there are {', '.join(dict.fromkeys(known))}" if known else "there is none"
        raise Refused(
            f"no profile {name} ({origin}); {there}",
            remedy=f'Write [profiles.{name}] with server = "HOST:PORT" into {PROJECT_FILE} or {USER_FILE}.',
        )


def _checked(values: Mapping[str, Any], file: _File) -> dict[str, Any]:
    checked = dict(values)
    if isinstance(secret := checked.pop("token_file", None), str):
        checked["token"] = _secret(secret)
    for key in checked:
        if key not in _READERS:
            near = difflib.get_close_matches(key, _READERS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise Refused(
                f"{file.place(key)}: {key} is not known in a profile{hint}",
                remedy=f"Known are: {', '.join(_READERS)}, token_file.",
            )
    return checked
