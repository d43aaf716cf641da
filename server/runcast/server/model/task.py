"""The task: a stored, named definition of what to run, and which tasks a list carries."""

from typing import Any

from msgspec import Struct, field

from runcast.server.model.run import Payload


class Task(Struct, frozen=True):
    """A provider with parameters, policies and labels, and a switch.

    `version` rises with each commit, from 0. `spec` holds only the fields that the task states, nested as in the
    model's Spec (`{"timeouts": {"run": 5_000_000}, "priority": 3}`); all others come from the provider. `input` may
    be incomplete: a start's parameters are merged over it.
    """

    id: str
    version: int
    create_time: int
    update_time: int
    provider: str
    display_name: str = ""
    description: str = ""
    input: Payload = Payload(json="")
    spec: dict[str, Any] = field(default_factory=dict)
    enabled: bool = False
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """Changes with each update; also that of a task which was deleted and made again is another."""
        return f"{self.version}-{self.create_time:x}"

    @property
    def generation(self) -> int:
        """Counts the updates, from 1."""
        return self.version + 1


class TaskFilter(Struct, frozen=True):
    """Which tasks to list; an empty field filters nothing, all given ones must hold."""

    provider: str = ""
    orphaned: bool = False
    enabled: bool | None = None
    labels: dict[str, str] = field(default_factory=dict)
    text: str = ""
