"""How a run ended, in a line and what belongs to it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from runcast.cli import text
from runcast.cli.output import STATE_STYLES
from runcast.cli.records import enum_name
from runcast.cli.terminal import Terminal, say

if TYPE_CHECKING:
    from runcast.client import Run

_SHOWN = 10
_SIGNS = {"SUCCEEDED": "✓", "SUCCEEDED_WITH_ERRORS": "!", "CANCELLED": "■", "PAUSED": "‖", "INTERRUPTED": "‖"}
_OUTCOMES = {
    "KILLED": "its code had to be killed",
    "ABANDONED": "its code could not be stopped, and was cut off from the run",
    "TOO_LATE": "it had come to its end before it could be stopped",
}


def ending(run: "Run") -> Iterator[str]:
    """The lines: state and duration, why, and the first targets that failed."""
    state = enum_name(run, "state")
    head = f"{text.words(state)}{_lasted(run)}"
    if run.failure_count:
        head += f", {text.plural(run.failure_count, 'target')} failed"
    if state in ("FAILED", "TIMED_OUT") and run.error.message:
        head += f": {text.line(run.error.message)}"
    elif state == "CANCELLED" and run.cancellation.reason:
        head += f": {text.line(run.cancellation.reason)}"
    elif run.summary:
        head += f": {text.line(run.summary)}"
    yield head
    outcome = enum_name(run.cancellation, "outcome") if run.HasField("cancellation") else ""
    if outcome in _OUTCOMES:
        yield f"  {_OUTCOMES[outcome]}"
    for failure in run.failures[:_SHOWN]:
        code = f" ({text.line(failure.code)})" if failure.code else ""
        yield f"  {text.line(failure.target)}: {text.line(failure.message) or 'failed'}{code}"
    if run.failure_count > min(len(run.failures), _SHOWN):
        more = run.failure_count - min(len(run.failures), _SHOWN)
        yield f"  … and {more:,} more:  runcast runs show {run.id} -o json"


def tell_ending(run: "Run", terminal: Terminal, *, named: bool = False) -> None:
    """Write the lines to stderr, with a sign and in the state's colour where it is a terminal. `named` begins them with
    the run's id, as they do outside of a terminal."""
    first, *more = ending(run)
    state = enum_name(run, "state")
    if terminal.err_is_terminal:
        from rich.text import Text

        sign = f"{_SIGNS.get(state, '✗')} " if terminal.unicode else ""
        sign += f"{run.id} " if named else ""
        terminal.err.print(Text(sign + first, STATE_STYLES.get(state, "")), soft_wrap=True)
    else:
        say(f"{run.id} {first}")
    for each in more:
        say(each)


def _lasted(run: "Run") -> str:
    begin = run.start_time if run.HasField("start_time") else run.create_time
    if not run.HasField("end_time"):
        return ""
    return f" in {text.duration((run.end_time.ToNanoseconds() - begin.ToNanoseconds()) / 1e9)}"
