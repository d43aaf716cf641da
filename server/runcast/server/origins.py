"""`python -m runcast.server.origins`: every setting of the server with its value and where it came from, as JSON."""

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SecretsSettingsSource,
    TomlConfigSettingsSource,
)

from runcast.server.model.errors import InvalidArgument
from runcast.server.settings import Settings, read_settings

_PASSWORD = re.compile(r"(://[^/@:\s]*:)[^/@\s]+(@)")


def origins(kind: type[BaseSettings], values: BaseSettings) -> Iterator[dict[str, Any]]:
    """Each setting by name, with the first of the sources that says it; passwords are masked."""
    sources = kind.settings_customise_sources(
        kind,
        InitSettingsSource(kind, {}),
        EnvSettingsSource(kind),
        DotEnvSettingsSource(kind),
        SecretsSettingsSource(kind),
    )
    said = [(source, source()) for source in sources]
    for name in kind.model_fields:
        origin = next((_place(source, name) for source, told in said if name in told), "default")
        yield {"name": name, "value": _shown(getattr(values, name)), "origin": origin}


def _place(source: PydanticBaseSettingsSource, name: str) -> str:
    if isinstance(source, PyprojectTomlConfigSettingsSource):
        return "pyproject.toml [tool.runcast]"
    if isinstance(source, TomlConfigSettingsSource):
        files = source.toml_file_path
        several = files if isinstance(files, (list, tuple)) else [files]
        return next((str(file) for file in reversed(several) if file and _says(Path(file), name)), "a file")
    return f"RUNCAST_{name.upper()}" if isinstance(source, EnvSettingsSource) else "flag"


def _says(file: Path, name: str) -> bool:
    path = file.expanduser()
    return path.is_file() and name in tomllib.loads(path.read_text(encoding="utf-8"))


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return _PASSWORD.sub(r"\1***\2", value)
    if isinstance(value, (list, tuple)):
        return [_shown(each) for each in value]
    # What is no plain value has its own way to be shown: a secret's is asterisks.
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def main() -> int:
    """The exit code: 0, or 2 where a setting is wrong, which is told on stderr."""
    try:
        told = list(origins(Settings, read_settings({})))
    except InvalidArgument as error:
        for violation in error.violations:
            sys.stderr.write(f"{violation.field}: {violation.description}\n")
        return 2
    sys.stdout.write(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
