"""The judge of a storm: holds what clients wrote down against what is stored in the end."""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from runcast.v1 import event_pb2, run_pb2
from tests.torture.clients import is_final
from tests.torture.owners import CANCEL, SHORT_GRACE
from tests.torture.truth import Stored, Truth

Fact = dict[str, Any]
POISON = 5
_TELLS = ("log", "progress", "checkpoint_saved", "partial_result", "target_failed", "ref_added", "output")


@dataclass
class Verdict:
    """What was wrong, one line each, and how much happened for it to be found in."""

    violations: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return not self.violations

    def say(self, promise: str, text: str) -> None:
        """One violation."""
        self.violations.append(f"{promise}: {text}")

    def require(self, **least: int) -> None:
        """The least that must have happened: below it, nothing is proven, and that is said."""
        for key, number in least.items():
            name = key.replace("_", " ")
            if self.figures[name] < number:
                self.say("invalid", f"{self.figures[name]} {name}, and it takes {number} to prove anything")

    def __str__(self) -> str:
        figures = ", ".join(f"{number} {name}" for name, number in sorted(self.figures.items()))
        shown = "\n".join(self.violations[:40])
        return f"{len(self.violations)} violations in {figures}\n{shown}"


def judge(facts: Iterable[Fact], truth: Truth) -> Verdict:
    """All that the promises say, of all runs."""
    verdict = Verdict()
    by_kind: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_kind[fact["what"]].append(fact)
    _starts(verdict, by_kind, truth)
    _ends(verdict, by_kind, truth)
    _watchers(verdict, by_kind, truth)
    _cancellations(verdict, by_kind, truth)
    _owners(verdict, by_kind, truth)
    nonces: Counter[str] = Counter()
    for stored in truth.values():
        _journal(verdict, stored)
        _attempts(verdict, stored)
        _checkpoints(verdict, stored)
        _provider(verdict, stored, nonces)
    for nonce, count in nonces.items():
        if count > 1:
            verdict.say("P4", f"what holds nonce {nonce} is stored {count} times")
    verdict.figures["runs"] = len(truth)
    verdict.figures["events"] = sum(len(stored.events) for stored in truth.values())
    return verdict


def judge_journals(truth: Truth) -> Verdict:
    """What every journal must keep to, whatever code it is of and whoever watched."""
    verdict = Verdict()
    for stored in truth.values():
        _journal(verdict, stored)
        _attempts(verdict, stored)
        _checkpoints(verdict, stored)
    return verdict


def _starts(verdict: Verdict, facts: dict[str, list[Fact]], truth: Truth) -> None:
    """P1: every start that was acknowledged is one run, and no request is two."""
    sent = {fact["request"] for fact in facts["sent"]}
    runs: defaultdict[str, set[str]] = defaultdict(set)
    made: Counter[str] = Counter()
    for stored in truth.values():
        runs[stored.run.labels["request"]].add(stored.run.id)
    for request, ids in runs.items():
        if len(ids) > 1:
            verdict.say("P1", f"request {request} made {len(ids)} runs: {sorted(ids)}")
        if request not in sent:
            verdict.say("P1", f"request {request!r} was never sent and made {sorted(ids)}")
    for fact in facts["started"]:
        if fact["run"] not in truth:
            verdict.say("P1", f"run {fact['run']} of request {fact['request']} was acknowledged and is lost")
        elif fact["run"] not in runs[fact["request"]]:
            verdict.say("P1", f"request {fact['request']} was answered with {fact['run']}, a run of another")
        made[fact["request"]] += fact["created"]
    for request, count in made.items():
        if count > 1:
            verdict.say("P1", f"{count} answers say that they made the run of request {request}")
    verdict.figures["acknowledged"] = len({fact["request"] for fact in facts["started"]})


