"""What a visitor of the repository and a buyer of the wheel find where they look for it."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PORTIONS = ("cli", "client", "examples", "provider", "server", "v1")
LOCKS = ("requirements.lock", "requirements.server.lock", "requirements.build.lock")
LONGEST = 400


def packages() -> list[Path]:
    """The folders named `runcast`, one per portion of the namespace."""
    return [ROOT / name for name in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]


def own_modules() -> Iterator[Path]:
    """Every Python file that a person wrote."""
    for folder in ("server", "client/python", "examples", "bench", "tests", "tools"):
        yield from (ROOT / folder).rglob("*.py")


def pins(lock: str) -> dict[str, tuple[str, int]]:
    """What a lock pins: normalised name to its version and the number of its hashes."""
    entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text())
    found = (re.match(r"([\w.-]+)==([^\s;]+)", entry) for entry in entries)
    return {
        canonicalize_name(pin[1]): (pin[2], entry.count("--hash=sha256:"))
        for pin, entry in zip(found, entries, strict=True)
        if pin
    }


def required(extras: tuple[str, ...]) -> list[Requirement]:
    """The project's requirements with these extras, without its mention of itself."""
    project = PROJECT["project"]
    lines = project["dependencies"] + [line for e in extras for line in project["optional-dependencies"][e]]
    return [r for r in map(Requirement, lines) if r.name != project["name"]]


@pytest.mark.parametrize("folder", ["proto", "server", "client", "generated", "tests"])
def test_the_promised_folder_holds_files(folder: str) -> None:
    files = (p for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix != ".pyc")
    assert any(p.stat().st_size > 0 for p in files)


@pytest.mark.parametrize("name", ["pyproject.toml", "Dockerfile", "buf.yaml", "README.md"])
def test_the_promised_file_is_there_and_not_a_stub(name: str) -> None:
    assert len((ROOT / name).read_text().splitlines()) > 1


def test_runcast_stays_a_namespace_that_no_portion_claims() -> None:
    claimed = [p for p in packages() if (p / "__init__.py").exists()]
    assert claimed == []


def test_the_portions_of_the_namespace_are_the_known_ones() -> None:
    found = {p.name for package in packages() for p in package.iterdir() if p.name != "__pycache__"}
    assert found == set(PORTIONS)


@pytest.mark.parametrize("portion", PORTIONS)
def test_a_portion_says_that_it_is_typed(portion: str) -> None:
    assert any((package / portion / "py.typed").exists() for package in packages())


def test_a_long_file_says_in_its_docstring_why_it_is_long() -> None:
    unexplained = []
    for path in own_modules():
        text = path.read_text()
        docstring = ast.get_docstring(ast.parse(text)) or ""
        if text.count("\n") > LONGEST and not re.search(r"^Long because", docstring, re.MULTILINE):
            unexplained.append(str(path.relative_to(ROOT)))
    assert unexplained == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_registry_and_hashes_every_pin(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--(extra-)?index-url|--find-links)\b", text, re.MULTILINE)
    assert [name for name, (_, hashes) in pins(lock).items() if hashes == 0] == []
    assert pins(lock)


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("requirements.lock", ("server", "dev")), ("requirements.server.lock", ("server",))],
)
def test_a_lock_pins_all_that_the_project_requires_within_its_bounds(
    lock: str, extras: tuple[str, ...]
) -> None:
    pinned = pins(lock)
    wrong = [
        f"{r} is {pinned.get(canonicalize_name(r.name), ('missing', 0))[0]}"
        for r in required(extras)
        if canonicalize_name(r.name) not in pinned
        or not r.specifier.contains(pinned[canonicalize_name(r.name)][0], prereleases=True)
    ]
    assert wrong == [], "run `make lock`"


def test_the_smaller_locks_pin_the_same_versions_as_the_whole_one() -> None:
    whole = pins("requirements.lock")
    for lock in LOCKS[1:]:
        assert {name: whole.get(name) for name in pins(lock)} == pins(lock)


def test_the_build_lock_can_build_what_pyproject_says() -> None:
    pinned = pins("requirements.build.lock")
    for requirement in map(Requirement, PROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)][0])


def test_a_wheel_holds_every_portion_with_its_type_marker_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=50)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    version = PROJECT["project"]["version"]
    assert {f"runcast/{portion}/py.typed" for portion in PORTIONS} <= set(names)
    assert {name.split("/")[0] for name in names} == {"runcast", f"runcast-{version}.dist-info"}
    assert [n for n in names if n.startswith("runcast/examples/") and n.endswith(".py")]
    assert f"runcast-{version}.dist-info/licenses/LICENSE" in names
