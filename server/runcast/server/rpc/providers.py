"""ProviderService: what this server can run."""

from runcast.server.engine.engine import Engine
from runcast.server.model.errors import InvalidArgument
from runcast.server.model.provider import Provider
from runcast.server.rpc import pages
from runcast.server.rpc.handlers import Context
from runcast.server.rpc.messages import provider_message
from runcast.v1 import provider_service_pb2 as pb


class ProviderServicer:
    """Both RPCs of ProviderService."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def GetProvider(self, request: pb.GetProviderRequest, context: Context) -> pb.GetProviderResponse:  # noqa: N802
        """One provider."""
        if not request.name:
            raise InvalidArgument.of("name", "required: the name of a provider")
        return pb.GetProviderResponse(provider=provider_message(self._engine.provider(request.name)))

    async def ListProviders(  # noqa: N802
        self, request: pb.ListProvidersRequest, context: Context
    ) -> pb.ListProvidersResponse:
        """A page of providers, by name."""
        limit = pages.size_of(request.page_size)
        position = pages.position_of(request, request.page_token, str)
        found = [
            provider
            for provider in self._engine.providers()
            if (position is None or provider.name > position[0]) and _matches(provider, request)
        ]
        response = pb.ListProvidersResponse()
        response.providers.extend(pages.fitting(provider_message(provider) for provider in found[:limit]))
        if len(response.providers) < len(found):
            response.next_page_token = pages.token_for(request, response.providers[-1].name)
        return response


def _matches(provider: Provider, request: pb.ListProvidersRequest) -> bool:
    wanted = request.filter
    text = wanted.text.casefold()
    words = f"{provider.name} {provider.title} {provider.description} {' '.join(provider.tags)}".casefold()
    return (
        (not wanted.category or provider.category == wanted.category)
        and set(wanted.tags) <= set(provider.tags)
        and text in words
    )
