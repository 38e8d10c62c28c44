"""Django: one line of a URLconf offers metrics, and what happens to circuits is logged without any."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest
from django.core.checks import run_checks
from django.test import Client, RequestFactory
from prometheus_client.parser import text_string_to_metric_families
from shopsite.tools import trip

from recloser import ConfigurationError
from recloser.django import conf
from recloser.django.metrics import metrics_view
from recloser.metrics.prometheus import instrument


@pytest.fixture
def measured(settings) -> Iterator[Client]:
    settings.ROOT_URLCONF = "shopsite.measured"
    yield Client()
    instrument(conf.installation().registry)()


def state(client: Client, breaker: str) -> float:
    response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    (family,) = (
        family
        for family in text_string_to_metric_families(response.content.decode())
        if family.name == "circuit_breaker_state"
    )
    return next(sample.value for sample in family.samples if sample.labels["service_name"] == breaker)


def test_a_line_of_the_urlconf_offers_metrics(measured: Client):
    """The first scrape tells every breaker, and the next one what happened."""
    assert state(measured, "payments") == 0
    trip("payments")
    assert state(measured, "payments") == 1


def test_what_plans_may_answer_is_there_from_the_first_scrape(measured: Client):
    """At zero: what ROUTES declares, what guards in the code of views say, and 503 everywhere."""
    text = measured.get("/metrics").content.decode()
    told = re.findall(r'circuit_breaker_degraded_total\{service_name="(.+)",strategy="(.+)"\} (.+)', text)
    assert {(breaker, strategy) for breaker, strategy, _ in told} >= {
        ("inventory", "unavailable"),
        ("inventory", "defer"),
        ("payments", "unavailable"),
    }
    assert {number for *_, number in told} == {"0.0"}


def test_a_declared_plan_is_there_before_its_route_is_asked(measured: Client, settings):
    """What ROUTES declares needs no request to be known."""
    plan = [{"stale": 60}, {"json": {}}]
    settings.RECLOSER = {
        "BREAKERS": {"fresh": {}},
        "ROUTES": {"/fresh": {"breakers": ["fresh"], "plan": plan}},
    }
    text = measured.get("/metrics").content.decode()
    for strategy in ("stale", "json", "unavailable"):
        assert f'circuit_breaker_degraded_total{{service_name="fresh",strategy="{strategy}"}} 0.0' in text


def test_openmetrics_is_spoken_to_whom_it_is_told(measured: Client):
    """The view reads what the scraper accepts."""
    response = measured.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")


def test_metrics_follow_overridden_settings(measured: Client, settings):
    """A test's own declaration is measured, too."""
    assert state(measured, "payments") == 0
    settings.RECLOSER = {"BREAKERS": {"fresh": {}}}
    assert state(measured, "fresh") == 0


def test_transitions_are_logged_unasked(client: Client, caplog):
    """A project that never heard of this logger reads in its log that a circuit opened, and why."""
    with caplog.at_level(logging.INFO, "recloser.events"):
        trip("payments")
    (record,) = (record for record in caplog.records if record.name == "recloser.events")
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("circuit 'payments' is open, was closed")


def test_wrong_declaration_is_left_to_the_checks(settings):
    """A URLconf with metrics can be imported, so that `manage.py check` tells all that is wrong rather than a traceback."""
    settings.RECLOSER = {"BREKERS": {}}

    view = metrics_view()

    assert "recloser.E002" in {message.id for message in run_checks()}
    with pytest.raises(ConfigurationError, match="did you mean 'BREAKERS'"):
        view(RequestFactory().get("/metrics"))
