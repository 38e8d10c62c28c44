"""The whole demo: two drives, their comparison, and the shop left running if asked for."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from rich.console import Console

from recloser.demo.drive import Drive
from recloser.demo.meeting import Meeting, meeting
from recloser.demo.screen import screen_for
from recloser.demo.script import Script
from recloser.demo.shops import DemoError, Shop, example_folder
from recloser.demo.stage import SERVED, WORKERS, Stage, set_stage
from recloser.demo.summary import comparison

SERVED_NAMESPACE: Final = "shop"
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def show(shop: Shop, *, seconds: float, port: int | None, serve: bool, store: str = "") -> int:
    """Run the demo.

    Args:
        shop: Which example.
        seconds: How long both drives take together.
        port: The shop's port; `None` chooses a free one.
        serve: Keep the shop up afterwards, until Ctrl-C.
        store: Where the workers meet: `sqlite`, `redis`, or `""` for nowhere.

    Returns:
        The exit status: 0, 1 if the demo could not run, 128 + the signal that ended it early.
    """
    drive = _Demo(Console(highlight=False), shop, Script.lasting(seconds / 2), port, store)
    return asyncio.run(_until_signalled(drive, serve=serve))


class _Demo(NamedTuple):
    """What all stages have in common."""

    console: Console
    shop: Shop
    script: Script
    port: int | None
    store: str


async def _until_signalled(demo: _Demo, *, serve: bool) -> int:
    performance = asyncio.create_task(_perform(demo, serve=serve))
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if not received:  # once: a second Ctrl-C must not interrupt the clearing away
            received.append(number)
            performance.cancel()

    loop = asyncio.get_running_loop()
    for number in ENDING_SIGNALS:
        loop.add_signal_handler(number, partial(end, number))
    try:
        await performance
    except asyncio.CancelledError:
        return 128 + received[0]
    except DemoError as error:
        return _give_up(demo, error)
    except ExceptionGroup as errors:
        _, others = errors.split(DemoError)
        if others is not None:
            raise
        return _give_up(demo, errors.exceptions[0])
    return 0


def _give_up(demo: _Demo, error: Exception) -> int:
    demo.console.print(f"recloser demo: {error}", style="red", markup=False)
    return 1


async def _perform(demo: _Demo, *, serve: bool) -> None:
    meet = f", which meet in a {demo.store} store" if demo.store else ""
    demo.console.print(f"The shop: {demo.shop.title}, {WORKERS} workers{meet}.", markup=False)
    async with meeting(demo.store) as place:
        guarded = await _drive(demo, "with breakers", place, breakers=True)
        bare = await _drive(demo, "without breakers", None, breakers=False)
        demo.console.print(comparison(guarded, bare), soft_wrap=not demo.console.is_terminal)
        if serve:
            await _serve(demo, place)


async def _drive(demo: _Demo, title: str, place: Meeting | None, *, breakers: bool) -> Drive:
    async with set_stage(
        demo.shop, breakers=breakers, port=demo.port, script=demo.script, place=place, namespace="drive"
    ) as stage:
        drive = Drive(title, demo.script, stage, place)
        with screen_for(demo.console) as screen:
            await drive.play(partial(screen.show, drive))
    return drive


async def _serve(demo: _Demo, place: Meeting | None) -> None:
    shop = demo.shop
    async with (
        shop.site(example_folder(shop.folder, shop.program)) as site,
        set_stage(
            shop,
            breakers=True,
            port=demo.port,
            script=demo.script,
            place=place,
            namespace=SERVED_NAMESPACE,
            workers=WORKERS if place is None else SERVED,
            environment=site.environment,
        ) as stage,
    ):
        meet = site.alone if place is None else _meeting(place)
        invitation = f"{site.invitation}\n{meet}".rstrip()
        _invite(demo.console, stage, invitation.format(shop=stage.shop_url))
        with suppress(asyncio.CancelledError):  # Ctrl-C is how serving ends
            await asyncio.Event().wait()


def _meeting(place: Meeting) -> str:
    where = f"--namespace {SERVED_NAMESPACE} --store {place.url(SERVED_NAMESPACE)}"
    return f"""Its {SERVED} workers and the queue's act as one; see and steer them from another terminal too:

  recloser watch {where}
  recloser open payments --for 5m --reason "provider is down" {where}"""


def _invite(console: Console, stage: Stage, invitation: str) -> None:
    shop, control = stage.shop_url, stage.downstream.urls["control"]
    console.print(
        f"""
The shop is up at {shop}
{invitation}

  curl -i {shop}/products/7
  curl -i {shop}{stage.shop.checkout} --json '{{"product": 7, "quantity": 1}}'
  curl -i {shop}{stage.shop.orders} -H 'Idempotency-Key: mine-1' --json '{{"product": 7, "quantity": 1}}'    # without payments: put off

Let a service fall ill (errors, slow, hang, reset, truncated), or get well (healthy):

  curl -X PUT {control}/inventory/hang
  curl -X PUT {control}/all/healthy
  curl {control}/      # what reached each service

Ctrl-C ends it.""",
        markup=False,
        soft_wrap=True,
    )
