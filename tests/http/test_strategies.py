"""The strategies that hold an author's own words: fixed responses, functions, templates."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from functools import partial

import anyio
import anyio.lowlevel
import pytest
from starlette.responses import JSONResponse

from http_tools import refusal, request
from recloser import ConfigurationError, Problem
from recloser.asgi import in_thread
from recloser.http import plans
from recloser.http.declared import read_plan
from recloser.http.messages import Response
from recloser.http.plan import Plan
from recloser.http.strategy import Means


def answered(strategy, asked=None, means=None, backend="asyncio"):
    plan = Plan([strategy]).prepared(means or Means())

    async def ask():
        return await plan.answer(asked or request(), refusal())

    return anyio.run(ask, backend=backend)


def quantity(asked, error):
    """A function that a declaration names."""
    return {"of": asked.path, "without": error.breaker}


not_callable = 5


# -- response ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "content_type", "body"),
    [
        (plans.response("Käse"), "text/plain; charset=utf-8", "Käse".encode()),
        (plans.response(b"\x00"), "application/octet-stream", b"\x00"),
        (plans.response("<p>", media_type="text/html"), "text/html; charset=utf-8", b"<p>"),
        (plans.response("", media_type="text/html"), "text/html; charset=utf-8", b""),
        (plans.response("a", media_type="text/csv; charset=ascii"), "text/csv; charset=ascii", b"a"),
        (plans.response(b"<p>", media_type="text/html"), "text/html", b"<p>"),
        (plans.response("{}", media_type="application/json"), "application/json", b"{}"),
        (plans.response("a", headers={"Content-Type": "text/csv"}), "text/csv", b"a"),
        (plans.response(""), None, b""),
    ],
)
def test_a_fixed_response_says_what_it_is(strategy, content_type, body):
    """Text is sent as UTF-8 and says so; bytes are left alone."""
    answer = answered(strategy).response
    assert (answer.status, answer.body) == (200, body)
    assert answer.header("content-type") == content_type
    assert answer.header("content-length") == str(len(body))


def test_a_fixed_response_has_its_own_headers():
    """Names in lower case, and a `Retry-After` of the author's is not doubled."""
    answer = answered(plans.response("", status=302, headers={"Location": "/sorry"})).response
    assert (answer.status, answer.header("location")) == (302, "/sorry")
    assert answered(plans.response("", status=503)).response.header("retry-after") is not None
    own = answered(plans.response("", status=503, headers={"Retry-After": "60"})).response
    assert own.header("retry-after") == "60"


def test_a_response_without_content_has_no_length():
    """RFC 9110 §8.6: a 204 carries no Content-Length."""
    assert answered(plans.response("", status=204)).response == Response(204, ())


@pytest.mark.parametrize(
    ("method", "strategy", "is_answered"),
    [
        ("GET", plans.response("a"), True),
        ("POST", plans.response("a"), False),
        ("PUT", plans.response("", status=204), False),
        ("POST", plans.response("a", status=302), True),
        ("POST", plans.response("a", unsafe=True), True),
        ("POST", plans.template("page", status=200), False),
        ("POST", plans.template("page"), True),
        ("POST", plans.template("page", status=200, unsafe=True), True),
    ],
)
def test_success_is_not_claimed_for_what_was_not_done(method, strategy, is_answered):
    """RFC 9110 §9.2.1: unsafe methods get no 2xx, unless the author insists."""
    means = Means(render=lambda name, *_: name)
    assert (answered(strategy, request(method), means).strategy.name != "unavailable") is is_answered
    assert (Plan([strategy]).problems("p", {method}) == []) is is_answered


def test_nothing_stands_behind_a_fixed_response():
    """It always answers; a page and a function may not."""
    for strategy, problems in [
        (plans.response("a"), 1),
        (plans.compute(quantity), 0),
        (plans.template("page"), 0),
    ]:
        assert len(Plan([strategy, plans.json(1)]).problems("p", {"GET"})) == problems


