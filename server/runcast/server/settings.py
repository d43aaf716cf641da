"""The server's settings: where each comes from, and what each means."""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from runcast.server.model.errors import InvalidArgument, Violation

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_USER_FILE = Path("~/.config/runcast/config.toml").expanduser()
_PROJECT_FILE, _PYPROJECT = Path("runcast.toml"), Path("pyproject.toml")
OF_CLIENTS = frozenset(
    {"server", "output", "progress", "timeout", "tls", "token", "token_file", "profile", "profiles"}
)
"""What the same files say to the command line: none of the server's, and no mistake."""


def _read(file: Path | Traversable) -> dict[str, Any]:
    """What a TOML file says; ValueError, with the file's name, where that cannot be read."""
    try:
        return tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}: it is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file}: {error}") from None


class _File(TomlConfigSettingsSource):
    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        return _read(file_path)


class _Pyproject(PyprojectTomlConfigSettingsSource):
    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        tools = _read(file_path).get("tool")
        table = tools.get("runcast", {}) if isinstance(tools, dict) else {}
        if not isinstance(table, dict):
            raise ValueError(f"{file_path}: runcast must be a table, as in [tool.runcast]")  # noqa: TRY004
        return {"tool": {"runcast": table}}


class Settings(BaseSettings):
    """Flag > `RUNCAST_*` > `./runcast.toml` > `[tool.runcast]` in `./pyproject.toml` > the user's file > default."""

    model_config = SettingsConfigDict(
        env_prefix="RUNCAST_",
        env_nested_delimiter="__",
        pyproject_toml_table_header=("tool", "runcast"),
        frozen=True,
        extra="ignore",
    )

    listen: str = "127.0.0.1:7433"
    """HOST:PORT to listen on; port 0 takes any free one."""

    insecure: bool = False
    """Listen beyond this machine although everybody there may do everything: without TLS and authentication."""

    storage: str = "sqlite:///.runcast/runcast.db"
    """Where runs are kept: memory://, file:///PATH or sqlite:///PATH."""

    providers: Annotated[tuple[str, ...], NoDecode] = ()
    """Modules or files that hold providers; `examples` are those that come along."""

    max_concurrent: Annotated[int | None, Field(ge=1, le=10_000)] = None
    """How many process attempts run at once; unset: as many as there are CPUs."""

    log_level: str = "INFO"
    """What the server logs: DEBUG, INFO, WARNING or ERROR."""

    drain_seconds: Annotated[float, Field(ge=0, le=3_600)] = 22.0
    """How long SIGTERM waits for what runs, in seconds."""

    @field_validator("providers", mode="before")
    @classmethod
    def _separate(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        found = re.fullmatch(r"(\[[0-9a-fA-F:.%]+\]|[^:\s]+):(\d{1,5})", value)
        if found is None or int(found[2]) > 65_535:
            raise ValueError("HOST:PORT is expected, with a port from 0 to 65535, such as 127.0.0.1:7433")
        return value

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value not in _LEVELS:
            raise ValueError(f"one of {', '.join(_LEVELS)} is expected")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, the strongest first."""
        project, user = _File(settings_cls, _PROJECT_FILE), _File(settings_cls, _USER_FILE)
        return init_settings, env_settings, project, _Pyproject(settings_cls), user


def read_settings(flags: dict[str, Any]) -> Settings:
    """The settings, with the flags that were given; InvalidArgument with a line for each mistake."""
    _check_files()
    try:
        settings = Settings(**flags)
    except ValidationError as error:
        wrong = [
            Violation(
                ".".join(map(str, mistake["loc"])),
                f"{mistake['input']!r}: {mistake['msg'].removeprefix('Value error, ')}",
            )
            for mistake in error.errors()
        ]
        raise InvalidArgument(wrong) from None
    host = settings.listen.rpartition(":")[0].strip("[]")
    if not settings.insecure and not _is_loopback(host):
        expected = (
            f"{settings.listen!r}: other machines reach it, and it has neither TLS nor authentication;"
            " listen on 127.0.0.1, or say --insecure (RUNCAST_INSECURE=true) where the network itself keeps strangers out"
        )
        raise InvalidArgument.of("listen", expected)
    return settings


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _check_files() -> None:
    """InvalidArgument, naming the file, for one that cannot be read or says what nobody knows."""
    wrong = [
        violation
        for path, table in ((_PROJECT_FILE, ()), (_PYPROJECT, ("tool", "runcast")), (_USER_FILE, ()))
        for violation in _mistakes(path, table)
    ]
    if wrong:
        raise InvalidArgument(wrong)


def _mistakes(path: Path, table: tuple[str, ...]) -> list[Violation]:
    try:
        if not path.exists():
            return []
        values: Any = _read(path)
    except ValueError as error:
        return [Violation(str(path), str(error).removeprefix(f"{path}: "))]
    for name in table:
        values = values.get(name, {}) if isinstance(values, Mapping) else {}
    known = sorted({*Settings.model_fields, *OF_CLIENTS})
    return [
        Violation(str(path), f"{key} is not known{_nearest(key, known)}; known are {', '.join(known)}")
        for key in values
        if key not in known
    ]


def _nearest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f", did you mean {near[0]}?" if near else ""
