"""What went wrong, as lines for a person and a code for a program; never a traceback."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from runcast.cli import exits, text
from runcast.cli.exits import Exit

if TYPE_CHECKING:
    from runcast.client import RpcError

DEBUG = "RUNCAST_DEBUG"
_REMEDIES = {
    "RUN_ID_TAKEN": "With --use-existing, the run that has the id is taken.",
    "TASK_DISABLED": "Switch it on with:  runcast tasks enable TASK",
    "REQUEST_ID_REUSED": "A request id stands for one start: use a new one for another.",
}


class Refused(Exception):
    """The command cannot be carried out as it was given.

    `details` are what is wrong one by one, as (field, what is wrong with it); `remedy` is what to do instead.
    """

    def __init__(
        self,
        message: str,
        *,
        details: Iterable[tuple[str, str]] = (),
        remedy: str = "",
        code: Exit = Exit.USAGE,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.remedy = remedy
        self.code = code


def complain(message: str, details: Iterable[tuple[str, str]] = (), remedy: str = "") -> None:
    """Write an error to stderr: the message, what is wrong one by one, and what to do."""
    lines = [f"error: {text.clean(message).strip()}"]
    lines += [f"  {text.line(subject)}: {text.line(what)}" for subject, what in details]
    if remedy:
        lines += remedy.splitlines()
    sys.stderr.write("\n".join(lines) + "\n")


def report(error: Exception, target: str, remedy: str = "") -> Exit:
    """Tell a person of an error, and answer with the code for it. `target` is the server that was asked, `remedy` what
    to do where what was typed is refused."""
    if isinstance(error, Refused):
        complain(error.message, error.details, error.remedy or (remedy if error.details else ""))
        return error.code
    if isinstance(error, OSError):
        if not error.filename:
            raise error  # the output: whoever called this program is to know that it is not complete
        complain(f"{error.filename}: {error.strerror}")
        return Exit.USAGE
    from runcast.client import RpcError, RuncastError

    if isinstance(error, RpcError):
        return _report_call(error, target, remedy)
    if isinstance(error, (RuncastError, ValueError)):
        complain(str(error))
        return Exit.FAILED if isinstance(error, RuncastError) else Exit.USAGE
    return _report_bug(error)


def _report_call(error: "RpcError", target: str, remedy: str) -> Exit:
    message = text.line(error.message)
    if error.code != "INVALID_ARGUMENT":
        remedy = ""
    if error.code == "UNAVAILABLE" and not error.reason:
        why = message.rpartition(": ")[2] or "no connection"
        message = f"no server answers at {target} ({why[:1].lower() + why[1:]})"
        remedy = "Is the server running? Start one with:  runcast dev"
    elif error.code == "DEADLINE_EXCEEDED":
        message = f"{target} did not answer in time; what was asked for may have happened"
    elif error.code == "UNIMPLEMENTED" and not error.reason:
        message = f"the server at {target} is not a Runcast server, or an older one ({message})"
    elif error.reason in _REMEDIES:
        remedy = _REMEDIES[error.reason]
    elif error.retry_after is not None:
        remedy = f"Try again in {text.duration(error.retry_after)}."
    details = [(v.subject, v.description) for v in error.violations]
    if len(details) == 1 and details[0][1] in error.message:
        details = []
    complain(message or error.code, details, remedy)
    return exits.of_status(error.code)


def _report_bug(error: Exception) -> Exit:
    if os.environ.get(DEBUG):
        raise error
    complain(
        f"{type(error).__name__}: {error}",
        remedy=f"This is a bug of runcast, not of your run. {DEBUG}=1 shows where it happened.",
    )
    return Exit.FAILED


def check_words(words: Sequence[str]) -> None:
    """Refuse what was typed, or came out of another program, and is no text."""
    for number, word in enumerate(words, 1):
        try:
            word.encode()
        except UnicodeEncodeError:
            shown = repr(os.fsencode(word))[1:]
            raise Refused(
                f"argument {number} is not UTF-8: {shown}",
                remedy="Bytes that are no text can be given in a file that holds them as JSON:  --params @FILE",
            ) from None


def complain_of_usage(error: Any) -> Exit:
    """What typer found wrong with the words of the command line."""
    context = error.ctx
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error.message or error.format_message()}\n")
        return Exit.USAGE
    message = error.format_message().rstrip(".").replace("Value error, ", "")
    complain(
        message[:1].lower() + message[1:], remedy=f"Try:  {context.command_path} --help" if context else ""
    )
    return Exit.USAGE
