"""The run: its states, the snapshot it was started from, what it led to, and the small part that changes often."""

from enum import IntEnum

from msgspec import Struct, field


class State(IntEnum):
    """Where a run is in its life; the values are those of the wire. Final ones are 16 and above."""

    SCHEDULED = 1
    QUEUED = 2
    RUNNING = 3
    BACKING_OFF = 4
    PAUSING = 5
    PAUSED = 6
    INTERRUPTED = 7
    CANCELLING = 8
    SUCCEEDED = 16
    SUCCEEDED_WITH_ERRORS = 17
    FAILED = 18
    CANCELLED = 19
    TIMED_OUT = 20

    final: bool
    """Whether the run has ended; final runs never change."""

    executing: bool
    """Whether an attempt's code may be running."""

    def __init__(self, value: int) -> None:
        # Attributes and not properties: they are looked at a dozen times for each run.
        self.final = value >= 16
        self.executing = value in (3, 5, 8)


class Execution(IntEnum):
    """What runs a provider's code."""

    ASYNC = 1
    THREAD = 2
    PROCESS = 3
    SHELL = 4


class Recovery(IntEnum):
    """What happens to a running run whose server is lost."""

    RESUME = 1
    HOLD = 2
    RESUME_ON_WATCH = 3
    FAIL = 4


class ParentClose(IntEnum):
    """What a child does when its parent is cancelled."""

    CANCEL = 1
    SURVIVE = 2


class AttemptState(IntEnum):
    """How one attempt stands or ended."""

    RUNNING = 1
    SUCCEEDED = 2
    FAILED = 3
    CANCELLED = 4
    TIMED_OUT = 5
    LOST = 6
    RELEASED = 7
    PAUSED = 8


class Initiator(IntEnum):
    """Who asked for a cancellation."""

    CLIENT = 1
    PARENT = 2
    DISCONNECT = 3
    DEADLINE = 4
    PROVIDER = 5
    SERVER = 6
    SCHEDULE = 7
    QUEUE = 8


class CancelOutcome(IntEnum):
    """What a cancellation led to."""

    PENDING = 1
    ACKNOWLEDGED = 2
    KILLED = 3
    ABANDONED = 4
    TOO_LATE = 5


class StopCause(IntEnum):
    """Why an executing attempt was asked to stop; the first committed cause decides."""

    CANCEL = 1
    PAUSE = 2
    ATTEMPT_TIMEOUT = 3
    HEARTBEAT_TIMEOUT = 4
    RUN_TIMEOUT = 5
    RELEASE = 6


class Payload(Struct, frozen=True, array_like=True, omit_defaults=True):
    """Parameters or a result: exactly one of JSON text, bytes, or an artifact's name."""

    content_type: str = "application/json"
    json: str | None = None
    data: bytes | None = None
    artifact: str | None = None


class Timeouts(Struct, frozen=True, array_like=True):
    """In microseconds; None means without limit. `cancel_grace` is how long asked-to-stop code may take."""

    queue: int | None = None
    attempt: int | None = 300_000_000
    run: int | None = None
    heartbeat: int | None = None
    cancel_grace: int = 10_000_000


class Retry(Struct, frozen=True, array_like=True):
    """When a failed attempt is followed by another. `max_attempts` counts the first one; `jitter` is 0 to 1."""

    max_attempts: int = 1
    initial_backoff: int = 1_000_000
    max_backoff: int = 300_000_000
    multiplier: float = 2.0
    jitter: float = 1.0
    non_retryable_reasons: tuple[str, ...] = ()


class Spec(Struct, frozen=True, array_like=True):
    """How a run is to be executed; `max_failures` 0 means any number, `retention` None means kept for good."""

    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    recovery: Recovery = Recovery.HOLD
    queue: str = "default"
    priority: int = 0
    concurrency_key: str = ""
    rate_limit_key: str = ""
    max_failures: int = 0
    retention: int | None = None


class Definition(Struct, frozen=True, array_like=True):
    """The snapshot a run was started from; written once. `targets`: what a retry is to work on, empty for all."""

    provider: str = ""
    spec: Spec = Spec()
    input: Payload = Payload()
    execution: Execution = Execution.ASYNC
    idempotent: bool = False
    checkpointing: bool = False
    pausable: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    task: str = ""
    task_generation: int = 0
    parent_run: str = ""
    parent_close: ParentClose = ParentClose.CANCEL
    retry_of: str = ""
    schedule: str = ""
    principal: str = ""
    trace_parent: str = ""
    targets: tuple[str, ...] = ()


class Error(Struct, frozen=True, array_like=True):
    """Why a run or an attempt failed: a google.rpc code, a stable reason, and words for a person."""

    code: int
    reason: str
    message: str
    metadata: dict[str, str] = field(default_factory=dict)


