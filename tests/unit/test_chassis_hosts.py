"""One rule says which hosts are this machine; origins, pages of front ends and the local mailbox follow it."""

import pytest
from pydantic import ValidationError

from deploy.local.mailbox.guard import names_this_server
from services.chassis.http.origins import Origin
from services.people.settings import PeopleSettings

HERE = ["localhost", "LOCALHOST", "app.localhost", "a.b.Localhost", "localhost.", "127.0.0.1", "127.8.9.1",
        "[::1]", "[0:0:0::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"]  # fmt: skip
ELSEWHERE = ["localhost.example", "localhost..", "localhost.localdomain", "notlocalhost", "app-localhost", "128.0.0.1",
             "0.0.0.0", "1.0.0.127", "127.1", "[::2]", "[::]", "127.0.0.1.example", "[::ffff:10.0.0.1]",
             "2130706433"]  # fmt: skip


@pytest.mark.parametrize("host", [*HERE, *ELSEWHERE])
def test_every_place_has_the_same_rule(host: str) -> None:
    is_here = host in HERE
    assert Origin.of("http", f"{host}:3000").is_loopback == is_here
    assert names_this_server([f"{host}:3000"], 3000) == is_here
    try:
        PeopleSettings(return_urls=f"http://{host}:3000/signed-in")
        told = False
    except ValidationError as error:
        told = any(one["loc"] == ("return_urls",) for one in error.errors())
    assert told != is_here


@pytest.mark.parametrize(
    "hosts",
    [
        *([], [""], ["localhost"], ["localhost:3001"], ["localhost:"], ["localhost:3000", "localhost:3000"]),
        *(["a@localhost:3000"], ["localhost:3000/"], ["localhost:3000#"], [" localhost:3000"], ["[::1:3000"]),
        *(["localhost:0x0bb8"], ["[localhost]:3000"], ["localhost:+3000"]),
    ],
)
def test_a_host_header_that_is_not_exactly_a_name_with_the_port_is_another_server(hosts: list[str]) -> None:
    assert not names_this_server(hosts, 3000)
