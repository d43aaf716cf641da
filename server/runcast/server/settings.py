"""The server's settings: where each comes from, and what each means."""

import re
import tomllib
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
        project, user = _File(settings_cls, Path("runcast.toml")), _File(settings_cls, _USER_FILE)
        return init_settings, env_settings, project, _Pyproject(settings_cls), user


def read_settings(flags: dict[str, Any]) -> Settings:
    """The settings, with the flags that were given; InvalidArgument with a line for each mistake."""
    try:
        return Settings(**flags)
    except ValidationError as error:
        wrong = [
            Violation(
                ".".join(map(str, mistake["loc"])),
                f"{mistake['input']!r}: {mistake['msg'].removeprefix('Value error, ')}",
            )
            for mistake in error.errors()
        ]
        raise InvalidArgument(wrong) from None
    except ValueError as error:
        raise InvalidArgument.of("configuration", str(error)) from None
