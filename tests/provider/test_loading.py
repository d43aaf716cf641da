"""Providers are found in modules, files and packages, and what is wrong with one is said in a line."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runcast.provider import Registry, provider
from runcast.provider.loading import attempts, load
from runcast.server.model.call import Call, Returned
from runcast.server.model.errors import InvalidArgument, NotFound
from tests.provider.channels import BlockingChannel

HEAD = "from runcast.provider import provider\n"
ONE = HEAD + "@provider\ndef {0}() -> int:\n    return 1\n"
Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a file below the working folder; what was imported from there is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)

    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def message(*specs: str) -> str:
    with pytest.raises(InvalidArgument) as caught:
        load(specs)
    assert [violation.field for violation in caught.value.violations] == ["providers"]
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_module_is_found_in_the_working_folder(write: Write) -> None:
    write("mine_one.py", ONE.format("one"))
    assert load(["mine_one"]).names == ["one"]


def test_a_module_inside_of_a_package_is_found(write: Write) -> None:
    write("mine_pkg/__init__.py", "")
    write("mine_pkg/deep.py", ONE.format("deep"))
    assert load(["mine_pkg.deep"]).names == ["deep"]


def test_a_file_is_found_by_its_path_and_finds_its_neighbours(write: Write) -> None:
    write("folder/mine_help.py", "VALUE = 3\n")
    path = write("folder/my-file.py", "import mine_help\n" + ONE.format("filed"))
    assert load([str(path)]).names == ["filed"]
    assert load(["folder/my-file.py"]).names == ["filed"]


def test_a_package_gives_what_its_init_imports_and_no_more(write: Write) -> None:
    write("mine_lib/__init__.py", "from mine_lib import first\nfrom mine_lib.second import two\n")
    write("mine_lib/first.py", ONE.format("one"))
    write("mine_lib/second.py", ONE.format("two") + "\n@provider\ndef three() -> None: ...\n")
    write("mine_lib/third.py", ONE.format("four"))
    assert load(["mine_lib"]).names == ["one", "three", "two"]


def test_a_provider_that_is_imported_from_elsewhere_counts_once(write: Write) -> None:
    write("mine_a.py", ONE.format("shared"))
    write("mine_b.py", "from mine_a import shared\nagain = shared\n")
    assert load(["mine_a", "mine_b", "mine_a"]).names == ["shared"]


def test_the_examples_are_found_by_their_name_wherever_one_is(write: Write) -> None:
    write("examples/__init__.py", "raise RuntimeError('not meant')")
    write("examples.py", ONE.format("own"))
    assert "greet" in load(["examples"]).names
    assert load(["./examples.py"]).names == ["own"]


def test_an_installed_entry_point_is_found_when_asked_for(write: Write) -> None:
    write("mine_ep.py", ONE.format("plugged"))
    write("mine-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    write("mine-1.dist-info/entry_points.txt", "[runcast.providers]\nmine = mine_ep\n")
    sys.path.append(str(Path.cwd()))
    assert load([]).names == []
    assert "plugged" in load([], entry_points=True).names
    assert "plugged" in load(["installed"]).names


def test_an_entry_point_may_name_a_provider(write: Write) -> None:
    write("mine_ep2.py", ONE.format("named"))
    write("mine-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    write("mine-1.dist-info/entry_points.txt", "[runcast.providers]\nmine = mine_ep2:named\n")
    sys.path.append(str(Path.cwd()))
    assert "named" in load([], entry_points=True).names


def test_a_broken_entry_point_is_named(write: Write) -> None:
    write("mine-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    write("mine-1.dist-info/entry_points.txt", "[runcast.providers]\nmine = mine_nowhere\n")
    sys.path.append(str(Path.cwd()))
    with pytest.raises(InvalidArgument, match=r"the entry point 'mine' \(mine_nowhere\) cannot be imported"):
        load([], entry_points=True)


def test_a_module_that_does_not_exist_is_named(write: Write) -> None:
    expected = f"providers: there is no module 'mine_nowhere', neither installed nor in {Path.cwd()}"
    assert message("mine_nowhere") == expected
    write("mine_pkg2/__init__.py", "")
    assert "there is no module 'mine_pkg2.gone'" in message("mine_pkg2.gone")


def test_a_module_that_misses_another_is_not_said_to_be_missing_itself(write: Write) -> None:
    path = write("mine_needs.py", "\nimport mine_unknown\n")
    assert message("mine_needs") == (
        f"providers: mine_needs cannot be imported: {path}:2: "
        "ModuleNotFoundError: No module named 'mine_unknown'"
    )


def test_an_exception_is_told_with_file_and_line(write: Write) -> None:
    path = write("mine_fails.py", "def f():\n    raise ValueError('two\\nlines')\n\nf()\n")
    expected = f"providers: mine_fails cannot be imported: {path}:2: ValueError: two lines"
    assert message("mine_fails") == expected
    assert message(str(path)) == expected.replace("mine_fails cannot", f"{path} cannot")


def test_a_syntax_error_is_told_with_file_and_line(write: Write) -> None:
    path = write("mine_syntax.py", "x = 1\nclass :\n")
    assert message("mine_syntax").startswith(
        f"providers: mine_syntax cannot be imported: {path}:2: SyntaxError: "
    )


def test_a_module_that_exits_does_not_take_the_server_along(write: Write) -> None:
    path = write("mine_exits.py", "import sys\nsys.exit(3)\n")
    assert message("mine_exits") == f"providers: mine_exits cannot be imported: {path}:2: SystemExit: 3"


def test_a_function_that_cannot_be_a_provider_is_told_with_file_and_line(write: Write) -> None:
    path = write("mine_bad.py", HEAD + "\n@provider\ndef bad(x): ...\n")
    assert message("mine_bad") == (
        f"providers: mine_bad cannot be imported: {path}:3: "
        "InvalidProvider: bad(): x has no annotation; its type says what may be given"
    )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere.py", "nowhere.py does not exist"),
        ("./", "./ is a folder: name a file or a module"),
        ("not a module", "'not a module' is neither a module (a.b.c) nor a file (FILE.py)"),
        ("json", "json holds no providers; mark functions in it with @provider from runcast.provider"),
    ],
)
def test_what_is_no_module_with_providers_is_refused(write: Write, spec: str, words: str) -> None:
    assert message(spec) == f"providers: {words}"


def test_two_providers_of_one_name_are_refused_with_both_places(write: Write) -> None:
    first = write("mine_x.py", ONE.format("twin"))
    second = write("mine_y.py", ONE.format("twin"))
    assert message("mine_x", "mine_y") == (
        f"providers: two providers are called 'twin': one at {first}:2, one at {second}:2; "
        "give one of them another name"
    )


def test_a_library_is_not_hidden_by_a_file_of_the_same_name(write: Write) -> None:
    write("calendar.py", "raise RuntimeError('the wrong one')")
    write("mine_cal.py", "import calendar\n" + ONE.format("cal"))
    assert load(["mine_cal"]).names == ["cal"]


def test_a_registry_gives_describes_and_validates_by_name(write: Write) -> None:
    write("mine_two.py", ONE.format("b") + "\n@provider\ndef a(n: int = 1) -> None: ...\n")
    registry = load(["mine_two"])
    assert [described.name for described in registry.describe()] == ["a", "b"]
    assert registry.validate("a", "") == '{"n":1}'
    assert registry.get("b").name == "b"
    assert len(registry) == 2
    assert "a" in registry


def test_an_unknown_name_is_not_found_and_told_what_comes_close() -> None:
    @provider
    async def fingerprint() -> None: ...

    registry = Registry()
    registry.add(fingerprint)
    registry.add(fingerprint)
    with pytest.raises(NotFound, match=r"no provider 'fingerprnt'; did you mean fingerprint\?") as caught:
        registry.validate("fingerprnt", "{}")
    assert caught.value.kind == "provider"
    with pytest.raises(NotFound, match="ListProviders"):
        registry.get("xyz")


def test_a_process_runs_attempts_by_the_providers_it_was_told_to_load(write: Write) -> None:
    from runcast.provider import capture

    write("mine_run.py", HEAD + "@provider\ndef says() -> int:\n    print('hello')\n    return 4\n")
    run = attempts(["mine_run"])
    channel = BlockingChannel()
    try:
        assert run(Call("r", 1, "says", "{}"), channel) == Returned("4")
    finally:
        capture.uninstall()
    assert channel.lines() == [("stdout", "hello")]