@pytest.mark.parametrize(
    ("make", "problems"),
    [
        (lambda: plans.response(5), [("response", "5", "must be text or bytes")]),
        (
            lambda: plans.response("a", status=204),
            [("response", "'a'", "must be empty with the status 204")],
        ),
        (
            lambda: plans.response("\ud800"),
            [("response", "'\\ud800'", "must be text that UTF-8 can write (surrogates not allowed)")],
        ),
        (
            lambda: plans.response("a", status=304, unsafe=1),
            [
                ("status", "304", "must be an HTTP status of 200..599 whose response has a body"),
                ("unsafe", "1", "must be true or false"),
            ],
        ),
        (
            lambda: plans.response("a", headers={"X-Line": "a\r\nb", "a b": "c", "Content-Length": "5"}),
            [
                (
                    "headers['X-Line']",
                    "'a\\r\\nb'",
                    "must be a text without line breaks, of Latin-1 characters",
                ),
                ("headers['a b']", "'c'", "must have a field name as RFC 9110 §5.1 allows it"),
                ("headers['Content-Length']", "'5'", "is recloser's own to set: leave it out"),
            ],
        ),
        (
            lambda: plans.response("a", headers=["Location"]),
            [("headers", "['Location']", 'must be a mapping such as {"Content-Language": "en"}')],
        ),
        (
            lambda: plans.response("a", media_type=5),
            [("media_type", "5", "must be a media type such as text/html")],
        ),
        (
            lambda: plans.response("a", media_type="a\nb"),
            [("media_type", "'a\\nb'", "must be a media type such as text/html")],
        ),
        (
            lambda: plans.template("", status=204),
            [
                ("template", "''", "must be the name of a template"),
                ("status", "204", "must be an HTTP status of 200..599 whose response has a body"),
            ],
        ),
        (
            lambda: plans.compute("quantity"),
            [
                (
                    "compute",
                    "'quantity'",
                    'must be a function of the request and the error; in a declaration, "pkg.module:name"',
                )
            ],
        ),
    ],
)
def test_wrong_arguments_are_all_named(make, problems):
    """Each with its value and its fix."""
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert [tuple(problem) for problem in raised.value.problems] == problems


# -- compute -------------------------------------------------------------------------------------------------


async def quantity_later(asked, error):
    await anyio.lowlevel.checkpoint()
    return quantity(asked, error)


class Quantity:
    async def __call__(self, asked, error):
        return await quantity_later(asked, error)


def quantity_times(factor, asked, error):
    return quantity(asked, error)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("means", [Means(), Means(in_thread=in_thread)], ids=["in place", "in a thread"])
@pytest.mark.parametrize("function", [quantity, quantity_later, Quantity(), partial(quantity_times, 2)])
def test_a_function_answers_whatever_its_kind(function, means, backend):
    """Sync, async, an object that is called, a partial: its data becomes JSON."""
    answer = answered(plans.compute(function), means=means, backend=backend).response
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert json.loads(answer.body) == {"of": "/page", "without": "inventory"}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_sync_function_holds_up_no_loop_and_keeps_its_context(backend):
    """It runs in another thread, which sees the caller's context variables."""
    from threading import get_ident

    language = ContextVar("language", default="en")

    async def ask():
        language.set("fr")
        strategy = plans.compute(lambda *_: [get_ident(), language.get()])
        plan = Plan([strategy]).prepared(Means(in_thread=in_thread))
        answer = await plan.answer(request(), refusal())
        return json.loads(answer.response.body), get_ident()

    (thread, seen), own = anyio.run(ask, backend=backend)
    assert thread != own
    assert seen == "fr"


def test_a_function_may_write_the_whole_response():
    """Its status, headers and body; what follows from them is added."""
    page = Response(
        503, (("Content-Type", "text/html"), ("Content-Length", "99"), ("Set-Cookie", "a=b")), b"x"
    )
    answer = answered(plans.compute(lambda *_: page), request("POST")).response
    assert (answer.status, answer.body, answer.header("content-length")) == (503, b"x", "1")
    assert answer.header("set-cookie") == "a=b"
    assert int(answer.header("retry-after") or 0) >= 12


def test_a_function_that_returns_nothing_lets_the_next_try():
    """`None` is no JSON null."""
    assert answered(plans.compute(lambda *_: None)).strategy.name == "unavailable"
    assert answered(plans.compute(lambda *_: 0)).response.body == b"0"


@pytest.mark.parametrize(
    "result",
    [
        object(),
        float("nan"),
        Response(200, (), "text"),  # type: ignore[arg-type]
        Response(100, ()),
        Response("200", ()),  # type: ignore[arg-type]
        Response(204, (), b"content"),
        Response(200, (("x-line", "a\r\nset-cookie: a=b"),)),
        Response(200, (("naïve", "a"),)),
    ],
)
def test_a_function_that_returns_nonsense_lets_the_next_try(result, caplog):
    """What could not be sent is found while another strategy can still answer."""
    with caplog.at_level(logging.ERROR, "recloser"):
        assert answered(plans.compute(lambda *_: result)).strategy.name == "unavailable"
    assert "breaker 'inventory': the strategy compute raised; asking the next" in caplog.text


