"""The command line: `runcast`. What a command needs is imported when it runs, so that `--help` answers at once."""

import os
import sys
from collections.abc import Sequence
from typing import Any

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
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, sys.stdout.fileno())
        os.dup2(silence, sys.stderr.fileno())
        code = Exit.BROKEN_PIPE
    sys.exit(int(code))


def _run(arguments: Sequence[str] | None) -> int:
    import typer

    from runcast.cli.app import build
    from runcast.cli.exits import Exit
    from runcast.cli.failures import Refused, complain, complain_of_usage

    # What typer raises for any wrong usage has no public name of its own.
    usage_error: Any = typer.BadParameter.__mro__[1]
    try:
        code = typer.main.get_command(build()).main(arguments, prog_name="runcast", standalone_mode=False)
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