def _ends(verdict: Verdict, facts: dict[str, list[Fact]], truth: Truth) -> None:
    """P2, P3: every acknowledged run has one final state, the one that any client saw, to the byte."""
    for run_id in {fact["run"] for fact in facts["started"]} & truth.keys():
        if not is_final(truth[run_id].run.state):
            verdict.say("P3", f"run {run_id} never ended: {truth[run_id].run.state}")
    for fact in facts["ended"]:
        stored = truth.get(fact["run"])
        if stored is None or base64.b64decode(fact["whole"]) != stored.whole:
            now = (stored.run.state, stored.run.output.json) if stored else "nothing"
            seen = (fact["state"], fact["output"])
            verdict.say("P3", f"{fact['by']} saw run {fact['run']} end as {seen}, and stored is {now}")
    verdict.figures["ends seen"] = len(facts["ended"])
    for stored in truth.values():
        verdict.figures[run_pb2.Run.State.Name(stored.run.state).removeprefix("STATE_").lower()] += 1


def _watchers(verdict: Verdict, facts: dict[str, list[Fact]], truth: Truth) -> None:
    """P4, P5: each watcher saw 1..n once and in order over all its connections, and nothing but what is stored."""
    cursors: dict[str, int] = {}
    for fact in facts["watch"]:
        if cursors.setdefault(fact["watch"], 0) == 0 and fact["after"] == 0:
            verdict.figures["watchers"] += 1
        verdict.figures["connections"] += 1
    for fact in facts["saw"]:
        _seen(verdict, fact, truth.get(fact["run"]), cursors)
    for fact in facts["completed"]:
        stored = truth.get(fact["run"])
        if stored is None or cursors.get(fact["watch"]) != stored.run.last_sequence:
            verdict.say(
                "P5", f"{fact['watch']} of {fact['run']} was told the end behind {cursors.get(fact['watch'])}"
            )
    for fact in (*facts["gap"], *facts["refused"]):
        verdict.say("P5", f"{fact}")


def _seen(verdict: Verdict, fact: Fact, stored: Stored | None, cursors: dict[str, int]) -> None:
    """One batch of events as it was seen."""
    watch = fact["watch"]
    for sequence, body in fact["events"]:
        expected = cursors.get(watch, 0) + 1
        if sequence != expected:
            verdict.say("P5", f"{watch} of {fact['run']} saw {sequence} where {expected} comes next")
        cursors[watch] = sequence
        verdict.figures["events seen"] += 1
        if stored is None or stored.bodies.get(sequence) != base64.b64decode(body):
            kept = _shown(stored.bodies.get(sequence)) if stored else "no run"
            seen = _shown(base64.b64decode(body))
            verdict.say("P4", f"{watch} saw as {fact['run']}/{sequence} {seen}, and stored is {kept}")
    if fact["resume"] != cursors[watch]:
        verdict.say("P5", f"{watch} is to resume behind {fact['resume']}, and has seen {cursors[watch]}")


def _shown(body: bytes | None) -> str:
    return "nothing" if body is None else " ".join(str(event_pb2.RunEvent.FromString(body)).split())[:200]


def _cancellations(verdict: Verdict, facts: dict[str, list[Fact]], truth: Truth) -> None:
    """P9: a cancellation that was acknowledged is in the journal, and the run ended, at the latest by it."""
    for fact in facts["cancelled"]:
        stored = truth.get(fact["run"])
        verdict.figures["cancellations"] += 1
        if stored is None or is_final(fact["state"]):
            continue
        if not any(event.HasField("cancel_requested") for event in stored.events):
            verdict.say("P9", f"the cancellation of {fact['run']} was acknowledged and is lost")
        elif stored.run.state not in (run_pb2.Run.STATE_CANCELLED, run_pb2.Run.STATE_SUCCEEDED):
            verdict.say("P9", f"run {fact['run']} was cancelled and ended as {stored.run.state}")


