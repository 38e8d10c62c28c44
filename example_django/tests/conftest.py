"""What the shop's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings
from shop_processes import Downstream, running_downstream

from recloser.demo.stage import shop_environment


@pytest.fixture
def downstream() -> Iterator[Downstream]:
    with running_downstream() as services:
        yield services


@pytest.fixture(scope="session", autouse=True)
def connections() -> Iterator[None]:
    """Connections to services that are gone are closed at the end."""
    yield
    from teashop.services import client  # noqa: PLC0415 - after Django's set-up

    client.close()


@pytest.fixture
def shop(downstream: Downstream, settings: Settings) -> Downstream:
    """The shop in this process, with all circuits closed, and with services that may fall ill."""
    urls = {service: downstream.urls[service] for service in settings.SERVICES}
    settings.SERVICES = urls
    declared = settings.RECLOSER["BREAKERS"]
    breakers = {service: {**declared[service], "origins": [url]} for service, url in urls.items()}
    settings.RECLOSER = {**settings.RECLOSER, "BREAKERS": breakers}
    return downstream


@pytest.fixture
def environment(downstream: Downstream, tmp_path: Path) -> dict[str, str]:
    """What a server of the shop needs to know: its services, and a database of its own."""
    return {
        **shop_environment(downstream.urls),
        "DJANGO_SETTINGS_MODULE": "teashop.settings",
        "DATABASE": str(tmp_path / "db.sqlite3"),
        "ORDERS_QUEUE": str(tmp_path / "queue" / "orders.db"),
        "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT": "60",  # a circuit that opens stays open while the test looks
    }


@pytest.fixture
def anyio_backend() -> str:
    """Django's asynchronous side runs on asyncio alone."""
    return "asyncio"
