"""The address of a client behind proxies, as proxies really write it."""

import pytest

from services.chassis.http.client_networks import Networks, network_of
from services.gateway.access.client_ip import ClientAddresses

PROXY = "192.0.2.1"
ADDRESSES = ClientAddresses(Networks(["192.0.2.0/24", "2001:db8:ffff::/48"]))

WRITTEN = [
    ("203.0.113.7", "203.0.113.7"),
    ("203.0.113.7:1111", "203.0.113.7"),
    ('"203.0.113.7:1111"', "203.0.113.7"),
    (" \t203.0.113.7 \t", "203.0.113.7"),
    ("[203.0.113.7]", "203.0.113.7"),
    ("[203.0.113.7]:80", "203.0.113.7"),
    ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
    ("[2001:db8:1:2::7]", "2001:db8:1:2::/64"),
    ("[2001:db8:1:2::7]:1111", "2001:db8:1:2::/64"),
    ('"[2001:db8:1:2::7]:1111"', "2001:db8:1:2::/64"),
    ("2001:DB8:1:2:0:0:0:7", "2001:db8:1:2::/64"),
    ("2001:db8:1:2:0:0:0:7:1111", "2001:db8:1:2::/64"),
    ("fe80::7%eth0", "fe80::/64"),
    ("[fe80::7%25eth0]:1111", "fe80::/64"),
    ("::ffff:203.0.113.7", "203.0.113.7"),
    ("[::ffff:203.0.113.7]:1111", "203.0.113.7"),
    ("::ffff:203.0.113.7:1111", "203.0.113.7"),
    ("::FFFF:cb00:7107", "203.0.113.7"),
    ("64:ff9b::203.0.113.7", "203.0.113.7"),
]


@pytest.mark.parametrize(("written", "counted"), WRITTEN)
def test_every_spelling_of_an_address_is_counted_as_one(written: str, counted: str) -> None:
    assert network_of(ADDRESSES.client(PROXY, [written])) == counted
    assert network_of(ADDRESSES.client(PROXY, [f"198.51.100.77, {written}, 192.0.2.9:443"])) == counted


@pytest.mark.parametrize(
    "written",
    [
        *("unknown", "_hidden", '"_hidden:80"', "localhost", "-", "203.0.113", "203.0.113.7.9", "203.0.113.256"),
        *("203.0.113.7:", "203.0.113.7:port", "203.0.113.7:1:2", "203.0.113.7/24", "[203.0.113.7", "203.0.113.7]"),
        *("[2001:db8::7]x", "[2001:db8::7]:99999999", "0203.0.113.7", "٢٠٣.0.113.7", "203.0.113.7\x00", '"', "[]"),
        *("for=203.0.113.7", "::1%", "%eth0", ":80"),
    ],
)
def test_what_is_no_address_is_counted_as_the_peer(written: str) -> None:
    """Whoever made that up, or a proxy that hides its clients: they share the limit of the proxy."""
    assert network_of(ADDRESSES.client(PROXY, [written])) == PROXY
    assert network_of(ADDRESSES.client(PROXY, [f"203.0.113.7, {written}"])) == PROXY
    assert network_of(ADDRESSES.client(PROXY, [f"{written}, 203.0.113.7"])) == "203.0.113.7"


@pytest.mark.parametrize("empty", [[], [""], [" , ,, "], ["", ""]])
def test_empty_entries_are_none(empty: list[str]) -> None:
    assert network_of(ADDRESSES.client(PROXY, empty)) == PROXY
    assert network_of(ADDRESSES.client(PROXY, ["203.0.113.7", *empty])) == "203.0.113.7"


def test_only_trusted_proxies_are_believed_in_whatever_form_they_are_seen() -> None:
    forged = ["198.51.100.77, 203.0.113.7"]
    for peer in (PROXY, f"::ffff:{PROXY}", "2001:db8:ffff::1", "2001:db8:ffff::1%eth0"):
        assert ADDRESSES.client(peer, forged) == "203.0.113.7"
        assert ADDRESSES.client(peer, ["203.0.113.7", "[2001:db8:ffff::9]:80, ::ffff:192.0.2.5"]) == "203.0.113.7"
    for peer in ("198.51.100.1", "::ffff:198.51.100.1", "2001:db8:fffe::1"):
        assert ADDRESSES.client(peer, forged) == peer
    assert ADDRESSES.client(None, forged) is None


def test_trusted_networks_may_be_written_as_mapped_ones() -> None:
    mapped = ClientAddresses(Networks(["::ffff:192.0.2.0/120"]))
    for peer in (PROXY, f"::ffff:{PROXY}"):
        assert mapped.client(peer, ["203.0.113.7"]) == "203.0.113.7"
    assert mapped.client("198.51.100.1", ["203.0.113.7"]) == "198.51.100.1"


def test_everything_trusted_leaves_the_farthest_address() -> None:
    everything = ClientAddresses(Networks(["0.0.0.0/0", "::/0"]))
    assert everything.client(PROXY, ["203.0.113.7, 198.51.100.1:80"]) == "203.0.113.7"
