"""The endpoint over ASGI: who may look, who may act, what is forged, what is hostile."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from starlette.applications import Starlette
from starlette.testclient import TestClient

from recloser import Registry
from recloser.fastapi import install, status_router
from recloser.status.access import Guardian
from recloser.status.app import StatusApp
from recloser.status.snapshot import schema

VALIDATOR = jsonschema.Draft202012Validator(schema())
SECRET = "nobody knows"
HOSTILE = "<script>alert(1)</script>\r\n\u202e\"'&"
PROGRAM = {"authorization": "Bearer t"}
NAMES = ["<script>", "../../etc/passwd", "..%2f..%2fx", "a\nb", "x" * 10_000, "%00", "b/b", "payments "]


def name_of(request, action):
    """Ann may act, Rob may look."""
    user = request.headers.get("x-user") or request.cookies.get("user")
    return user if user == "ann" or (user == "rob" and action == "read") else None


async def name_of_async(request, action):
    return name_of(request, action)


def boom():
    raise ConnectionError(HOSTILE)


@pytest.fixture
def registry():
    declared = {"SECRET": SECRET, "BREAKERS": {"payments": {"failure_threshold": 1}, "mail": {}}}
    with Registry(declared) as registry:
        yield registry


def mounted(registry, **settings):
    app = Starlette()
    app.mount("/breakers", StatusApp(registry, **settings))
    return TestClient(app)


def installed(registry, **settings):
    app = FastAPI(dependencies=[Depends(never)])
    install(app, registry, status="/breakers", **settings)
    return TestClient(app)


def routed(registry, **settings):
    app = FastAPI()
    app.include_router(status_router(registry, **settings), prefix="/breakers")
    return TestClient(app)


async def never():
    raise HTTPException(418, "the application's own dependency")


WAYS = [mounted, installed, routed]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request):
    return request.param


@pytest.fixture
def client(way, registry):
    return way(registry, authorize=name_of_async)


@pytest.fixture
def ann(registry):
    """A program of Ann's."""
    client = mounted(registry, authorize=name_of)
    client.headers.update({"x-user": "ann", **PROGRAM})
    return client


def epoch(client, name="payments", user="ann"):
    told = client.get(f"/breakers/b/{name}", headers={"x-user": user}).json()
    return told["breaker"]["epoch"]


def act(client, action="force_open", name="payments", headers=None, **form):
    form.setdefault("epoch", epoch(client, name))
    form.setdefault("reason", "migration")
    headers = {"x-user": "ann", **PROGRAM} if headers is None else headers
    return client.post(f"/breakers/b/{name}/{action}", data=form, headers=headers)


# -- reading ---------------------------------------------------------------------------------------------------


def test_each_format_by_accept_and_by_name(client):
    """JSON unless something else is asked for; `format` outranks `Accept`."""
    ann = {"x-user": "ann"}
    for accept, wanted, kind in [
        ("*/*", "", "application/json"),
        ("text/html,*/*;q=0.8", "", "text/html"),
        ("text/plain", "", "text/plain"),
        ("text/html", "json", "application/json"),
        ("*/*", "text", "text/plain"),
        ("*/*", "prometheus", "text/plain"),
    ]:
        query = f"?format={wanted}" if wanted else ""
        answer = client.get(f"/breakers/{query}", headers={**ann, "accept": accept})
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)
    assert client.get("/breakers/?format=xml", headers=ann).status_code == 400


def test_documents_keep_to_their_schema(client, registry):
    """All breakers, and one."""
    with pytest.raises(ConnectionError):
        registry["payments"].call(boom)
    for path in ("/breakers/", "/breakers/b/payments"):
        VALIDATOR.validate(client.get(path, headers={"x-user": "ann"}).json())
    assert client.get("/breakers/schema", headers={"x-user": "ann"}).json() == schema()


def test_an_open_circuit_is_degraded_not_down(client, registry):
    """Whoever restarts what is down must not restart this."""
    health = {"x-user": "rob"}
    assert client.get("/breakers/health", headers=health).json()["status"] == "ok"
    registry["payments"].force_open(by="ann", reason="x")
    client.get("/breakers/b/payments?done=x", headers=health)  # looks anew
    answer = client.get("/breakers/health", headers=health)
    assert (answer.status_code, answer.json()["status"], answer.json()["open"]) == (
        200,
        "degraded",
        ["payments"],
    )


def test_every_answer_is_kept_by_nobody_and_runs_nothing_foreign(client):
    """A strict policy without inline anything; no frames; no cache."""
    for path in ("/breakers/", "/breakers/b/payments", "/breakers/b/none"):
        answer = client.get(path, headers={"x-user": "ann", "accept": "text/html"})
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<style|<script(?! src=)| style=| on\w+=", answer.text)


