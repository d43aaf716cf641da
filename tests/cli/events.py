"""A run and its events, made by hand."""

from typing import Any

from runcast.client import Run, RunEvent

BEGIN = 1_800_000_000
"""The run's first second, since 1970."""


class Story:
    """Makes one run's events, each with the next sequence, at a time in seconds after its beginning."""

    def __init__(self, provider: str = "work", max_attempts: int = 1) -> None:
        self.sequence = 0
        self.run = Run(id="run_1", provider=provider, state=Run.STATE_RUNNING, attempt=1)
        self.run.spec.retry.max_attempts = max_attempts
        self.run.create_time.FromSeconds(BEGIN)
        self.run.start_time.FromSeconds(BEGIN)

    def event(self, at: float = 0.0, attempt: int = 1, **fields: Any) -> RunEvent:
        """An event such as `event(progress={"completed": 3})`."""
        self.sequence += 1
        made = RunEvent(sequence=self.sequence, attempt=attempt, **fields)
        made.time.FromNanoseconds(round((BEGIN + at) * 1e9))
        return made
