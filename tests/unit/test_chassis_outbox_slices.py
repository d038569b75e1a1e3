"""How many slices of an outbox each relay owns."""

import pytest

from services.chassis.messaging.outbox_slices import SLICES, fair_share


@pytest.mark.parametrize("relays", range(1, 2 * SLICES))
def test_all_slices_are_shared_evenly(relays: int) -> None:
    shares = [fair_share(place, relays) for place in range(relays)]
    assert sum(shares) == SLICES
    assert max(shares) - min(shares) <= 1