def test_a_function_that_returns_another_frameworks_response_is_told_what_to_return(caplog):
    """Starlette's `JSONResponse` is what comes to mind first."""
    answered(plans.compute(quantity_as_a_response))
    assert "quantity_as_a_response" in caplog.text
    assert "must return a recloser.http.messages.Response, data that JSON can write, or None" in caplog.text


def quantity_as_a_response(*_):
    return JSONResponse({"quantity": None})


def test_what_needs_an_event_loop_says_so():
    """So that a plan without can be answered where there is none."""
    immediate = [plans.stale(5), plans.json(1), plans.response("a"), plans.template("a"), plans.unavailable()]
    assert not Plan([*immediate, plans.compute(quantity)]).waits
    assert Plan([plans.compute(quantity_later)]).waits
    assert Plan([plans.compute(Quantity())]).waits


# -- template ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "is_answered"),
    [
        (None, True),
        ("*/*", True),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json, */*;q=0.5", False),
        ("application/json", False),
        ("text/html;q=0, */*", False),
    ],
)
def test_a_page_is_for_those_who_take_html(accept, is_answered):
    """RFC 9110 §12.5.1: acceptable, and no worse than JSON."""
    means = Means(
        render=lambda name, asked, known: (
            f"{name} {asked.path} {known['error'].breaker} {known['retry_after']}"
        )
    )
    asked = request(**({} if accept is None else {"accept": accept}))
    answer = answered(plans.template("sorry"), asked, means)
    assert (answer.strategy.name == "template") is is_answered
    if is_answered:
        wait = answer.response.header("retry-after") or ""
        assert answer.response.body.decode() == f"sorry /page inventory {wait}"
        assert answer.response.status == 503
        assert answer.response.header("content-type") == "text/html; charset=utf-8"
        assert int(wait) >= 12


def test_a_template_needs_an_engine():
    """An application without one is told at start, and answers 503 all the same."""
    plan = Plan([plans.json(1), plans.template("a")])
    assert [tuple(problem) for problem in plan.lacks("p", Means())] == [
        ("p[1]", "template", "needs a template engine: install(..., templates=Jinja2Templates(...))")
    ]
    assert plan.lacks("p", Means(render=lambda name, *_: name)) == []
    assert answered(plans.template("a")).strategy.name == "unavailable"


# -- raw form ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (
            [
                {
                    "response": "a",
                    "status": 503,
                    "headers": {"X-A": "b"},
                    "media_type": "text/csv",
                    "unsafe": True,
                }
            ],
            [plans.response("a", status=503, headers={"X-A": "b"}, media_type="text/csv", unsafe=True)],
        ),
        ([{"compute": f"{__name__}:quantity"}], [plans.compute(quantity)]),
        ([{"compute": quantity}], [plans.compute(quantity)]),
        (
            [{"template": "sorry.html", "status": 200, "unsafe": True}],
            [plans.template("sorry.html", status=200, unsafe=True)],
        ),
    ],
)
def test_they_may_be_written_as_data(form, expected):
    """With the same options."""
    assert read_plan(form, "p") == (Plan(expected), [])


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        (
            {"compute": "quantity"},
            Problem("p[0].compute", "'quantity'", 'must be an object or its name as "pkg.module:Name"'),
        ),
        (
            {"compute": f"{__name__}:qantity"},
            Problem(
                "p[0].compute",
                f"'{__name__}:qantity'",
                "must name something that exists (AttributeError: "
                f"module '{__name__}' has no attribute 'qantity')",
            ),
        ),
        (
            {"compute": f"{__name__}:not_callable"},
            Problem(
                "p[0].compute",
                f"'{__name__}:not_callable'",
                'must be a function of the request and the error; in a declaration, "pkg.module:name"',
            ),
        ),
        ({"compute": quantity, "status": 200}, Problem("p[0].status", "200", "is no option of compute")),
        (
            {"response": "a", "heders": {}},
            Problem("p[0].heders", "{}", "is no option of response (did you mean 'headers'?)"),
        ),
        ({"template": None}, Problem("p[0].template", "None", "must be the name of a template")),
    ],
)
def test_what_is_wrong_with_their_data_is_told_at_its_path(form, problem):
    """Names are imported when the plan is read, not when the first circuit opens."""
    assert read_plan([form], "p")[1] == [problem]
