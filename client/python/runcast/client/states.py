"""What a state of a run means to its watcher."""

from runcast.v1 import run_pb2

_FIRST_FINAL = 16
_PREFIX = "STATE_"


def is_final(state: int) -> bool:
    """Whether a run in this state stays as it is, also in a state that this client does not know yet."""
    return state >= _FIRST_FINAL


def state_name(state: int) -> str:
    """The state's name as documents write it, such as `RUNNING`; `STATE_99` for one that is not known."""
    known = run_pb2.Run.State.DESCRIPTOR.values_by_number.get(state)
    return known.name.removeprefix(_PREFIX) if known else f"{_PREFIX}{state}"


def state_of(name: str) -> run_pb2.Run.State.ValueType:
    """The state of that name, in any case; ValueError, listing the names, where there is none."""
    try:
        return run_pb2.Run.State.Value(_PREFIX + name.upper().removeprefix(_PREFIX))
    except ValueError:
        names = ", ".join(key.removeprefix(_PREFIX) for key in run_pb2.Run.State.keys()[1:])
        raise ValueError(f"there is no state {name!r}; there are {names}") from None