class Progress(Struct, frozen=True, array_like=True, tag=4, tag_field="event"):
    """How far a run says it is; `fraction` 0 to 1, `total` 0 = unknown."""

    fraction: float | None = None
    completed: int = 0
    total: int = 0
    unit: str = ""
    stage: str = ""
    message: str = ""
    estimated_end_time: int | None = None


class Failure(Struct, frozen=True, array_like=True, tag=9, tag_field="event"):
    """One failed target of a run that goes on."""

    target: str
    code: str = ""
    message: str = ""


class EntityRef(Struct, frozen=True, array_like=True, tag=10, tag_field="event"):
    """Something in the user's world that the run touched."""

    type: str
    id: str
    error: str = ""


class Outcome(Struct, frozen=True, array_like=True):
    """What a run has led to so far; `failures` keeps the first 1,000. The attempt's own error stands beside the run's."""

    output: Payload | None = None
    error: Error | None = None
    summary: str = ""
    failures: tuple[Failure, ...] = ()
    refs: tuple[EntityRef, ...] = ()
    attempt_error: Error | None = None
    traceback: str = ""


class Cancellation(Struct, frozen=True, array_like=True):
    """Who asked for the end, when, and what came of it."""

    initiator: Initiator
    reason: str
    request_time: int
    outcome: CancelOutcome = CancelOutcome.PENDING
    acknowledge_time: int | None = None
    kill_time: int | None = None
    immediate: bool = False


class OnDisconnect(IntEnum):
    """What happens to a run whose owner's stream is gone for longer than the grace; the values are those of the wire."""

    CANCEL = 2
    PAUSE = 3


class Attachment(Struct, frozen=True, array_like=True):
    """Whose interest the run depends on: a lease of the stream that holds it until `held_until`, or, once that is gone,
    `grace` microseconds from `gone_time` on."""

    id: str
    policy: OnDisconnect
    grace: int
    held_until: int
    gone_time: int | None = None


class Attempt(Struct, frozen=True, array_like=True):
    """One try at a run. The latest lives on the run (its error and traceback in the outcome), earlier ones in rows of their own."""

    number: int
    state: AttemptState
    owner: str
    start_time: int
    end_time: int | None = None
    heartbeat_time: int | None = None
    from_checkpoint: bool = False
    error: Error | None = None
    traceback: str = ""


class Checkpoint(Struct, frozen=True, array_like=True):
    """What a provider saved to go on from; `number` rises by one with each save of the run."""

    number: int
    data: bytes
    schema_version: int = 0


class Run(Struct, frozen=True, array_like=True):
    """One durable execution. All but `definition` and `outcome` is the hot row, kept within 1 KiB.

    `version` rises with each commit, from 0. `owner` is the boot id of the server that executes it, or "".
    `wake_time` is the earliest instant at which something must happen to the run although nobody calls.
    `tries` counts attempts that used up the retry policy; `crashes` those that were lost with their server.
    `run_deadline` runs, or `run_budget` stands still while the run is paused or interrupted.
    `stop_cause`: why the attempt was asked to stop; it is killed at `stop_deadline`, and was at `kill_time`.
    `children` were started under it; while `cascading`, its end has still to reach those that do not survive it.
    A new field goes behind all others, so that what was stored before it is still read.
    """

    id: str
    version: int
    state: State
    create_time: int
    attempt: int = 0
    owner: str = ""
    wake_time: int | None = None
    first_sequence: int = 1
    last_sequence: int = 0
    current: Attempt | None = None
    progress: Progress | None = None
    cancellation: Cancellation | None = None
    tries: int = 0
    crashes: int = 0
    failure_count: int = 0
    checkpoint_number: int = 0
    queue_time: int | None = None
    start_time: int | None = None
    end_time: int | None = None
    next_attempt_time: int | None = None
    run_deadline: int | None = None
    run_budget: int | None = None
    stop_cause: StopCause | None = None
    stop_deadline: int | None = None
    kill_time: int | None = None
    expire_time: int | None = None
    definition: Definition = Definition()
    outcome: Outcome = Outcome()
    attachment: Attachment | None = None
    children: int = 0
    cascading: bool = False

    @property
    def spec(self) -> Spec:
        """How it is executed, resolved when it was started."""
        return self.definition.spec


class RunFilter(Struct, frozen=True):
    """Which runs to list; an empty field filters nothing, all given ones must hold. Times: after inclusive, before exclusive."""

    states: frozenset[State] = frozenset()
    provider: str = ""
    task: str = ""
    schedule: str = ""
    parent_run: str = ""
    queue: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    ref: EntityRef | None = None
    created_after: int | None = None
    created_before: int | None = None
    text: str = ""
    interrupted_only: bool = False


class Page(Struct, frozen=True):
    """Which part of a list: at most `limit` runs behind the position (create_time, id), newest first unless `ascending`."""

    limit: int
    after: tuple[int, str] | None = None
    ascending: bool = False
