"""An origin becomes `host:port`, or an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser.config import from_mapping, host_port, origin_of
from recloser.config.origins import canonical
from recloser.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.payments.example", "api.payments.example:443"),
        ("http://api.payments.example", "api.payments.example:80"),
        ("https://api.payments.example:8443", "api.payments.example:8443"),
        ("HTTPS://API.Payments.Example/", "api.payments.example:443"),
        ("https://xn--bcher-kva.example", "xn--bcher-kva.example:443"),
        ("http://inventory_service:8000", "inventory_service:8000"),
        ("http://127.0.0.1:0080", "127.0.0.1:80"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://[2001:DB8:0:0::1]", "[2001:db8::1]:443"),
    ],
)
def test_an_origin_is_host_and_port(url, origin):
    """Scheme and case go, the scheme's own port is filled in, IPv6 addresses keep their brackets."""
    assert origin_of(url) == origin
    assert canonical(origin) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example",
        "api.example:443",
        "ftp://api.example",
        "https://",
        "https://:443",
        "https://api.example/v1",
        "https://api.example//",
        "https://api.example?x=1",
        "https://api.example?",
        "https://api.example#top",
        "https://ann@api.example",
        "https://ann:pw@api.example",
        "https://api.example:0",
        "https://api.example:65536",
        "https://api.example:x",
        "https://[::1",
        "https://[fe80::1%25eth0]",
        "https://[nonsense]",
        "https://-api.example",
        "https://bücher.example",
        "https://api .example",
        "https://api\n.example",
        "https://a,b",
        None,
        443,
    ],
)
def test_what_is_no_origin(url):
    """Paths, queries, credentials and everything else that is no origin is refused with the fix."""
    with pytest.raises(ValueError, match=r"^must be an origin such as"):
        origin_of(url)


@given(st.text())
def test_any_text_is_an_origin_or_a_value_error(text):
    """No text makes `origin_of` fail in another way, and what it returns is stable."""
    for url in (text, f"http://{text}", f"https://[{text}]:80"):
        try:
            origin = origin_of(url)
        except ValueError:
            continue
        assert canonical(origin) == origin


@pytest.mark.parametrize(
    ("scheme", "host", "port", "origin"),
    [
        ("https", "api.example", None, "api.example:443"),
        ("http", "api.example", None, "api.example:80"),
        ("HTTP", "API.example", 8080, "api.example:8080"),
        ("http", "::1", 8080, "[::1]:8080"),
        ("http", "[::1]", None, "[::1]:80"),
    ],
)
def test_a_client_says_an_origin_in_parts(scheme, host, port, origin):
    """Scheme, host and port as a client has them give the same name as the declared URL."""
    assert host_port(scheme, host, port) == origin


@pytest.mark.parametrize("text", ["", "api.example", "[::1]", ":80", "a:b", "a:80/x", "u@a:80", "a:99999"])
def test_what_is_not_host_and_port(text):
    """A text that is not `host:port` is refused."""
    with pytest.raises(ValueError, match="must be given as 'host:port'"):
        canonical(text)


def declare(**breakers):
    return from_mapping(
        {"BREAKERS": {name: {"origins": origins} for name, origins in breakers.items()}}, environ={}
    )


def test_breakers_have_origins():
    """A breaker's origins are kept in order, each once."""
    declaration = declare(payments=["https://b.example", "https://a.example", "https://b.example:443/"])

    assert declaration.breakers["payments"].origins == ("b.example:443", "a.example:443")


def test_two_breakers_with_one_origin():
    """An origin belongs to one breaker; the same one in another spelling is the same one."""
    with pytest.raises(ConfigurationError) as caught:
        declare(payments=["https://a.example"], billing=["https://A.example:443"])

    assert caught.value.problems == (
        (
            'RECLOSER["BREAKERS"]["billing"]["origins"][0]',
            "'https://A.example:443'",
            "must belong to one breaker; a.example:443 is that of 'payments'",
        ),
    )


def test_an_origin_that_another_breaker_is_named_after():
    """A breaker may be called `host:port`, and then has that origin; nobody else may list it."""
    assert declare(**{"a.example:443": ["https://a.example"]}).breakers["a.example:443"].origins

    with pytest.raises(ConfigurationError, match=r"a\.example:443 is that of 'a\.example:443'"):
        declare(payments=["https://a.example"], **{"a.example:443": []})
