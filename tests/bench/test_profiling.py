"""What is told of a profile."""

from bench.profiling import summary_of


def test_a_profile_is_summed_up_by_lines_and_by_functions_without_imports() -> None:
    stacks = [
        "main (a.py:1);work (a.py:7);sort (a.py:9) 6",
        "main (a.py:1);work (a.py:8);0x7f02f44a3f16 (c.so) 1",
        "main (a.py:1);work (a.py:8);0x7f02f0ec4f30 (c.so) 1",
        "main (a.py:2);work (a.py:7);work (a.py:8) 2",
        "main (a.py:1);_find_and_load (<frozen importlib._bootstrap>:1176);<module> (b.py:1) 90",
    ]
    lines = [line.strip() for line in summary_of(stacks).splitlines()]
    assert lines[0] == "10 samples, 90 more while it imported"
    itself, with_calls = lines.index("itself"), lines.index("with what it calls")
    assert lines[itself + 1 : itself + 3] == ["60.0%  sort (a.py:9)", "20.0%  ? (c.so)"]
    assert set(lines[with_calls + 1 : with_calls + 3]) == {"100.0%  main (a.py)", "100.0%  work (a.py)"}
