"""The Django tests run in the project `shopsite`, which no other test knows of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.conf import settings

if not settings.configured:
    sys.path.append(str(Path(__file__).parent))
    from shopsite import settings as project

    # Not by an environment variable, which other tests' processes would inherit.
    settings.configure(**{name: getattr(project, name) for name in dir(project) if name.isupper()})
    django.setup()

from django.core.cache import caches
from shopsite.services import Inventory, inventory
from shopsite.tools import trip

from recloser import CircuitBreaker
from recloser.django import conf


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Every test has its own breakers, all closed, services that work, and empty caches."""
    conf.on_setting_changed(setting="RECLOSER")
    inventory.calls = 0
    yield
    inventory.error = None  # with its traceback, and all that hangs on it
    inventory.answers_badly = False
    conf.on_setting_changed(setting="RECLOSER")
    for cache in caches.all():
        cache.clear()


@pytest.fixture
def anyio_backend() -> str:
    """Django's asynchronous side runs on asyncio alone."""
    return "asyncio"


@pytest.fixture
def services() -> Inventory:
    return inventory


@pytest.fixture
def opened() -> CircuitBreaker:
    """The inventory's circuit, open."""
    return trip()
