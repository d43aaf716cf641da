"""What every backend's `list` means by a filter."""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

from runcast.server.model.errors import InvalidArgument
from runcast.server.model.run import Definition, Outcome, Run, RunFilter, State

MOST_WORDS = 32
"""How many words a filter's text may have: each is looked up by itself."""

Refs = Mapping[str, Collection[str]]
"""The references of a run: ids by type."""

# What `str.isalnum` says of each character; a regular expression is ten times as fast as asking.
_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text: its runs of letters and digits of any script, in folded case, each once."""
    return [*dict.fromkeys(_WORD.findall(text.casefold()))]


def words_of(run_id: str, definition: Definition) -> list[str]:
    """The words that a run is found by from its start; those of its summary come beside them."""
    labels = definition.labels
    # A blank is part of no word. What is put together here is folded and split once and not piece by piece.
    return words(" ".join((run_id, definition.provider, definition.task, *labels, *labels.values())))


def refs_of(outcome: Outcome) -> Refs:
    """The references that a run keeps itself: the first 1,000."""
    found: dict[str, set[str]] = {}
    for ref in outcome.refs:
        found.setdefault(ref.type, set()).add(ref.id)
    return found


def require_sound(filter: RunFilter) -> None:
    """InvalidArgument for a text that has no words, or too many: it says what nobody can look for."""
    if filter.text and not 0 < len(words(filter.text)) <= MOST_WORDS:
        expected = f"expected 1 to {MOST_WORDS} words of letters and digits; leave it empty for any run"
        raise InvalidArgument.of("filter.text", f"{expected}, got {filter.text!r}")


def selects(filter: RunFilter, run: Run, refs: Refs | None = None) -> bool:
    """Whether the filter selects the run.

    `refs` are all references that the run ever told. Without them those count that the run keeps itself, so that one
    told after the first 1,000 is not found. A reference's type is compared as it is, also an empty one; an empty id is
    any of the type. A text selects where each of its words begins a word of the run's id, provider, task, labels or
    summary; one without words selects nothing.
    """
    definition = run.definition
    return (
        (not filter.states or run.state in filter.states)
        and (not filter.interrupted_only or run.state is State.INTERRUPTED)
        and filter.provider in ("", definition.provider)
        and filter.task in ("", definition.task)
        and filter.schedule in ("", definition.schedule)
        and filter.parent_run in ("", definition.parent_run)
        and filter.queue in ("", definition.spec.queue)
        and (filter.created_after is None or run.create_time >= filter.created_after)
        and (filter.created_before is None or run.create_time < filter.created_before)
        and all(definition.labels.get(key) == value for key, value in filter.labels.items())
        and (filter.ref is None or _touched(refs_of(run.outcome) if refs is None else refs, filter))
        and (not filter.text or _says(run, _wanted(filter.text)))
    )


def _touched(refs: Refs, filter: RunFilter) -> bool:
    assert filter.ref is not None
    ids = refs.get(filter.ref.type, ())
    return filter.ref.id in ids if filter.ref.id else bool(ids)


@lru_cache
def _wanted(text: str) -> tuple[str, ...]:
    """A filter is held against many runs."""
    return tuple(words(text))


def _says(run: Run, wanted: tuple[str, ...]) -> bool:
    if not wanted:
        return False
    # As one text: to look for a blank and a prefix in it is faster than to look at word after word.
    said = " ".join(("", *words_of(run.id, run.definition), *words(run.outcome.summary)))
    return all(f" {prefix}" in said for prefix in wanted)
