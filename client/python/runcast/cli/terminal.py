"""What the two output streams can show, and rich consoles for them that nobody pays for before they are used."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_NO = ("", "0", "false", "no")
# Wide enough that nothing is cut where no terminal would cut it either.
_UNLIMITED = 100_000


@dataclass(frozen=True)
class Terminal:
    """What stdout and stderr are. `live` is whether lines on stderr may be redrawn, `unicode` whether it can
    show more than ASCII."""

    out_is_terminal: bool
    err_is_terminal: bool
    colour: bool
    live: bool
    unicode: bool

    @classmethod
    def of(cls, environment: Mapping[str, str], out: TextIO, err: TextIO) -> "Terminal":
        """What these streams are in this environment: `NO_COLOR`, `CI` and `TERM=dumb` are respected."""
        dumb = environment.get("TERM") in ("dumb", "unknown")
        err_is_terminal = err.isatty()
        return cls(
            out_is_terminal=out.isatty(),
            err_is_terminal=err_is_terminal,
            colour=not dumb and not environment.get("NO_COLOR"),
            live=err_is_terminal and not dumb and environment.get("CI", "").lower() in _NO,
            unicode=(err.encoding or "").lower().startswith("utf"),
        )

    @classmethod
    def here(cls) -> "Terminal":
        """What this program's own streams are."""
        return cls.of(os.environ, sys.stdout, sys.stderr)

    @cached_property
    def out(self) -> "Console":
        """For data. In a pipe it has no colour and no width: nothing is cut or wrapped there."""
        return self._console(self.out_is_terminal, stderr=False)

    @cached_property
    def err(self) -> "Console":
        """For everything else."""
        return self._console(self.err_is_terminal, stderr=True)

    def _console(self, is_terminal: bool, *, stderr: bool) -> "Console":
        from rich.console import Console

        class Plain(Console):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError

        return Plain(
            stderr=stderr,
            force_terminal=is_terminal,
            color_system="auto" if self.colour else None,
            width=None if is_terminal else _UNLIMITED,
            markup=False,
            emoji=False,
            highlight=False,
        )


def say(text: str) -> None:
    """One line for a person, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
