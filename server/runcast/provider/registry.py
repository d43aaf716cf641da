"""The providers that a server knows, by name."""

import difflib
from typing import Any

from runcast.provider.definition import Provider
from runcast.server.model import provider as model
from runcast.server.model.errors import InvalidArgument, NotFound


class Registry:
    """Filled once, at start; `load` does it from modules and files."""

    def __init__(self) -> None:
        self._providers: dict[str, Provider[..., Any]] = {}

    def add(self, provider: Provider[..., Any]) -> None:
        """The same object may be added again; InvalidArgument where another one has its name."""
        known = self._providers.setdefault(provider.name, provider)
        if known is not provider:
            message = f"two providers are called {provider.name!r}: one at {known.where}, one at {provider.where}; give one of them another name"
            raise InvalidArgument.of("providers", message)

    def get(self, name: str) -> Provider[..., Any]:
        """NotFound of kind "provider", with the names that come close."""
        try:
            return self._providers[name]
        except KeyError:
            close = difflib.get_close_matches(name, self._providers, n=3)
            remedy = f"did you mean {' or '.join(close)}?" if close else "ListProviders tells which there are"
            raise NotFound("provider", name, remedy) from None

    @property
    def names(self) -> list[str]:
        """Sorted."""
        return sorted(self._providers)

    def describe(self) -> list[model.Provider]:
        """Sorted by name."""
        return [self._providers[name].description for name in self.names]

    def validate(self, name: str, text: str) -> str:
        """Input as JSON text, checked and with defaults filled in; NotFound, or InvalidArgument with its violations."""
        return self.get(name).validate(text)

    def check_given(self, name: str, text: str) -> None:
        """The same of input that is still incomplete: only what is given is checked."""
        self.get(name).check_given(text)

    def __len__(self) -> int:
        return len(self._providers)

    def __contains__(self, name: object) -> bool:
        return name in self._providers
