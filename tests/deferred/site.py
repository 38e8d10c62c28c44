"""The web side of the shop, which its workers need not import."""

from fastapi import FastAPI, Request

from deferred.site_jobs import checkout, pay, queue, registry, step
from recloser.deferred.resource import JobStatus
from recloser.fastapi import guard, install
from recloser.http import plans

app = FastAPI()
install(app, registry)
app.mount(queue.url, JobStatus(queue))


@app.post("/checkout")
@guard("payments", plan=[plans.defer(checkout)])
def order(request: Request) -> str:
    return pay(request.headers["idempotency-key"])


@app.middleware("http")
async def die_before_the_answer(request, call_next):
    answer = await call_next(request)
    if answer.status_code == 202:
        step("before answer")
    return answer
