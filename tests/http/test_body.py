"""The copy of a request's body, taken while the application receives it."""

import asyncio

import pytest

from recloser.http.body import Body


class Client:
    """Sends messages one by one."""

    def __init__(self, *messages):
        self.messages = list(messages)

    async def receive(self):
        return self.messages.pop(0)


def part(body, *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


def body_of(*messages, longest=10, received=0):
    """Let the application receive so many messages; return the whole body, and what was left unread."""

    async def run():
        client = Client(*messages)
        body = Body(client.receive, lambda: longest)
        seen = [await body.receive() for _ in range(received)]
        assert seen == list(messages[:received])
        return await body.whole(), len(client.messages)

    return asyncio.run(run())


@pytest.mark.parametrize("received", [0, 1, 2])
def test_the_body_is_whole_however_much_of_it_the_application_has_received(received):
    """The rest is received when it is needed."""
    assert body_of(part(b"ab", more=True), part(b"c"), received=received) == (b"abc", 0)


@pytest.mark.parametrize("received", [0, 1, 2])
def test_a_body_that_is_too_long_is_let_go_of(received):
    """No more of it is received than shows that."""
    whole, left = body_of(part(b"x" * 11, more=True), part(b"y", more=True), part(b"z"), received=received)

    assert whole is None
    assert left == 3 - max(1, received)


def test_a_body_that_was_broken_off_is_none():
    """The client went away in its midst."""
    assert body_of(part(b"ab", more=True), GONE) == (None, 0)


def test_a_client_that_goes_away_afterwards_takes_nothing_with_it():
    """Applications wait for that while they answer."""
    assert body_of(part(b"ab"), GONE, received=2) == (b"ab", 0)


def test_nothing_is_kept_where_no_plan_asks_for_it():
    """The route is known when the first part arrives."""
    assert body_of(part(b"ab"), longest=0, received=1) == (None, 0)


def test_an_empty_body_is_one():
    """Whatever it is good for."""
    assert body_of(part(b""), longest=0) == (b"", 0)
