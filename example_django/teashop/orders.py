"""Orders that can wait: put off while payments is down, charged once it is well again by `manage.py recloser work teashop.orders:queue`."""

from django.conf import settings

from recloser.deferred import Job, Queue
from recloser.deferred.prometheus import instrument
from recloser.django import registry
from teashop.services import ask

queue = Queue(settings.ORDERS_QUEUE, registry, rate=10)
instrument(queue)  # its depth and age are in /metrics


@queue.task("payments")
def charge_later(job: Job) -> dict[str, object]:
    """Charge an order that was put off, under the same key at every attempt."""
    return ask("POST", "payments", "/charges", job.request.json(), {"Idempotency-Key": job.key})
