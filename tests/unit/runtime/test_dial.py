"""Addresses taken apart, and connections that end as OSError."""

import asyncio

import pytest

from objstore.runtime.dial import check_text, connected, place_of, tls_context

PORTS = {"http": 80, "https": 443}


def test_an_address_is_taken_apart() -> None:
    place = place_of("https://us%40er:p%2Fw@host.example:8443/a/b?x=%2F&y", PORTS)
    assert (place.scheme, place.host, place.port, place.path, place.target) == ("https", "host.example", 8443, "/a/b", "/a/b?x=%2F&y")
    assert (place.user, place.password) == ("us@er", "p/w")
    assert (place.parameter("x"), place.parameter("y"), place.parameter("z")) == ("/", "", "")
    assert str(place) == "https://host.example:8443"
    assert "p/w" not in repr(place)
    assert "us@er" not in repr(place)


def test_ports_and_paths_have_defaults_and_addresses_of_six_are_bracketed() -> None:
    assert place_of("http://host", PORTS).target == "/"
    assert place_of("https://host", PORTS).port == 443
    assert place_of("http://[::1]:8/", PORTS).authority == "[::1]:8"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:80",
        "ftp://host",
        "http://",
        "http://host:x",
        "http://host:70000",
        "http://h\u00f6st",
        "http://a b",
        "http://a\n",
        "http://h/#f",
        "http://[::1",
        "http://" + "a" * 5000,
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        place_of(url, PORTS)


def test_a_parameter_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"twice|2 times"):
        place_of("http://h/?a=1&a=2", PORTS).parameter("a")


def test_tls_always_checks_names_and_certificates() -> None:
    context = tls_context()
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


@pytest.mark.parametrize("failure", [asyncio.IncompleteReadError(b"", 1), asyncio.LimitOverrunError("x", 1), ValueError("x")])
def test_what_a_reader_stumbles_over_names_the_place_and_is_an_oserror(failure: Exception) -> None:
    async def test() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        place = place_of(f"http://u:hidden@127.0.0.1:{server.sockets[0].getsockname()[1]}", PORTS)
        try:
            with pytest.raises(OSError, match=str(place)) as raised:
                async with connected(place, None):
                    raise failure
            assert "hidden" not in str(raised.value)
        finally:
            server.close()
            await asyncio.sleep(0.01)

    asyncio.run(test())


def test_text_that_would_break_out_of_its_line_is_refused() -> None:
    check_text("a header", ["a: b"])
    with pytest.raises(ValueError, match="a header holds control"):
        check_text("a header", ["a", "b\r\nc: d"])