def test_without_authorize_there_is_nothing_but_what_is_public(way, registry, caplog):
    """No read view unless public or in debug, and never an action. The log says why, once."""
    hidden = way(registry)
    assert [hidden.get("/breakers/").status_code for _ in range(2)] == [404, 404]
    assert ["authorize, or public=True" in record.message for record in caplog.records].count(True) == 1
    assert act_anyhow(way(registry)).status_code == 404
    public = way(registry, public=True)
    page = public.get("/breakers/", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "no <code>authorize</code> is configured" in page.text
    assert "formaction" not in page.text
    assert act_anyhow(public).status_code == 404


def act_anyhow(client):
    return client.post(
        "/breakers/b/payments/force_open", data={"reason": "x", "epoch": "0-0"}, headers=PROGRAM
    )


def test_debug_shows_the_read_view(registry):
    """Of a FastAPI application in debug mode."""
    app = FastAPI(debug=True)
    install(app, registry, status="/breakers")
    assert TestClient(app).get("/breakers/").status_code == 200


@pytest.mark.parametrize("authorize", [name_of, name_of_async])
def test_reading_and_acting_are_separate(way, registry, authorize):
    """Ann may act; Rob sees everything but a form, and cannot act; a stranger sees nothing."""
    client = way(registry, authorize=authorize)
    assert act(client).status_code == 200
    page = client.get("/breakers/b/payments", headers={"x-user": "rob", "accept": "text/html"})
    assert (page.status_code, "formaction" in page.text) == (200, False)
    assert "control" not in client.get("/breakers/", headers={"x-user": "rob"}).json()
    assert act(client, headers={"x-user": "rob", **PROGRAM}).status_code == 403
    for path in ("/", "/b/payments", "/events", "/health", "/schema", "/static/page.css"):
        assert client.get(f"/breakers{path}", headers={"x-user": "eve"}).status_code == 403
    assert act(client, headers={"x-user": "eve", **PROGRAM}).status_code == 403


@pytest.mark.parametrize("answer", [None, "", " \n", ValueError("x"), HTTPException(401)])
def test_authorize_denies(way, registry, answer, caplog):
    """By `None`, an empty name, and whatever it raises."""

    def authorize(request, action):
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = way(registry, authorize=authorize)
    assert client.get("/breakers/").status_code == 403
    assert act_anyhow(client).status_code == 403


def test_an_authorize_that_waits_holds_up_nobody(registry):
    """A plain function is asked beside the event loop, a coroutine function on it."""

    async def loop_and_asked(asks):
        threads = []

        def authorize(request, action):
            threads.append(threading.get_ident())
            return "ann"

        async def authorize_async(request, action):
            return authorize(request, action)

        app = StatusApp(registry, authorize=authorize_async if asks == "async" else authorize)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            assert (await client.get("/")).status_code == 200
        return threading.get_ident() in threads

    assert asyncio.run(loop_and_asked("async"))
    assert not asyncio.run(loop_and_asked("sync"))


@pytest.mark.parametrize("answer", [True, False, 1, b"ann"])
def test_authorize_must_name_somebody(way, registry, answer):
    """`True` would leave the audit trail without a name: an error of the program, which says what to return."""
    client = way(registry, authorize=lambda request, action: answer)
    with pytest.raises(TypeError, match="must return the actor's name"):
        client.get("/breakers/")


def test_authorize_may_be_a_dependency(registry):
    """FastAPI solves it; what it raises is its own answer, and overrides are followed."""

    async def staff(x_user: str = Header("")):
        if not x_user:
            raise HTTPException(401, "who are you?")
        return x_user if x_user == "ann" else None

    for way in (installed, routed):
        client = way(registry, authorize=Depends(staff))
        assert client.get("/breakers/").status_code == 401
        assert client.get("/breakers/", headers={"x-user": "eve"}).status_code == 403
        assert client.get("/breakers/", headers={"x-user": "ann"}).status_code == 200
        assert act(client, action="shadow").status_code == 200
        client.app.dependency_overrides[staff] = lambda: "test"
        assert client.get("/breakers/").status_code == 200


def test_openapi_describes_it():
    """Paths, bodies and refusals, beside the application's own."""
    for way in (installed, routed):
        client = way(Registry({"BREAKERS": {"payments": {}}}), authorize=name_of)
        paths = client.get("/openapi.json").json()["paths"]
        assert "get" in paths["/breakers/"]
        post = paths["/breakers/b/{name}/{action}"]["post"]
        assert "409" in post["responses"]
        assert "epoch" in post["requestBody"]["content"]["application/json"]["schema"]["required"]


# -- acting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "mode", "state"),
    [
        ("force_open", "forced_open", "open"),
        ("force_closed", "forced_closed", "closed"),
        ("shadow", "shadow", "closed"),
        ("auto", "auto", "closed"),
        ("reset", "auto", "closed"),
    ],
)
def test_each_action(client, registry, action, mode, state):
    """Done, by whom, why and until when; the answer shows the breaker as it is now."""
    answer = act(client, action, **{"for": "10m"} if action not in ("auto", "reset") else {})
    assert answer.status_code == 200, answer.text
    told = answer.json()["breaker"]
    assert (told["mode"]["mode"], told["state"]) == (mode, state)
    if mode != "auto":
        assert (told["mode"]["by"], told["mode"]["reason"]) == ("ann", "migration")
        assert 590 < told["mode"]["remaining"] <= 600
    assert registry["payments"].mode.mode == mode


