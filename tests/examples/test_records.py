"""A CSV file is cut into the records that Python's csv module finds, each with its line, wherever it is read from."""

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.examples import records
from runcast.examples.records import Bad, Block, CsvFile, Position, infer, keeps_ascii

TEXT = st.text(st.sampled_from('ab"\n,é\t'), max_size=6)
VALUE = TEXT | st.just("\r\n") | st.just("x" * 40)


def blocks(data: bytes, most: int = 3, width: int | None = None, encoding: str = "utf-8") -> list[Block]:
    """All blocks of a file with this content."""
    with tempfile.NamedTemporaryFile() as kept:
        kept.write(data)
        kept.flush()
        with Path(kept.name).open("rb") as file:
            reader = CsvFile(file, encoding, ",")
            reader.width = width
            found, at = [], reader.start
            while block := reader.read(at, most):
                assert block.end > at
                found.append(block)
                at = block.end
    assert at.offset == len(data)
    return found


def rows(found: list[Block]) -> list[tuple[int, list[str]]]:
    return [pair for block in found for pair in zip(block.lines, block.rows, strict=True)]


def bad(found: list[Block]) -> list[Bad]:
    return [one for block in found for one in block.bad]


@given(
    st.lists(st.lists(VALUE, min_size=1, max_size=4), max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
    st.integers(1, 8),
    st.booleans(),
)
def test_records_and_their_lines_are_those_of_the_csv_module(
    table: list[list[str]], end: str, mark: str, most: int, closed: bool
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    for row in table:
        writer.writerow(row)
    content = text.getvalue() if closed else text.getvalue().removesuffix(end)
    expected, line = [], 1
    reader = csv.reader(io.StringIO(content, newline="\n"), strict=True)
    for row in reader:
        if row:
            expected.append((line, row))
        line = reader.line_num + 1
    found = blocks((mark + content).encode(), most)
    assert rows(found) == expected
    assert bad(found) == []


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_what_is_broken_is_named_by_its_line_and_the_rest_is_read(most: int) -> None:
    data = b'1,a\n2,"b\nb"\n3,"c"c\n4,d\n\n5\n6,\xff\n7,"g\n\xff"\n8,h\n9,i,i\n10,"\n11,k\n12,"l"\n13,m\n14,"open\n'
    found = blocks(data, most, width=2)
    assert rows(found) == [
        (1, ["1", "a"]),
        (2, ["2", "b\nb"]),
        (5, ["4", "d"]),
        (11, ["8", "h"]),
        (14, ["11", "k"]),
        (15, ["12", "l"]),
        (16, ["13", "m"]),
    ]
    assert sorted((one.line, one.code) for one in bad(found)) == [
        (4, "MALFORMED"),
        (7, "COLUMNS"),
        (8, "ENCODING"),
        (9, "ENCODING"),
        (12, "COLUMNS"),
        (13, "MALFORMED"),
        (17, "MALFORMED"),
    ]


def test_a_record_of_several_lines_that_is_wrong_is_told_once() -> None:
    found = blocks(b'1,"a\n1,2\nb",c\n2,b\n', width=2)
    assert [(one.line, one.code) for one in bad(found)] == [(1, "COLUMNS")]
    assert rows(found) == [(4, ["2", "b"])]


@pytest.mark.parametrize("most", [1, 4])
def test_a_line_without_end_is_passed_without_being_kept(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(records, "LONGEST", 32)
    data = b"1,a\n2," + b"x" * 1_000 + b"\n3,c\n" + b"y" * 500
    found = blocks(data, most, width=2)
    assert rows(found) == [(1, ["1", "a"]), (3, ["3", "c"])]
    assert [(one.line, one.code) for one in bad(found)] == [(2, "MALFORMED"), (4, "MALFORMED")]


def test_a_quote_that_is_never_closed_costs_its_line_and_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_BYTES", 200)
    data = b'1,"a\n' + b"2,b\n" * 1_000
    found = blocks(data, 10, width=2)
    assert [(one.line, one.code) for one in bad(found)] == [(1, "MALFORMED")]
    assert len(rows(found)) == 1_000


def test_reading_goes_on_from_the_end_of_any_block() -> None:
    data = b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n\r\n2,z\r\n3,"\n4,u\r\n'
    whole = blocks(data, 100)
    cut = blocks(data, 1)
    assert rows(cut) == rows(whole)
    assert bad(cut) == bad(whole)
    assert cut[-1].end == whole[-1].end == Position(len(data), 8)


def test_other_encodings_are_read_and_those_without_ascii_refused() -> None:
    assert rows(blocks("1,é\n2,ß\n".encode("latin-1"), encoding="latin-1")) == [
        (1, ["1", "é"]),
        (2, ["2", "ß"]),
    ]
    assert keeps_ascii("utf-8")
    assert keeps_ascii("cp1252")
    assert not any(
        map(keeps_ascii, ["utf-16", "utf-7", "cp500", "rot13", "hz", "nonsense", "unicode_escape"])
    )


def test_a_type_is_the_narrowest_that_all_values_fit_and_a_postal_code_stays_text() -> None:
    sample = [
        ["1", "1", "01067", "x", "", "1" * 19],
        ["-2", "2.5", "10115", "", "", "2"],
        ["", "", "", "", "", ""],
    ]
    assert infer(sample, 6, [""]) == ["integer", "real", "text", "text", "text", "text"]
    assert infer([["+49123", "12e5", "3"], ["1", "1", ""]], 3, [""]) == ["text", "text", "integer"]
