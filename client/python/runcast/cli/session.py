"""What every command has at hand: the server's address, the person's patience, and how to write."""

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runcast.cli.configuration import DEFAULT_SERVER, Setting
from runcast.cli.failures import Refused
from runcast.cli.follow.view import Progress
from runcast.cli.output import Format
from runcast.cli.terminal import Terminal, say

if TYPE_CHECKING:
    from runcast.client import Client, RpcError

    OnRetry = Callable[[RpcError, float], None]

_CALL = 30.0
PATIENCE = 300.0
"""Seconds for which a run is followed over a server that is away."""


@dataclass
class Session:
    """One call of a command. `timeout` is in seconds; `format` None leaves the choice to the command."""

    server: str = DEFAULT_SERVER
    way_there: tuple[str, ...] = ()
    """The words that were typed to reach the server, for those who come back to it."""
    timeout: float | None = None
    format: Format | None = None
    format_was_typed: bool = True
    progress: Progress = Progress.AUTO
    token: str | None = None
    tls: bool = False
    quiet: bool = False
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """All that this program goes by, and where it came from."""
    terminal: Terminal = field(default_factory=Terminal.here)
    following: str = ""
    """The id of the run that is being followed; it goes on where this program ends."""
    remedy: str = ""
    """What to do where what was typed is refused."""

    def client(self, on_lost: "OnRetry | None" = None) -> "Client":
        """A client for the server, which says at once where nobody answers: somebody who mistyped the address wants to
        hear. With `on_lost`, which is told of each failure, it is patient and outlives a restart of the server."""
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from runcast.client import Client

        patience = 0.0 if on_lost is None else PATIENCE
        return Client(
            self.server, token=self.token, tls=self.tls, timeout=_CALL, patience=patience, on_retry=on_lost
        )

    def command(self, *words: str) -> str:
        """A line that can be pasted into a shell: `runcast` with these words, at the same server."""
        return shlex.join(("runcast", *words, *self.way_there))

    def tell(self, words: str) -> None:
        """A line for a person; `-q` leaves it out."""
        if not self.quiet:
            say(words)

    def no_names(self) -> None:
        """Refuse `-o name` where what is shown has none."""
        if self.format is Format.NAME and not self.format_was_typed:
            self.format = None
        if self.format is Format.NAME:
            names = ", ".join(each for each in Format if each is not Format.NAME)
            raise Refused(f"-o name means nothing here; there is {names}")
