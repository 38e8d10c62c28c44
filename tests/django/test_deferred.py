"""Views that put a refused request off: sync and async, class-based, DRF, and in `ROUTES`."""

from __future__ import annotations

import json

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import close_old_connections
from django.test import AsyncClient, Client, override_settings
from shopsite import jobs
from shopsite.tools import trip

from recloser.deferred.worker import Worker
from recloser.django import registry
from recloser.django.jobs import job_status
from recloser.django.messages import body_of

ORDER = {"product": 7, "quantity": 2}
PATHS = ["/reserve/", "/reserve-async/", "/reserve-class/", "/rest/reserve/"]


@pytest.fixture(autouse=True)
def _empty():
    """The queue holds nothing."""
    jobs.done.clear()
    for left in jobs.queue.table.path.parent.glob("jobs.db*"):
        left.unlink()
    yield
    jobs.queue.close()


ROUTES = {
    "shop:reserve_routed": {
        "breakers": ["inventory"],
        "plan": [{"defer": "shopsite.jobs:reserve", "headers": ["x-tenant"]}],
    }
}


def test_a_refusal_out_of_a_routed_view_is_put_off(client: Client):
    """The circuit opened while the view ran."""
    with override_settings(RECLOSER={**settings.RECLOSER, "ROUTES": ROUTES}):
        answer = client.post(
            "/shop/reserve-routed/?trip=1", json.dumps(ORDER), content_type="application/json"
        )

    assert answer.status_code == 202


def recover():
    """Let the circuit close, and the jobs run."""
    registry["inventory"].reset(by="ann", reason="test")
    worker = Worker(jobs.queue, threads=0)
    while jobs.queue.depth().queued:
        worker.step()


@pytest.mark.parametrize("path", PATHS)
def test_a_refused_request_is_queued_and_done_after_recovery(client: Client, services, path: str):
    """202 with a place to look, and nothing stored but what is declared."""
    client.cookies["session"] = "secret"
    services.error = OSError()
    trip()
    answer = client.post(
        f"{path}?from=mail",
        json.dumps(ORDER),
        content_type="application/json",
        headers={"X-Tenant": "t1", "X-Key": "right", "Authorization": "secret"},
    )
    queued = client.get(answer["Location"])
    recover()
    done = client.get(answer["Location"])

    assert (answer.status_code, answer["Cache-Control"]) == (202, "no-store")
    assert queued.json()["state"] == "queued"
    assert (done.json()["state"], done.json()["result"]) == ("done", {"reserved": 2})
    [job] = jobs.done
    assert (job.request.method, job.request.path, job.request.query) == ("POST", path, "from=mail")
    assert job.request.headers == (("x-tenant", "t1"),)
    assert "secret" not in job.record.payload


@pytest.mark.anyio
@pytest.mark.parametrize("path", PATHS)
async def test_the_same_on_an_event_loop(async_client: AsyncClient, services, path: str):
    """The disk is waited for in a thread."""
    services.error = OSError()
    trip()

    answer = await async_client.post(
        path, json.dumps(ORDER), content_type="application/json", headers={"X-Key": "right"}
    )

    assert answer.status_code == 202
    assert (await async_client.get(answer["Location"])).json()["state"] == "queued"


def post(client: Client, quantity: int, key: str):
    return client.post(
        "/reserve/",
        json.dumps({**ORDER, "quantity": quantity}),
        content_type="application/json",
        headers={"Idempotency-Key": key},
    )


def test_one_key_makes_one_job(client: Client):
    """Another body under the key is 422."""
    trip()

    first, again, other = post(client, 1, "k"), post(client, 1, "k"), post(client, 2, "k")

    assert first["Location"] == again["Location"]
    assert other.status_code == 422
    assert jobs.queue.depth().queued == 1


def test_a_key_belongs_to_the_session_that_chose_it(client: Client):
    """Two visitors that count their orders from 1 have two jobs; other cookies make no difference."""
    trip()
    places = []
    for session, seen in (("ann", "1"), ("bob", "1"), ("ann", "2")):
        client.cookies[settings.SESSION_COOKIE_NAME], client.cookies["seen"] = session, seen
        places.append(post(client, 1, "1")["Location"])

    assert places[0] == places[2] != places[1]


