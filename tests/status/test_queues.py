"""What was put off, as the status shows it: how many jobs wait for which breaker, and for how long."""

from __future__ import annotations

import jsonschema
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from recloser import Registry
from recloser.deferred import Queue
from recloser.status.app import StatusApp
from recloser.status.snapshot import schema, snapshot


@pytest.fixture
def registry():
    with Registry({"BREAKERS": {"payments": {}, "mail": {}}}) as registry:
        yield registry


@pytest.fixture
def queue(registry, tmp_path):
    queue = Queue(tmp_path / "q" / "orders.db", registry)
    queue.task("payments", name="charge")(print)
    yield queue
    queue.close()


@pytest.fixture
def client(registry):
    app = Starlette()
    app.mount("/breakers", StatusApp(registry, public=True))
    return TestClient(app, base_url="http://shop.example")


def told(registry):
    document = snapshot(registry)
    jsonschema.Draft202012Validator(schema()).validate(document)
    return document["queues"]


def test_the_document_tells_depth_and_age(registry, queue):
    """From the first look on, of every queue that waits for one of these breakers."""
    assert told(registry) == [
        {
            "name": "orders",
            "breakers": ["payments"],
            "depth": {"queued": 0, "running": 0, "done": 0, "failed": 0, "oldest": 0},
        }
    ]
    queue.tasks["charge"].later()
    depth = told(registry)[0]["depth"]

    assert depth["queued"] == 1
    assert depth["oldest"] > 0


def test_a_queue_of_other_breakers_is_not_shown(queue):
    """Another application of the same process has a page of its own."""
    with Registry({"BREAKERS": {"payments": {}}}) as other:
        assert told(other) == []


def test_page_and_text_show_the_queue(client, queue):
    """In a line below the counts of breakers, where a live page renews it."""
    queue.tasks["charge"].later()
    line = "queue orders (payments): 1 waiting, 0 running, the oldest for 0 s; 0 done, 0 given up"

    page = client.get("/breakers/", headers={"accept": "text/html"}).text
    plain = client.get("/breakers/", headers={"accept": "text/plain"}).text

    assert f"<p>{line}</p></div>" in page
    assert line in plain.splitlines()


def test_a_queue_that_cannot_be_read_is_said_so(registry, client, queue):
    """The rest of the page is there."""
    queue.depth()
    queue.close()
    queue.table.path.write_bytes(b"no database" * 100)

    assert told(registry)[0]["depth"] is None
    answer = client.get("/breakers/", headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert "queue orders (payments): cannot be read" in answer.text