def _owners(verdict: Verdict, facts: dict[str, list[Fact]], truth: Truth) -> None:
    """P9: a run whose owner left for good is stopped as that one wished, and not before its grace; any other is not, also
    where servers died under its owner's stream."""
    left = {fact["run"]: fact for fact in facts["left"]}
    verdict.figures["owners that left"] = len(left)
    verdict.figures["owners that stayed"] = len({fact["run"] for fact in facts["owned"]})
    verdict.figures["streams of owners"] = len(facts["owned"])
    for run_id in {fact["run"] for fact in facts["started"]} & truth.keys() - left.keys():
        for event in truth[run_id].events:
            if by_disconnect(event):
                verdict.say(
                    "P9", f"run {run_id} was stopped by event {event.sequence}, and no owner had left it"
                )
    for run_id, fact in left.items():
        if run_id in truth:
            _left(verdict, fact, truth[run_id])


def _left(verdict: Verdict, fact: Fact, stored: Stored) -> None:
    run_id, stops = stored.run.id, [event for event in stored.events if by_disconnect(event)]
    lost = [event for event in stored.events if event.attempt_finished.state == run_pb2.Attempt.STATE_LOST]
    if not stops and len(lost) < POISON:
        verdict.say("P9", f"the owner of run {run_id} left, policy {fact['policy']}, and nobody stopped it")
    if stops and stored.run.state != run_pb2.Run.STATE_CANCELLED and len(lost) < POISON:
        verdict.say("P9", f"run {run_id} was stopped for its owner, and ended as {stored.run.state}")
    for event in stops:
        after = event.time.ToMicroseconds() / 1e6 - fact["wall"]
        if fact["prompt"] and after < SHORT_GRACE - 0.1:
            verdict.say("P9", f"run {run_id} was stopped {after:.3f} s after its owner had left: too early")
        if event.HasField("cancel_requested") != (fact["policy"] == CANCEL):
            verdict.say("P9", f"run {run_id} was stopped by {event}, and its owner wanted {fact['policy']}")


def by_disconnect(event: event_pb2.RunEvent) -> bool:
    """Whether a run is stopped here because of its owner's absence."""
    if event.HasField("state_changed"):
        standing = event.state_changed.to_state in (run_pb2.Run.STATE_PAUSING, run_pb2.Run.STATE_PAUSED)
        return standing and event.state_changed.reason.startswith("its owner's stream")
    return event.cancel_requested.initiator == run_pb2.Cancellation.INITIATOR_DISCONNECT


def _journal(verdict: Verdict, stored: Stored) -> None:
    """P3, P4: dense from 1, as long as the run says, the states a chain, the only final one last."""
    run = stored.run
    sequences = [event.sequence for event in stored.events]
    if sequences != [*range(1, run.last_sequence + 1)]:
        verdict.say("P4", f"run {run.id} says that it has {run.last_sequence} events, and has {sequences}")
    state = 0
    for event in stored.events:
        if event.HasField("state_changed"):
            change = event.state_changed
            if is_final(state) or change.from_state != state:
                verdict.say("P3", f"run {run.id} went from {change.from_state} where it was {state}")
            state = change.to_state
    if state != run.state:
        verdict.say("P3", f"run {run.id} is {run.state}, and its journal ends with {state}")
    if is_final(run.state) and not (stored.events and stored.events[-1].HasField("state_changed")):
        verdict.say("P3", f"the end of run {run.id} is not its last event")


