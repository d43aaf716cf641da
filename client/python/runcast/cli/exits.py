"""The exit codes of `runcast`, and which outcome of a run or error of a call each stands for."""

from collections.abc import Mapping
from enum import IntEnum


class Exit(IntEnum):
    """What `runcast` tells its caller; part of the interface, so numbers never change their meaning."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    TIMED_OUT = 4
    NOT_FOUND = 5
    NOT_ALLOWED = 6
    CONFLICT = 7
    WITH_ERRORS = 8
    STANDS_STILL = 9
    OVER_LIMIT = 10
    UNAVAILABLE = 69
    IMPATIENT = 124
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


class Left(Exception):
    """A person or the system asked this program to go; `code` is what it goes with."""

    def __init__(self, code: Exit) -> None:
        super().__init__(code.name)
        self.code = code


OF_STATE: Mapping[str, Exit] = {
    "SUCCEEDED": Exit.SUCCEEDED,
    "SUCCEEDED_WITH_ERRORS": Exit.WITH_ERRORS,
    "FAILED": Exit.FAILED,
    "CANCELLED": Exit.CANCELLED,
    "TIMED_OUT": Exit.TIMED_OUT,
    "PAUSED": Exit.STANDS_STILL,
    "INTERRUPTED": Exit.STANDS_STILL,
}

OF_STATUS: Mapping[str, Exit] = {
    "INVALID_ARGUMENT": Exit.USAGE,
    "OUT_OF_RANGE": Exit.USAGE,
    "NOT_FOUND": Exit.NOT_FOUND,
    "PERMISSION_DENIED": Exit.NOT_ALLOWED,
    "UNAUTHENTICATED": Exit.NOT_ALLOWED,
    "FAILED_PRECONDITION": Exit.CONFLICT,
    "ABORTED": Exit.CONFLICT,
    "ALREADY_EXISTS": Exit.CONFLICT,
    "RESOURCE_EXHAUSTED": Exit.OVER_LIMIT,
    "UNAVAILABLE": Exit.UNAVAILABLE,
    "DEADLINE_EXCEEDED": Exit.IMPATIENT,
}


def of_state(state: str) -> Exit:
    """What a run in this state counts as. A state that is not listed says nothing good, so it is a failure."""
    return OF_STATE.get(state, Exit.FAILED)


def of_status(code: str) -> Exit:
    """What a call that ended with this gRPC status counts as."""
    return OF_STATUS.get(code, Exit.FAILED)