def test_json_will_do(ann, registry):
    """The same fields as members."""
    body = {"reason": "x", "epoch": epoch(ann), "for": 90}
    assert ann.post("/breakers/b/payments/shadow", json=body).status_code == 200
    assert registry["payments"].mode.mode == "shadow"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"reason": ""}, 400),
        ({"reason": " \u200b\n"}, 400),
        ({"reason": "x" * 201}, 400),
        ({"for": "soon"}, 400),
        ({"for": "0"}, 400),
        ({"for": "999d"}, 400),
        ({"for": "1" * 5000}, 400),
        ({"epoch": ""}, 400),
        ({"epoch": "x"}, 400),
        ({"epoch": "1-zz"}, 400),
        ({"epoch": "7-0"}, 409),
    ],
)
def test_what_is_missing_or_wrong_is_said_and_nothing_done(client, registry, form, status):
    """A reason, a real duration, and the epoch that was seen."""
    answer = act(client, **form)
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert registry["payments"].mode.mode == "auto"


def test_a_conflict_tells_what_changed(client, registry):
    """Nothing is done to what the operator has not seen."""
    seen = epoch(client)
    registry["payments"].force_open(by="bob", reason="deploy")
    answer = act(client, "reset", epoch=seen)
    assert answer.status_code == 409
    assert "open, mode forced open set by bob (deploy)" in answer.json()["detail"]


def test_several_at_once(ann, registry):
    """Each with its own epoch and its own outcome."""
    good = f"mail {epoch(ann, 'mail')}"
    body = {"reason": "x", "breaker": [good, "payments 7-0", "nobody 0-0"]}
    answer = ann.post("/breakers/bulk/shadow", json=body)
    assert answer.status_code == 409
    assert [result["status"] for result in answer.json()["results"]] == [200, 409, 404]
    assert registry["mail"].mode.mode == "shadow"
    assert ann.post("/breakers/bulk/shadow", json={"reason": "x", "breaker": []}).status_code == 400


