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
from recloser.demo.stage import DemoError, Stage, set_stage
from recloser.demo.summary import comparison

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def show(*, seconds: float, port: int | None, serve: bool) -> int:
    """Run the demo.

    Args:
        seconds: How long both drives take together.
        port: The shop's port; `None` chooses a free one.
        serve: Keep the shop up afterwards, until Ctrl-C.

    Returns:
        The exit status: 0, 1 if the demo could not run, 128 + the signal that ended it early.
    """
    return asyncio.run(_until_signalled(seconds=seconds, port=port, serve=serve))


async def _until_signalled(*, seconds: float, port: int | None, serve: bool) -> int:
    console = Console(highlight=False)
    performance = asyncio.create_task(_perform(console, seconds=seconds, port=port, serve=serve))
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


async def _perform(console: Console, *, seconds: float, port: int | None, serve: bool) -> None:
    script = Script.lasting(seconds / 2)
    guarded = await _drive(console, "with breakers", script, port=port, breakers=True)
    bare = await _drive(console, "without breakers", script, port=port, breakers=False)
    console.print(comparison(guarded, bare))
    if serve:
        async with set_stage(breakers=True, port=port, script=script) as stage:
            _invite(console, stage)
            with suppress(asyncio.CancelledError):  # Ctrl-C is how serving ends
                await asyncio.Event().wait()


async def _drive(console: Console, title: str, script: Script, *, port: int | None, breakers: bool) -> Drive:
    async with set_stage(breakers=breakers, port=port, script=script) as stage:
        drive = Drive(title, script, stage)
        with screen_for(console) as screen:
            await drive.play(partial(screen.show, drive))
    return drive


def _invite(console: Console, stage: Stage) -> None:
    shop, control = stage.shop_url, stage.downstream.urls["control"]
    console.print(
        f"""
The shop is up at {shop} (its API: {shop}/docs).

  curl -i {shop}/products/7
  curl -i {shop}/checkout --json '{{"product": 7, "quantity": 1}}'

Let a service fall ill (errors, slow, hang, reset, truncated), or get well (healthy):

  curl -X PUT {control}/inventory/hang
  curl -X PUT {control}/all/healthy
  curl {control}/      # what reached each service

Ctrl-C ends it.""",
        markup=False,
        soft_wrap=True,
    )
