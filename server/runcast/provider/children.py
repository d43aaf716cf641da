"""Children of a run as a provider's code sees them: how they are named, and how they ended."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from runcast.provider.result import json_text
from runcast.server.model.call import AwaitChildren, ChildEnd, StartChild
from runcast.server.model.run import State

_PARAMETERS = 256 * 1024
_GOOD = (State.SUCCEEDED.name, State.SUCCEEDED_WITH_ERRORS.name)


class Child(Struct, frozen=True):
    """A run that was started under this one; plain data that may be kept in a checkpoint."""

    run_id: str


class EndedChild(Struct, frozen=True):
    """How a child ended: `state` by name (SUCCEEDED, FAILED, CANCELLED …), `output` as Python data, None without one.

    `error_reason` and `error_message` are empty unless it failed, was cancelled or timed out.
    """

    run_id: str
    state: str
    output: Any = None
    error_reason: str = ""
    error_message: str = ""
    summary: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether it came to its end, with failed targets or without."""
        return self.state in _GOOD


class Keys:
    """Names the children of one attempt as every attempt names them, so that a later one finds them again.

    A key of the author's own names one child. Without one, the name is made of what is to run, with which parameters,
    and the how-many-th of its like it is.
    """

    def __init__(self) -> None:
        self._equals: Counter[str] = Counter()

    def question(
        self,
        provider: str,
        parameters: Mapping[str, Any] | None,
        *,
        task: str,
        key: str,
        labels: Mapping[str, str] | None,
        survive: bool,
    ) -> StartChild:
        """What to ask for, so that the child is started once. ProviderError where the parameters are no JSON."""
        text = (
            "" if parameters is None else json_text(dict(parameters), "the child's parameters", _PARAMETERS)
        )
        name = f"key {key}" if key else self._made(json.dumps([provider, task]), text)
        return StartChild(name, provider, task, text, dict(labels or {}), survive)

    def _made(self, what: str, text: str) -> str:
        plain = json.dumps(json.loads(text or "{}"), sort_keys=True)
        like = hashlib.blake2b(f"{what} {plain}".encode(), digest_size=16).hexdigest()
        self._equals[like] += 1
        return f"{like} {self._equals[like]}"


class Wait:
    """A wait for all of some children, which may be told in portions; each is asked for once."""

    def __init__(self, children: Iterable[Child | str]) -> None:
        self.run_ids = ids_of(children)
        self._ends: dict[str, EndedChild] = {}

    @property
    def question(self) -> AwaitChildren | None:
        """What is still to be asked; None once all have ended."""
        left = tuple(run_id for run_id in dict.fromkeys(self.run_ids) if run_id not in self._ends)
        return AwaitChildren(left) if left else None

    def take(self, ends: Iterable[ChildEnd]) -> None:
        """Some have ended."""
        self._ends.update((end.run_id, ended(end)) for end in ends)

    @property
    def ended(self) -> list[EndedChild]:
        """All of them, in the order in which they were given."""
        return [self._ends[run_id] for run_id in self.run_ids]


def first_of(children: Iterable[Child | str]) -> AwaitChildren:
    """The question which of them ends first."""
    run_ids = ids_of(children)
    if not run_ids:
        raise ValueError("wait_any needs at least one child to wait for")
    return AwaitChildren(tuple(dict.fromkeys(run_ids)), any=True)


def ids_of(children: Iterable[Child | str]) -> list[str]:
    """Their ids."""
    return [child if isinstance(child, str) else child.run_id for child in children]


def ended(end: ChildEnd) -> EndedChild:
    """As plain data."""
    error = end.error
    return EndedChild(
        end.run_id,
        end.state.name,
        json.loads(end.output) if end.output else None,
        error.reason if error else "",
        error.message if error else "",
        end.summary,
    )
