"""What the engine knows of providers: how they describe themselves, and whether parameters fit them."""

from collections.abc import Sequence
from typing import Protocol

from runcast.server.model.provider import Provider


class Catalog(Protocol):
    """The providers that this server can execute; read-only while it runs."""

    def describe(self) -> Sequence[Provider]:
        """All of them, by name."""

    def validate(self, name: str, json_text: str) -> str:
        """Canonical JSON parameters with defaults filled in; InvalidArgument with a violation for each wrong field."""

    def check_given(self, name: str, json_text: str) -> None:
        """The same of parameters that are still incomplete: only those that are given are checked."""
