"""The gateway of one test. Tests of other services have a `harness` of their own."""

from collections.abc import AsyncIterator

import pytest

from services.gateway.pages.render import show_site
from services.gateway.site import Site
from tests.integration.gateway_harness import GatewayHarness, NewHarness, harnesses


@pytest.fixture
async def new_harness(keys: dict[str, str], redis_url: str) -> AsyncIterator[NewHarness]:
    """`await new_harness(rate_limits="on")`: a gateway with other settings."""
    async with harnesses(keys, redis_url) as make:
        yield make
    show_site(Site())


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    return await new_harness()
