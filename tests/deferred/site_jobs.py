"""The jobs of a shop for real processes, which kill themselves at a step that a test names, once."""

import os
import signal
import urllib.request
from pathlib import Path

from recloser import Registry
from recloser.deferred import Queue, sweeping
from recloser.deferred import queue as deferred_queue

FOLDER = Path(os.environ["SITE_FOLDER"])
PAYMENTS = os.environ["PAYMENTS_URL"]

registry = Registry({"BREAKERS": {"payments": {"failure_threshold": 1, "recovery_timeout": 0.3}}})
queue = Queue(FOLDER / "q" / "jobs.db", registry, rate=100.0, lease=float(os.environ.get("LEASE", "1.0")))


def step(name: str) -> None:
    """Die here if the test says so, and nobody has yet."""
    if os.environ.get("KILL_AT") == name and not (FOLDER / "killed").exists():
        (FOLDER / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def die_around(method: str) -> None:
    inner = getattr(queue.table, method)

    def around(*args, **kwargs):
        step(f"before {method}")
        result = inner(*args, **kwargs)
        step(f"after {method}")
        return result

    setattr(queue.table, method, around)


for name in ("submit", "claim", "complete", "put_back"):
    die_around(name)


def pay(key: str) -> str:
    request = urllib.request.Request(
        f"{PAYMENTS}/charges", data=b"{}", method="POST", headers={"Idempotency-Key": key}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


@queue.task("payments")
def checkout(job):
    step("before call")
    receipt = pay(job.key)
    step("after call")
    return receipt


@queue.task("payments")
def crash(job):
    os._exit(7)


deferred_queue.PATIENCE = sweeping.EVERY = 0.5  # seconds

match os.environ.get("EXECUTOR"):
    case "celery":
        from celery import Celery

        from recloser.deferred.celery import run_by

        celery_app = Celery("shop", broker=os.environ["BROKER"])
        run_by(celery_app, queue)
    case "huey":
        from huey import SqliteHuey

        from recloser.deferred.huey import run_by

        huey = SqliteHuey(filename=str(FOLDER / "huey.db"))
        run_by(huey, queue)
    case "django":
        import django
        from django.apps import apps

        os.environ["DJANGO_SETTINGS_MODULE"] = "deferred.tasks_settings"
        if not apps.ready:
            django.setup()
        from recloser.deferred.django_tasks import run_by

        run_by("deferred.site_jobs:queue")
