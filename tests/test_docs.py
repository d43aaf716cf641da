"""What docs/ says is so: its links lead somewhere, its commands work, and its table is the one that the model obeys."""

import re
from pathlib import Path

import pytest

from tests.model.test_state_table import CELLS, STATES
from tests.test_readme import _BLOCK, _EXIT_CODES, reading

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_TABLE = "<!-- table: {} -->\n{}<!-- end -->"

# The model's situations, gathered into the columns of the document.
ASKED = {
    "SCHEDULED": "SC",
    "QUEUED": "QU",
    "RUNNING": "RU Rt Rd",
    "BACKING_OFF": "BO",
    "PAUSING": "PG",
    "PAUSED": "Ps Pb Pq",
    "INTERRUPTED": "IN",
    "CANCELLING": "Cc Ct",
    "final": "OK OE FA CA TO",
}
ENDED = {
    "RUNNING": "RU",
    "… timing out": "Rt",
    "… draining": "Rd",
    "PAUSING": "PG",
    "CANCELLING": "Cc Ct",
}
WORDS = {"=": "stays", "!": "refused", "x": "refused", ".": ""} | {
    short: state.name for short, state in STATES.items()
}


def is_of_an_attempt(row: dict[str, str]) -> bool:
    """Whether it comes from an attempt, which a run that has none refuses to hear."""
    return row["QU"] == "F"


def table(columns: dict[str, str], *, of_attempts: bool) -> str:
    """The model's table as the document shows it; run with `-k table` and copy it from the failure."""
    lines = [f"| | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for label, row in CELLS.items():
        if is_of_an_attempt(row) is of_attempts:
            cells = [{WORDS[row[each]] for each in gathered.split()} for gathered in columns.values()]
            shown = [" or ".join(sorted(cell - {""}, key=list(WORDS.values()).index)) for cell in cells]
            lines.append(f"| {label} | {' | '.join(shown)} |")
    return "\n".join([*lines, ""])


@pytest.mark.parametrize(("name", "columns"), [("asked", ASKED), ("ended", ENDED)])
def test_the_state_table_of_the_document_is_that_of_the_model(name: str, columns: dict[str, str]) -> None:
    expected = _TABLE.format(name, table(columns, of_attempts=name == "ended"))
    assert expected in (DOCS / "lifecycle.md").read_text(), expected


def test_every_situation_of_the_model_is_in_a_column() -> None:
    assert set(" ".join(ASKED.values()).split()) == set(next(iter(CELLS.values())))
    executing = {each for gathered in ENDED.values() for each in gathered.split()}
    for row in CELLS.values():
        if is_of_an_attempt(row):
            assert {each for each, cell in row.items() if cell != "F"} == executing


def test_the_document_tells_of_every_state_once() -> None:
    told = re.findall(r"^\| ([A-Z_]+) \|", (DOCS / "lifecycle.md").read_text(), re.MULTILINE)
    assert told == [state.name for state in STATES.values()]


def anchors(page: Path) -> list[str]:
    """The places in a page that a link can lead to, as GitHub names them."""
    text = _FENCE.sub("", page.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text())):
        file, _, place = link.partition("#")
        if "://" in file:
            continue
        target = (page.parent / file) if file else page
        if not target.exists() or (place and place not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("name", ["api.md", "cli.md"])
def test_no_two_places_of_a_reference_have_the_same_name(name: str) -> None:
    found = anchors(DOCS / name)
    assert sorted(set(found)) == sorted(found)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["concepts.md", "lifecycle.md"])
def test_every_command_of_a_page_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [text for language, text in _BLOCK.findall((DOCS / name).read_text()) if language == "sh"]
    assert len(blocks) >= 2
    with reading(tmp_path) as reader:
        for line in "".join(blocks).splitlines():
            command, _, remark = line.partition("  #")
            code = re.search(r"exits with (\d+)", remark)
            monkeypatch.setitem(_EXIT_CODES, command.strip(), int(code[1]) if code else 0)
            reader.type(line)
