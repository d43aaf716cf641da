"""The smallest provider there is: one parameter, one result."""

from typing import Annotated

from pydantic import Field

from runcast.provider import provider


@provider(title="Say hello", category="start here", icon="👋", tags=["hello"], idempotent=True)
async def greet(name: Annotated[str, Field(min_length=1, max_length=100)]) -> str:
    """Greet someone by name.

    Args:
        name: Who is greeted.
    """
    return f"Hello, {name}!"
