"""What the author of a provider imports: the decorator, the contexts, policies and errors."""

from runcast.provider.children import Child, EndedChild
from runcast.provider.context import Context, SyncContext
from runcast.provider.decorator import provider
from runcast.provider.definition import Provider
from runcast.provider.errors import Cancelled, CheckpointIncompatible, InvalidProvider, ProviderError
from runcast.provider.registry import Registry
from runcast.provider.spec import Retry, Timeouts

__all__ = [
    "Cancelled",
    "CheckpointIncompatible",
    "Child",
    "Context",
    "EndedChild",
    "InvalidProvider",
    "Provider",
    "ProviderError",
    "Registry",
    "Retry",
    "SyncContext",
    "Timeouts",
    "provider",
]
