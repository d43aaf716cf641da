"""What an event says in lines that stay on the screen; progress is not among them."""

import codecs
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from runcast.cli import text
from runcast.cli.records import enum_name

if TYPE_CHECKING:
    from runcast.client import RunEvent

_QUIET_LEVELS = ("INFO", "UNSPECIFIED")
_FIRST_FINAL = 16
_REASONS = {"OWNER_LOST": "its server was lost"}


class Line(NamedTuple):
    """One line: when, how grave (`WARNING`, `ERROR`, …; empty: as expected), the words, and what comes behind them."""

    time: float
    level: str
    text: str
    details: str = ""


class Transcript:
    """Turns a run's events into lines; raw output is put together until its line is complete."""

    def __init__(self) -> None:
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}
        self._open: dict[str, str] = {}
        self._ended = ""

    def lines(self, event: "RunEvent") -> Iterator[Line]:
        """The lines of one event, without anything that a terminal would obey."""
        at = event.time.ToNanoseconds() / 1e9
        kind = event.WhichOneof("event")
        if kind == "output":
            yield from (Line(at, "", each) for each in self._output(event.output.channel, event.output.data))
        elif kind == "log":
            yield from _log(at, event)
        else:
            if kind in ("attempt_finished", "state_changed"):
                yield from self.rest(at)
            level, said = self._told(event, kind or "")
            if said:
                yield Line(at, level, text.line(said))

    def rest(self, at: float) -> Iterator[Line]:
        """Output that ended without a line feed."""
        rest = [each for each in self._open.values() if each]
        self._open.clear()
        self._decoders.clear()
        yield from (Line(at, "", text.clean(each)) for each in rest)

    def _output(self, channel: str, data: bytes) -> Iterator[str]:
        decoder = self._decoders.setdefault(channel, codecs.getincrementaldecoder("utf-8")("replace"))
        *whole, self._open[channel] = (self._open.get(channel, "") + decoder.decode(data)).split("\n")
        # A program that draws a bar of its own goes back to the line's beginning: the last drawing counts.
        yield from (text.clean(each.rstrip("\r").rpartition("\r")[2]) for each in whole)

    def _told(self, event: "RunEvent", kind: str) -> tuple[str, str]:
        """The level and words of an event that is no log line; no words for one that need not be told.

        How an attempt ended is told with what comes of it; where that is the run's end, it is left to whoever tells
        the end.
        """
        if kind == "attempt_finished":
            self._ended = _attempt_finished(event)
        elif kind == "state_changed":
            ended, self._ended = self._ended, ""
            level, said = _state_changed(event)
            final = event.state_changed.to_state >= _FIRST_FINAL
            return level or ("WARNING" if ended else ""), "" if final else "; ".join(
                filter(None, (ended, said))
            )
        elif kind in _TELLERS:
            return _TELLERS[kind](event)
        return "", ""


def _log(at: float, event: "RunEvent") -> Iterator[Line]:
    name = enum_name(event.log, "severity")
    level = "" if name in _QUIET_LEVELS else name
    details = " ".join(f"{text.line(key)}={text.line(value)}" for key, value in event.log.attributes.items())
    first, *more = text.clean(event.log.message).split("\n")
    yield Line(at, level, first, details)
    yield from (Line(at, level, each) for each in more)


def _attempt_started(event: "RunEvent") -> tuple[str, str]:
    whence = " from the checkpoint" if event.attempt_started.from_checkpoint else ""
    return "", f"attempt {event.attempt} begins{whence}" if event.attempt > 1 else ""


def _target_failed(event: "RunEvent") -> tuple[str, str]:
    failure = event.target_failed
    code = f" ({failure.code})" if failure.code else ""
    return "ERROR", f"{failure.target}: {failure.message or 'failed'}{code}"


def _artifact_added(event: "RunEvent") -> tuple[str, str]:
    added = event.artifact_added
    return "", f"artifact {added.name} ({added.content_type}, {text.size(added.size_bytes)})"


def _child_linked(event: "RunEvent") -> tuple[str, str]:
    return "", f"child {event.child_linked.child_run} started"


def _state_changed(event: "RunEvent") -> tuple[str, str]:
    changed = event.state_changed
    reason = f": {_REASONS.get(changed.reason, changed.reason)}" if changed.reason else ""
    match enum_name(changed, "to_state"):
        case "BACKING_OFF":
            wait = (changed.next_attempt_time.ToNanoseconds() - event.time.ToNanoseconds()) / 1e9
            return "WARNING", f"the next one comes in {text.duration(wait)}"
        case "INTERRUPTED":
            return "WARNING", f"interrupted{reason}"
        case "PAUSING" | "PAUSED" as state:
            return "", f"{text.words(state)}{reason}"
    return "", ""


def _attempt_finished(event: "RunEvent") -> str:
    state = enum_name(event.attempt_finished, "state")
    if state in ("FAILED", "TIMED_OUT", "LOST"):
        why = event.attempt_finished.error.message
        return f"attempt {event.attempt} {text.words(state)}" + (f": {why}" if why else "")
    return (
        f"attempt {event.attempt} was given back by its server, which shuts down"
        if state == "RELEASED"
        else ""
    )


def _cancel_requested(event: "RunEvent") -> tuple[str, str]:
    asked = event.cancel_requested
    who = enum_name(asked, "initiator")
    by = "" if who in ("CLIENT", "UNSPECIFIED") else f" by the {text.words(who)}"
    urgent = " at once" if asked.immediate else ""
    return "", f"asked{by} to stop{urgent}" + (f": {asked.reason}" if asked.reason else "")


_TELLERS: Mapping[str, Callable[["RunEvent"], tuple[str, str]]] = {
    "attempt_started": _attempt_started,
    "target_failed": _target_failed,
    "artifact_added": _artifact_added,
    "cancel_requested": _cancel_requested,
    "child_linked": _child_linked,
}
