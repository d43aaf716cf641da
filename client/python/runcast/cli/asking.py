"""Questions before what cannot be taken back; where nobody can be asked, a refusal that says `--yes`."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from runcast.cli.exits import Exit
from runcast.cli.failures import Refused

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it is meant.")]


def ask(why: str, question: str, nothing: str) -> None:
    """Ask a person; Refused where the answer is no (`nothing` says what did not happen), or where nobody is there."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(f"{why}; {nothing}", remedy="Say --yes if you mean it.")
    if _answer(f"{why}.\n{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise Refused(nothing, code=Exit.CANCELLED)


def _answer(question: str) -> str:
    with _plain_interrupt():
        sys.stderr.write(question)
        sys.stderr.flush()
        try:
            return input()
        except EOFError:
            return ""


@contextlib.contextmanager
def _plain_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the question: asyncio would wait until it is answered."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
