"""The whole demo: two drives, their comparison, and the shop left running if asked for."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from functools import partial

from rich.console import Console

from recloser.demo.drive import Drive
from recloser.demo.screen import screen_for
from recloser.demo.script import Script
from recloser.demo.shops import DemoError, Shop, example_folder
from recloser.demo.stage import WORKERS, Stage, set_stage
from recloser.demo.summary import comparison

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def show(shop: Shop, *, seconds: float, port: int | None, serve: bool) -> int:
    """Run the demo.

    Args:
        shop: Which example.
        seconds: How long both drives take together.
        port: The shop's port; `None` chooses a free one.
        serve: Keep the shop up afterwards, until Ctrl-C.

    Returns:
        The exit status: 0, 1 if the demo could not run, 128 + the signal that ended it early.
    """
    return asyncio.run(_until_signalled(shop, seconds=seconds, port=port, serve=serve))


async def _until_signalled(shop: Shop, *, seconds: float, port: int | None, serve: bool) -> int:
    console = Console(highlight=False)
    performance = asyncio.create_task(_perform(console, shop, seconds=seconds, port=port, serve=serve))
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
        console.print(f"recloser demo: {error}", style="red", markup=False)
        return 1
    return 0


async def _perform(console: Console, shop: Shop, *, seconds: float, port: int | None, serve: bool) -> None:
    console.print(f"The shop: {shop.title}, {WORKERS} workers.", markup=False)
    script = Script.lasting(seconds / 2)
    drive = partial(_drive, console, shop, script, port=port)
    guarded = await drive("with breakers", breakers=True)
    bare = await drive("without breakers", breakers=False)
    console.print(comparison(guarded, bare))
    if serve:
        await _serve(console, shop, script, port=port)


async def _drive(
    console: Console, shop: Shop, script: Script, title: str, *, port: int | None, breakers: bool
) -> Drive:
    async with set_stage(shop, breakers=breakers, port=port, script=script) as stage:
        drive = Drive(title, script, stage)
        with screen_for(console) as screen:
            await drive.play(partial(screen.show, drive))
    return drive


async def _serve(console: Console, shop: Shop, script: Script, *, port: int | None) -> None:
    async with (
        shop.site(example_folder(shop.folder, shop.program)) as site,
        set_stage(shop, breakers=True, port=port, script=script, environment=site.environment) as stage,
    ):
        _invite(console, stage, site.invitation.format(shop=stage.shop_url))
        with suppress(asyncio.CancelledError):  # Ctrl-C is how serving ends
            await asyncio.Event().wait()


def _invite(console: Console, stage: Stage, invitation: str) -> None:
    shop, control = stage.shop_url, stage.downstream.urls["control"]
    console.print(
        f"""
The shop is up at {shop}
{invitation}

  curl -i {shop}/products/7
  curl -i {shop}{stage.shop.checkout} --json '{{"product": 7, "quantity": 1}}'

Let a service fall ill (errors, slow, hang, reset, truncated), or get well (healthy):

  curl -X PUT {control}/inventory/hang
  curl -X PUT {control}/all/healthy
  curl {control}/      # what reached each service

Ctrl-C ends it.""",
        markup=False,
        soft_wrap=True,
    )
