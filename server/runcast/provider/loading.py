"""Finds providers in modules, in files, and among what is installed."""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from runcast.provider import capture
from runcast.provider.definition import Provider
from runcast.provider.registry import Registry
from runcast.provider.reporter import BlockingChannel
from runcast.provider.runner import run_blocking
from runcast.server.model.call import Call, End
from runcast.server.model.errors import InvalidArgument

GROUP = "runcast.providers"
EXAMPLES, INSTALLED = "examples", "installed"


def load(specs: Sequence[str], *, entry_points: bool = False, folder: Path | None = None) -> Registry:
    """A registry of all providers that `specs` name.

    Each is a dotted module, installed or in `folder` (default: the working one); or a path of a file, `FILE.py`; or
    `examples`, those that Runcast brings along; or `installed`, which `entry_points` adds: those of the entry point
    group `runcast.providers`. InvalidArgument on `providers`, in one line, where one cannot be imported or holds none.
    """
    registry = Registry()
    for spec in dict.fromkeys([*specs, *([INSTALLED] if entry_points else [])]):
        for provider in _installed() if spec == INSTALLED else _named(spec, folder or Path.cwd()):
            registry.add(provider)
    return registry


def attempts(specs: Sequence[str]) -> Callable[[Call, BlockingChannel], End]:
    """What runs any attempt of the providers that `specs` name, in a process of its own: its output is the attempt's."""
    registry = load(specs)
    capture.install(whole_process=True)
    return lambda call, channel: run_blocking(registry.get(call.provider), call, channel)


def _named(spec: str, folder: Path) -> list[Provider[..., Any]]:
    return _found(spec, _import(spec, folder))


def _found(spec: str, value: object) -> list[Provider[..., Any]]:
    if isinstance(value, Provider):
        return [value]
    found = list(dict.fromkeys(_providers(value, set()))) if isinstance(value, ModuleType) else []
    if not found:
        raise _wrong(f"{spec} holds no providers; mark functions in it with @provider from runcast.provider")
    return found


def _providers(module: ModuleType, seen: set[str]) -> Iterator[Provider[..., Any]]:
    """Those in a module's namespace, and in its submodules that were imported with it."""
    seen.add(module.__name__)
    for value in list(vars(module).values()):
        if isinstance(value, Provider):
            yield value
        elif isinstance(value, ModuleType) and _is_new_part(value, module, seen):
            yield from _providers(value, seen)


def _is_new_part(value: ModuleType, of: ModuleType, seen: set[str]) -> bool:
    return value.__name__.startswith(f"{of.__name__}.") and value.__name__ not in seen


def _import(spec: str, folder: Path) -> ModuleType:
    name = "runcast.examples" if spec == EXAMPLES else spec
    path = _path(spec, folder)
    try:
        return _import_file(path) if path else _import_module(name, folder)
    except InvalidArgument:
        raise
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}.") and path is None:
            raise _wrong(f"there is no module {name!r}, neither installed nor in {folder}") from None
        raise _broken(spec, error) from error
    except (Exception, SystemExit) as error:  # a module may raise anything
        raise _broken(spec, error) from error


def _path(spec: str, folder: Path) -> Path | None:
    if not spec.endswith(".py") and "/" not in spec and "\\" not in spec:
        return None
    path = (folder / spec).resolve()
    if not path.is_file():
        kind = "is a folder: name a file or a module" if path.is_dir() else "does not exist"
        raise _wrong(f"{spec} {kind}")
    return path


def _import_module(name: str, folder: Path) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise _wrong(f"{name!r} is neither a module (a.b.c) nor a file (FILE.py)")
    _importable(folder)
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    """As `python FILE.py` does: what lies beside the file can be imported."""
    _importable(path.parent)
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _wrong(f"{path} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _importable(folder: Path) -> None:
    """Behind everything installed: a file of the user's must not take the place of a library."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()


def _installed() -> Iterator[Provider[..., Any]]:
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP):
        try:
            value = point.load()
        except (Exception, SystemExit) as error:
            raise _broken(f"the entry point {point.name!r} ({point.value})", error) from error
        yield from _found(f"the entry point {point.name!r} ({point.value})", value)


def _broken(spec: str, error: BaseException) -> InvalidArgument:
    text = " ".join(str(error).split())
    return _wrong(f"{spec} cannot be imported: {_place(error)}{type(error).__name__}: {text}")


def _place(error: BaseException) -> str:
    """Where it was raised: the last line that is not of the import system, nor of this package."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(__file__).parent)
    places = [f for f in frames if not f.filename.startswith(("<frozen", ours, importlib.__file__))]
    return f"{places[-1].filename}:{places[-1].lineno}: " if places else ""


def _wrong(message: str) -> InvalidArgument:
    return InvalidArgument.of("providers", message)