def test_a_key_belongs_to_the_user_that_per_names(client: Client):
    """Also in `ROUTES`."""
    [step] = ROUTES["shop:reserve_routed"]["plan"]
    routed = {**ROUTES["shop:reserve_routed"], "plan": [{**step, "per": "shopsite.jobs:customer"}]}
    places = []
    with override_settings(RECLOSER={**settings.RECLOSER, "ROUTES": {"shop:reserve_routed": routed}}):
        for name in ("ann", "bob", "ann"):
            answer = client.post(
                "/shop/reserve-routed/?trip=1",
                json.dumps(ORDER),
                content_type="application/json",
                headers={"Idempotency-Key": "1", "X-Customer": name},
            )
            registry["inventory"].auto(by="ann", reason="test")
            places.append(answer["Location"])

    assert places[0] == places[2] != places[1]


async def customer_async(request):
    return jobs.customer(request)


@pytest.mark.parametrize("customer", [jobs.customer, customer_async])
def test_a_job_may_be_shown_to_him_alone_who_submitted_it(rf, customer):
    """By the same function that the plan names."""
    trip()
    job = jobs.queue.submit(jobs.reserve, "{}", "1", "", "str:ann").record.id
    status = job_status(jobs.queue, per=customer)
    looks = [
        status(rf.get("/", headers={"X-Customer": name} if name else {}), job) for name in ("ann", "bob", "")
    ]

    assert [look.status_code for look in looks] == [200, 404, 404]


def test_the_location_knows_where_the_site_is_mounted(client: Client):
    """Django's script name comes first."""
    trip()

    answer = client.post(
        "/reserve/", "{}", content_type="application/json", SCRIPT_NAME="/site", PATH_INFO="/reserve/"
    )

    assert answer["Location"].startswith("/site/jobs/")


@pytest.mark.parametrize("size", [200_000, 3_000_000])
def test_a_body_that_is_too_long_is_left_to_the_next_strategy(client: Client, size: int):
    """It is not even read for it."""
    trip()

    answer = client.post("/reserve/", "x" * size, content_type="application/json")

    assert answer.status_code == 503
    assert jobs.queue.depth().queued == 0


def test_a_body_that_somebody_has_consumed_is_left_to_the_next_strategy(rf):
    """Whoever reads an upload as a stream, before the guard, keeps nothing of it."""
    request = rf.post("/reserve/", {"file": "x"})
    assert request.POST["file"] == "x"

    assert body_of(request, 1000) is None
    assert body_of(rf.post("/reserve/", "{}", content_type="application/json"), 1000) == b"{}"


def test_who_may_not_reserve_may_not_queue(client: Client):
    """The view's own checks of access come first, whatever the circuit."""
    trip()

    assert client.post("/reserve-members/", "{}", content_type="application/json").status_code == 302
    assert client.post("/rest/reserve/", "{}", content_type="application/json").status_code in (401, 403)
    assert jobs.queue.depth().queued == 0


def test_a_route_of_the_settings_queues_nothing_before_its_view_has_checked_access(client: Client):
    """`ROUTES` refuse before the view runs; only a refusal out of the view itself may be put off."""
    with override_settings(RECLOSER={**settings.RECLOSER, "ROUTES": ROUTES}):
        trip()
        early = client.post("/shop/reserve-routed/", "{}", content_type="application/json")

    assert early.status_code == 503
    assert jobs.queue.depth().queued == 0


def test_the_status_is_read_only(client: Client):
    """405 for what is no question, 404 for what is no job."""
    assert client.post("/jobs/nobody").status_code == 405
    assert client.get("/jobs/nobody").status_code == 404


def test_the_command_lets_go_of_old_database_connections_around_each_job(monkeypatch):
    """A worker that lives for weeks outlives its database's restarts, as Django's requests do."""
    made = []

    class Stopped(Worker):
        def start(self):
            made.append(self._around)

        def join(self):
            """There is nothing to wait for."""

    monkeypatch.setattr("recloser.deferred.commands.Worker", Stopped)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    call_command("recloser", "work", "shopsite.jobs:queue")

    assert made == [close_old_connections]


def test_the_command_lists_and_replays_jobs(client: Client, capsys):
    """`manage.py recloser queue`, as the command line of recloser does."""
    trip()
    post(client, 1, "k")

    call_command("recloser", "queue", "list", "shopsite.jobs:queue")
    assert "queued  reserve" in capsys.readouterr().out
    with pytest.raises(CommandError):
        call_command("recloser", "queue", "replay", "shopsite.jobs:queue", "nobody")
    assert "not among the jobs that were given up: nobody" in capsys.readouterr().err
