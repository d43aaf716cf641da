"""The command line: `runcast`. What a command needs is imported when it runs, so that `--help` answers at once."""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program by these arguments, or by those it was called with; exits with its code."""
    from runcast.cli.exits import Exit

    try:
        code = _run(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        # Whoever read the output has enough. Nothing may be written any more, not even as the interpreter ends.
        _silence(sys.stdout, sys.stderr)
        code = Exit.BROKEN_PIPE
    except OSError as error:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"error: the output could not be written: {error.strerror or error}\n")
            sys.stderr.flush()
        _silence(sys.stdout, sys.stderr)
        code = Exit.FAILED
    sys.exit(int(code))


def _silence(*streams: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())


def _run(arguments: Sequence[str] | None) -> int:
    import typer

    from runcast.cli.app import build
    from runcast.cli.completing import COMPLETING, prepare_shells
    from runcast.cli.exits import Exit
    from runcast.cli.failures import Refused, check_words, complain, complain_of_usage

    # What typer raises for any wrong usage has no public name of its own.
    usage_error: Any = typer.BadParameter.__mro__[1]
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        check_words(words)
        if COMPLETING in os.environ:
            prepare_shells()
        code = typer.main.get_command(build()).main(words, prog_name="runcast", standalone_mode=False)
    except usage_error as error:
        return complain_of_usage(error)
    except Refused as error:
        complain(error.message, error.details, error.remedy)
        return error.code
    except SystemExit:  # typer's answer to a broken pipe, which is not ours
        raise BrokenPipeError from None
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    return code if isinstance(code, int) else Exit.SUCCEEDED
