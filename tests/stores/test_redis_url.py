"""URLs of Redis and Valkey: what they may say, and that nothing secret of them is ever shown."""

from __future__ import annotations

import re
import subprocess
import sys
import traceback

import pytest

from recloser.stores.protocol import StoreError
from recloser.stores.redis import RedisStore
from recloser.stores.redis_url import locate
from stores.servers import free_port


@pytest.mark.parametrize(
    ("url", "address", "hosts"),
    [
        ("redis://", "redis://127.0.0.1:6379/0", (("127.0.0.1", 6379),)),
        ("redis://cache", "redis://cache:6379/0", (("cache", 6379),)),
        ("redis://cache:7000/3", "redis://cache:7000/3", (("cache", 7000),)),
        ("redis://cache?db=3", "redis://cache:6379/3", (("cache", 6379),)),
        ("rediss://ann:s3cret@cache/1", "rediss://cache:6379/1", (("cache", 6379),)),
        ("redis://:p%40ss@[::1]:7000", "redis://[::1]:7000/0", (("::1", 7000),)),
        ("unix:///run/valkey.sock?db=2&password=s3cret", "unix:///run/valkey.sock", ()),
        (
            "redis+sentinel://ann:s3cret@a,b:27000/shop/2?sentinel_password=hidden",
            "redis+sentinel://a:26379,b:27000/shop/2",
            (("a", 26379), ("b", 27000)),
        ),
        ("rediss+cluster://a:1,b:2", "rediss+cluster://a:1,b:2", (("a", 1), ("b", 2))),
    ],
)
def test_a_url_says_where_and_its_address_hides_who(url, address, hosts):
    """Default ports are those of servers and of sentinels."""
    location = locate(url)
    assert (location.address, location.hosts) == (address, hosts)
    for shown in (location.address, repr(location), repr(RedisStore(url, "shop"))):
        assert not any(secret in shown for secret in ("s3cret", "hidden", "p@ss", "ann"))


def test_what_a_url_says_reaches_the_connections():
    """Credentials percent-decoded; those of sentinels apart from those of the server."""
    location = locate(
        "rediss+sentinel://a%3An:p%40@h/shop/2?sentinel_password=x&ssl_ca_certs=/ca&socket_timeout=2"
    )
    assert location.options == {
        "username": "a:n",
        "password": "p@",
        "db": 2,
        "ssl_ca_certs": "/ca",
        "socket_timeout": 2.0,
        "socket_connect_timeout": 0.25,
    }
    assert location.sentinel_options == {
        "password": "x",
        "ssl_ca_certs": "/ca",
        "socket_timeout": 2.0,
        "socket_connect_timeout": 0.25,
    }
    assert (location.service, location.is_encrypted) == ("shop", True)


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("s3cret", "begins with one of redis://, rediss://"),
        ("http://s3cret@host", "begins with one of"),
        ("redis://u:s3cret/x@host", "a database's number"),
        ("redis://u:s3cret?x@host", "has an option that is not known"),
        ("redis://u:s3cret@host:port", "percent-encode"),
        ("redis://u:s3cret@host:99999", "percent-encode"),
        ("redis://u:s3cret@host/shop", "a database's number"),
        ("redis://u:s3cret@host?db=x", "'db' of a Redis URL must be a number"),
        ("redis://u:s3cret@host?socket_timeout=0", "at most 60"),
        ("redis://u:s3cret@host?socket_timeout=inf", "at most 60"),
        ("redis://u:s3cret@host?ssl_ca_certs=x", "belongs to rediss:// URLs"),
        ("redis://u:s3cret@a,b", "redis+cluster://"),
        ("redis+sentinel://u:s3cret@a,b", "names its service"),
        ("redis+cluster://u:s3cret@a,b/1", "no database"),
    ],
)
def test_a_url_that_cannot_be_used_says_why_and_not_what(url, fix):
    """The text tells the fix and repeats nothing that may be a password."""
    with pytest.raises(ValueError, match=re.escape(fix)) as caught:
        RedisStore(url, "shop")
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_password_is_an_error_that_does_not_show_it(start_server, open_store):
    """Neither in its text, nor in what it was raised from."""
    server = start_server("--requirepass", "right")
    store = open_store(f"redis://:s3cret@127.0.0.1:{server.port}/0", connects=False)
    with pytest.raises(StoreError, match=f"redis://127.0.0.1:{server.port}/0: .*password") as caught:
        store.connect()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__suppress_context__
    open_store(f"redis://:right@127.0.0.1:{server.port}/0").exchange([])
    with pytest.raises(StoreError, match="AuthenticationError"):
        open_store(server.url).exchange([])


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster"])
def test_nobody_at_home_is_an_error_that_says_where(open_store, scheme):
    """And nothing before `connect` works."""
    port = free_port()
    store = open_store(f"{scheme}://ann:s3cret@127.0.0.1:{port}", connects=False)
    with pytest.raises(StoreError, match=f"{port}") as caught:
        store.connect()
    assert "s3cret" not in str(caught.value)
    for method in (store.view, store.news, lambda: store.exchange([]), lambda: store.leave("w")):
        with pytest.raises(StoreError, match="not connected"):
            method()


def test_a_missing_redis_py_is_an_error_that_names_the_extra():
    """It is needed where a Redis store is asked for, and nowhere else."""
    code = (
        "import sys; sys.modules['redis'] = None; import recloser.stores.sqlite; import recloser.stores.redis"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert 'pip install "recloser[redis]"' in ran.stderr