def _attempts(verdict: Verdict, stored: Stored) -> None:
    """P6, P7: attempts and checkpoints only rise, one attempt after the other, each with one owner."""
    run_id, attempt, running = stored.run.id, 0, False
    for event in stored.events:
        if event.HasField("attempt_started"):
            if running or event.attempt != attempt + 1:
                verdict.say(
                    "P7", f"run {run_id}: attempt {event.attempt} began behind {attempt}, alive: {running}"
                )
            attempt, running = event.attempt, True
            verdict.figures["attempts"] += 1
        elif event.HasField("attempt_finished"):
            if not running or event.attempt != attempt:
                verdict.say("P7", f"run {run_id}: attempt {event.attempt} ended, and {attempt} was current")
            running = False
            verdict.figures["lost"] += event.attempt_finished.state == run_pb2.Attempt.STATE_LOST
        elif event.WhichOneof("event") in _TELLS and (not running or event.attempt != attempt):
            verdict.say(
                "P7", f"run {run_id}: attempt {event.attempt} wrote {event.sequence}, {attempt} is current"
            )
    starts = [event for event in stored.events if event.HasField("attempt_started")]
    told = [(event.attempt, event.attempt_started.owner) for event in starts]
    if told != [(one.number, one.owner) for one in stored.attempts]:
        verdict.say("P7", f"run {run_id}: its attempts are {stored.attempts}, its journal says {told}")


def _checkpoints(verdict: Verdict, stored: Stored) -> None:
    """P6: numbered from 1 without a gap, and no attempt leaves one out."""
    run_id, newest = stored.run.id, 0
    for event in stored.events:
        if event.HasField("checkpoint_saved"):
            if event.checkpoint_saved.number != newest + 1:
                verdict.say("P6", f"run {run_id}: checkpoint {event.checkpoint_saved.number} behind {newest}")
            newest = event.checkpoint_saved.number
            verdict.figures["checkpoints"] += 1
        elif event.HasField("attempt_started") and event.attempt_started.from_checkpoint != (newest > 0):
            verdict.say("P6", f"run {run_id}: attempt {event.attempt} leaves checkpoint {newest} out")


def _provider(verdict: Verdict, stored: Stored, nonces: Counter[str]) -> None:
    """P2, P6: what the code told is whole up to where its attempt ended, by one process, from the newest checkpoint on."""
    run, saving, newest = stored.run, ("0", "none"), ("0", "none")
    code = _Code(newest)
    for event in stored.events:
        if event.HasField("attempt_started"):
            code = _Code(newest)
        elif event.HasField("checkpoint_saved"):
            newest = saving
        if not event.HasField("log") or "nonce" not in event.log.attributes:
            continue
        for promise, what in code.flaws(event):
            verdict.say(promise, f"run {run.id}, event {event.sequence}: {what}")
        told = event.log.attributes
        if event.log.message == "saving":
            saving = (told["step"], told["nonce"])
        if event.log.message in ("step", "done"):
            nonces[told["nonce"]] += 1
    if run.state == run_pb2.Run.STATE_SUCCEEDED and f'"{code.last}"' not in run.output.json:
        verdict.say("P2", f"run {run.id}: its result is {run.output.json}, its code told {code.last!r}")


class _Code:
    """What one attempt of the storm's providers may tell next; it begins at a place that was saved."""

    def __init__(self, begins: tuple[str, str]) -> None:
        self.last = ""
        self._begins = begins
        self._process = ""
        self._step = -1

    def flaws(self, event: event_pb2.RunEvent) -> Iterator[tuple[str, str]]:
        """What is wrong with its next line: the promise, and why."""
        told, what, step = event.log.attributes, event.log.message, int(event.log.attributes["step"])
        if told["attempt"] != str(event.attempt):
            yield "P7", f"attempt {told['attempt']} wrote as {event.attempt}"
        self._process = self._process or told["process"]
        if told["process"] != self._process:
            yield "P7", f"two processes wrote to attempt {event.attempt}"
        if what == "from":
            if (told["step"], told["nonce"]) != self._begins:
                yield "P6", f"attempt {event.attempt} began at {dict(told)}, saved was {self._begins}"
        elif step != self._step + (what == "step"):
            yield "P4", f"step {step} ({what}) was told behind {self._step}, attempt {event.attempt}"
        self._step, self.last = step, told["nonce"] if what == "done" else self.last
