"""What chance may choose: the specs of runs, what their code reports and how it ends."""

from hypothesis import strategies as st

from runcast.server.model.call import Abandoned, End, Raised, Returned, Stopped
from runcast.server.model.event import LogLine, PartialResult, Report, SaveCheckpoint, Severity, Summary
from runcast.server.model.run import (
    Definition,
    EntityRef,
    Error,
    Failure,
    Initiator,
    Payload,
    Progress,
    Recovery,
    Retry,
    Spec,
    Timeouts,
)
from tests.model.life import SECOND

LONGEST_WAIT = 30 * SECOND

dice = st.floats(0, 1)
sure = st.sampled_from([False, False, False, True])
steps = st.one_of(st.just(0), st.just(1), st.integers(0, 5 * SECOND), st.integers(0, 30 * SECOND))
_limits = st.one_of(st.none(), st.none(), st.integers(1, 60 * SECOND))
_timeouts = st.builds(
    Timeouts,
    queue=_limits,
    attempt=_limits,
    run=st.one_of(st.none(), st.integers(1, 600 * SECOND)),
    heartbeat=_limits,
    cancel_grace=st.integers(0, 20 * SECOND),
)
retry_policies = st.builds(
    Retry,
    max_attempts=st.sampled_from([1, 2, 3, 3, 5]),
    initial_backoff=st.integers(0, LONGEST_WAIT),
    max_backoff=st.integers(0, LONGEST_WAIT),
    multiplier=st.one_of(st.floats(1, 4), st.just(1e300)),
    jitter=st.floats(0, 1),
    non_retryable_reasons=st.sampled_from([(), ("BAD_INPUT",), ("TIMEOUT_ATTEMPT", "PROVIDER_STOPPED")]),
)
definitions = st.builds(
    Definition,
    provider=st.just("work"),
    spec=st.builds(
        Spec,
        timeouts=_timeouts,
        retry=retry_policies,
        recovery=st.one_of(st.just(Recovery.RESUME), st.sampled_from(Recovery)),
        retention=_limits,
    ),
    idempotent=st.booleans(),
    checkpointing=st.booleans(),
    pausable=st.sampled_from([True, True, False]),
)
start_times = st.one_of(st.none(), st.integers(-SECOND, 60 * SECOND))
initiators = st.sampled_from([i for i in Initiator if i is not Initiator.DEADLINE])
graces = st.one_of(st.none(), st.integers(0, 30 * SECOND))

_errors = st.builds(
    Error,
    code=st.just(2),
    reason=st.sampled_from(["PROVIDER_EXCEPTION", "BAD_INPUT"]),
    message=st.just("it broke"),
    metadata=st.sampled_from([{}, {}, {"retryable": "false"}]),
)
failures = st.builds(Raised, _errors, st.sampled_from(["", "Traceback …"]))
stops: st.SearchStrategy[End] = st.sampled_from([Stopped(), Stopped(killed=True), Abandoned()])
ends: st.SearchStrategy[End] = st.one_of(stops, failures, failures, st.just(Returned('{"done":true}')))
_reports: st.SearchStrategy[Report] = st.sampled_from(
    [
        LogLine(Severity.INFO, "a line"),
        Progress(0.25, 1, 4, "files", "hash", "a.txt"),
        SaveCheckpoint(b"so far", 2),
        Failure("a.txt", "unreadable", "no permission"),
        EntityRef("file", "a.txt"),
        PartialResult(Payload(json="1")),
        Summary("one of four"),
    ]
)
reports = st.lists(_reports, max_size=4)
