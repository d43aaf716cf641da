"""Docstrings of the three usual styles say what parameters are for."""

import pytest

from runcast.provider.docstring import read

GOOGLE = """Do it.

    More of it.

    Args:
        first (int): The first,
            on two lines.
        second: The second: with a colon.
        *rest: The rest.

    Returns:
        nothing: at all
    """
NUMPY = """Do it.

    More of it.

    Parameters
    ----------
    first : int
        The first,
        on two lines.
    second
        The second: with a colon.
    rest : list, optional
        The rest.

    Returns
    -------
    nothing
        at all
    """
SPHINX = """Do it.

    More of it.

    :param int first: The first,
        on two lines.
    :param second: The second: with a colon.
    :param rest: The rest.
    :returns: nothing
    :raises ValueError: never
    """
WANTED = {"first": "The first, on two lines.", "second": "The second: with a colon.", "rest": "The rest."}


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_each_style_gives_the_text_and_the_parameters(text: str) -> None:
    assert read(text) == ("Do it.\n\nMore of it.", WANTED)


@pytest.mark.parametrize("text", [None, "", "   \n  "])
def test_no_docstring_says_nothing(text: str | None) -> None:
    assert read(text) == ("", {})


def test_a_text_with_colons_is_no_section() -> None:
    assert read("Note: this is text.\n\nArgs are good: yes.") == (
        "Note: this is text.\n\nArgs are good: yes.",
        {},
    )


def test_a_google_entry_may_begin_on_the_line_below() -> None:
    assert read("X.\n\nArgs:\n    a:\n        Below.\n").parameters == {"a": "Below."}


def test_prose_between_entries_belongs_to_none_of_them() -> None:
    assert read(
        "X.\n\nArgs:\n    a: One.\n\n    Some prose here\n        and more\n    b: Two."
    ).parameters == {
        "a": "One.",
        "b": "Two.",
    }


def test_several_names_share_a_numpy_entry() -> None:
    text = "X.\n\nParameters\n----------\na, b : int\n    Both."
    assert read(text).parameters == {"a": "Both.", "b": "Both."}