def test_an_action_needs_post(client, registry):
    """A link does nothing."""
    answer = client.get("/breakers/b/payments/force_open?reason=x", headers={"x-user": "ann"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert registry["payments"].mode.mode == "auto"


def test_a_body_is_bounded_and_of_a_known_kind(ann):
    """64 KiB, a form or JSON."""
    url = "/breakers/b/payments/shadow"
    assert ann.post(url, data={"reason": "x" * 70_000}).status_code == 413
    assert ann.post(url, content=b"x", headers={"content-type": "text/plain"}).status_code == 415
    for body in (b"{", b"[]", b'{"reason": {}}', b"[" * 60_000, b'{"epoch": NaN, "reason": true}'):
        answer = ann.post(url, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
    assert ann.post(url, data={f"f{number}": "x" for number in range(2000)}).status_code == 400


# -- forged requests ---------------------------------------------------------------------------------------------

BROWSER = {"cookie": "user=ann", "host": "shop.example"}
OURS = {**BROWSER, "sec-fetch-site": "same-origin"}


def token(action="force_open", actor="ann", at=None):
    clock = {} if at is None else {"wall_clock": lambda: at}
    return Guardian(SECRET, **clock).token(actor, action)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OURS, 200),
        ({**BROWSER, "origin": "https://shop.example"}, 200),
        ({**BROWSER, "origin": "http://shop.example:80"}, 200),
        ({**BROWSER, "sec-fetch-site": "same-site", "origin": "https://evil.shop.example"}, 403),
        ({**BROWSER, "sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ({**BROWSER, "sec-fetch-site": "cross-site", "origin": "https://shop.example"}, 403),
        ({**BROWSER, "sec-fetch-site": "cross-site", "origin": "https://ops.example"}, 200),
        ({**BROWSER, "origin": "null"}, 403),
        ({**BROWSER, "origin": "https://shop.example.evil.example"}, 403),
        (BROWSER, 403),
        ({**BROWSER, **PROGRAM}, 403),
        ({**BROWSER, **PROGRAM, "origin": "https://evil.example"}, 403),
    ],
)
def test_an_action_comes_from_our_own_pages(registry, headers, status):
    """Behind TLS termination too: the scheme is not compared. Credentials of a program excuse no browser."""
    client = mounted(registry, authorize=name_of, trusted_origins=["https://ops.example"])
    seen = epoch(client)
    assert act(client, headers=headers, token=token(), epoch=seen).status_code == status


@pytest.mark.parametrize(
    "made",
    ["", "x", "\u00fc", token("reset"), token(actor="bob"), token(at=1_000_000.0), token() + "0"],
    ids=["none", "junk", "not ascii", "other action", "other actor", "stale", "longer"],
)
def test_an_action_carries_its_own_fresh_token(client, registry, made):
    """Of this actor, this action, this hour or the last."""
    answer = act(client, headers=OURS, token=made)
    assert answer.status_code == 403
    assert "token" in answer.json()["detail"]
    assert registry["payments"].mode.mode == "auto"


def test_a_token_is_good_for_an_hour_at_least():
    """Also across the hour's end."""
    now = [3600.0 * 1000 - 1]
    guardian = Guardian(SECRET, wall_clock=lambda: now[0])
    made = guardian.token("ann", "reset")
    for later, good in ((0, True), (3600, True), (3602, False)):
        now[0] = 3600.0 * 1000 - 1 + later
        assert (guardian.objection(OURS, "ann", "reset", made) == "") is good


def test_forms_work_without_javascript(client):
    """The page's own form, sent as a browser does: a redirect to the breaker, which says what was done."""
    browser = {**OURS, "accept": "text/html"}
    page = client.get("/breakers/b/payments", headers=browser).text
    (url,) = re.findall(r'formaction="([^"]*/force_open)" name="token" value="[^"]+"', page)
    (made,) = re.findall(r'/force_open" name="token" value="([^"]+)"', page)
    (seen,) = re.findall(r'name="epoch" value="([^"]+)"', page)
    assert url == "/breakers/b/payments/force_open"
    form = {"reason": "x", "for": "", "epoch": seen, "token": made}
    answer = client.post(url, data=form, headers=browser, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/breakers/b/payments?done=force_open")
    after = client.get(answer.headers["location"], headers=browser).text
    assert "Force open: done." in after
    assert "forced open" in after
    again = client.post(url, data=form, headers=browser)
    assert (again.status_code, "has changed" in again.text) == (409, True)


# -- hostile texts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_is_not_found_and_is_no_markup(client, name):
    """Whatever is asked for; GET and POST."""
    path, form = f"/breakers/b/{quote(name)}", {"reason": "x", "epoch": "0-0"}
    for accept in ("text/html", "application/json", "text/plain"):
        headers = {"x-user": "ann", "accept": accept, **PROGRAM}
        for answer in (
            client.get(path, headers=headers),
            client.post(f"{path}/shadow", data=form, headers=headers),
        ):
            assert answer.status_code in (404, 405), accept
            assert accept == "text/plain" or "<script>" not in answer.text, accept


def test_no_text_becomes_markup(client, registry):
    """Errors, reasons, actors: escaped wherever they are shown, and on one line in plain text."""
    with pytest.raises(ConnectionError):
        registry["payments"].call(boom)
    registry["mail"].force_open(by=HOSTILE, reason=HOSTILE)
    for path in (
        "/breakers/",
        "/breakers/b/payments",
        "/breakers/b/mail",
        "/breakers/?search=%22%3E%3Cscript%3E",
    ):
        page = client.get(path, headers={"x-user": "ann", "accept": "text/html"}).text
        assert "<script>" not in page
        plain = client.get(path, headers={"x-user": "ann", "accept": "text/plain"}).text
        assert "\r" not in plain
        assert "\u202e" not in plain
    document = client.get("/breakers/b/payments", headers={"x-user": "ann"}).json()
    assert "\n" not in document["breaker"]["last_error"]


def test_no_text_forges_a_log(ann, caplog):
    """An operator's reason is one line of the log."""
    assert act(ann, reason=HOSTILE).status_code == 200
    assert [record for record in caplog.records if "force_open" in record.getMessage()]
    assert not any("\n" in record.getMessage() or "\r" in record.getMessage() for record in caplog.records)


def test_what_was_done_is_not_taken_from_the_url(client):
    """A link cannot make the page say something."""
    page = client.get(
        "/breakers/b/payments?done=all+is+well", headers={"x-user": "ann", "accept": "text/html"}
    )
    assert "well" not in page.text


def test_a_page_of_two_hundred_breakers(registry):
    """Bounded by the page's limit."""
    many = Registry({"BREAKERS": {f"b{number}": {} for number in range(300)}})
    client = mounted(many, public=True)
    told = client.get("/breakers/").json()
    assert (len(told["breakers"]), told["page"]["next"], told["counts"]["breakers"]) == (200, 200, 300)
    assert json.dumps(told)
