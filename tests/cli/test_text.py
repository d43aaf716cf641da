"""Times and amounts read as people say them, and foreign text is harmless on a terminal."""

import json

import pytest

from runcast.cli import text


@pytest.mark.parametrize(
    ("nasty", "harmless"),
    [
        ("plain ✓ ü 漢字", "plain ✓ ü 漢字"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[H\x1b[?25lgone", "gone"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        ("a\x1bPq#0;2\x1b\\b", "ab"),
        ("a\x9b2Jb\x9d0;title\x9cc", "abc"),
        ("a\x1bcb", "ab"),
        ("a\x1b(Bb", "ab"),
        ("a\x1b", "a"),
        ("a\x1b[", "a"),
        ("a\x1b]never ended", "a"),
        ("bell\x07 back\x08 nul\x00 del\x7f", "bell back nul del"),
        ("over\rwritten", "overwritten"),
        ("one\r\ntwo\tthree", "one\ntwo\tthree"),
        ("\u202egnp.exe", "gnp.exe"),
        ("lone \ud800 half", "lone  half"),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out(nasty: str, harmless: str) -> None:
    assert text.clean(nasty) == harmless


def test_a_line_stays_one_line() -> None:
    assert text.line("one\ntwo\r\n\tthree\u2028four") == "one two threefour"


@pytest.mark.parametrize("nasty", ["\x9b2J", "\x7f", "\u202e", "\u2028", "\ud800"])
def test_json_says_the_same_without_what_a_terminal_would_obey(nasty: str) -> None:
    written = text.escape_json(json.dumps({"a": f"ü{nasty}"}, ensure_ascii=False))
    assert nasty not in written
    assert "ü" in written
    assert json.loads(written) == {"a": f"ü{nasty}"}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 ms"),
        (0.0404, "40 ms"),
        (0.0999, "0.1 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (125.0, "2 min 05 s"),
        (3_600.0, "1 h"),
        (11_220.0, "3 h 07 min"),
        (187_200.0, "2 d 04 h"),
        (-3.0, "0 ms"),
        (5, "5 s"),
        (600, "10 min"),
    ],
)
def test_a_duration_is_said_in_at_most_two_units(seconds: float, said: str) -> None:
    assert text.duration(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0:00"), (7.9, "0:07"), (754, "12:34"), (3_723, "1:02:03"), (-1, "0:00")]
)
def test_a_running_time_is_as_on_a_watch(seconds: float, said: str) -> None:
    assert text.clock(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(5, "5s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (100_000, "1d"), (-9, "0s")]
)
def test_an_age_is_one_number(seconds: float, said: str) -> None:
    assert text.age(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(17, "17 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (240_000_000, "229 MiB")]
)
def test_bytes_are_said_in_powers_of_1024(count: int, said: str) -> None:
    assert text.size(count) == said


@pytest.mark.parametrize(
    ("per_second", "unit", "said"),
    [
        (3.21, "rows", "3.2/s"),
        (1204.4, "rows", "1,204/s"),
        (0.02, "rows", "1.2/min"),
        (1_572_864, "bytes", "1.5 MiB/s"),
    ],
)
def test_a_speed_is_said_in_what_is_counted(per_second: float, unit: str, said: str) -> None:
    assert text.rate(per_second, unit) == said


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90", 90.0),
        ("90s", 90.0),
        ("1m30s", 90.0),
        ("1.5h", 5_400.0),
        ("200ms", 0.2),
        ("2d", 172_800.0),
        ("5min", 300.0),
    ],
)
def test_a_length_of_time_is_read(written: str, seconds: float) -> None:
    assert text.seconds(written) == pytest.approx(seconds)


@pytest.mark.parametrize("written", ["", "fish", "5 fish", "-5", "5x", "h5", "1h fish"])
def test_what_is_no_length_of_time_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is not a length of time"):
        text.seconds(written)
