"""A client on a terminal: the prompt is drawn first, and the rest imported while the person looks.

The prompt stands on asyncio's loop. Twisted, which takes as long to import as all that comes before, has its
reactor on the same loop as soon as it is there; what was typed until then waits (``client.prompt``).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from importlib import import_module

from encchat.cli.client_run import Program
from encchat.cli.standard import SIGNALS, heeded
from encchat.client.screen.prompt import Prompt, standing
from encchat.client.view.status import Status, shown_room, status_text
from encchat.client.view.titles import title
from encchat.core.names import is_open

#: What is imported behind the prompt.
LATER = (
    "encchat.cli.running",
    "encchat.cli.conversation",
    "encchat.client.screen.terminal",
    "twisted.internet.asyncioreactor",
)


def prompt_of(program: Program) -> Prompt:
    """A prompt that says what is known before anything is opened."""
    room = title(program.room, program.name.shown)
    before = Status(
        room,
        None,
        False,
        str(program.address),
        seal="open" if is_open(program.room) else "sealed",
        coming=True,
    )
    return standing(shown_room(room), lambda columns: status_text(before, columns))


def run_on_terminal(program: Program) -> int:
    """Run a program that draws on the terminal; returns the exit code.

    :raises EncchatError: it cannot go on; the terminal is given back before.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    prompt = prompt_of(program)
    ended: list[int] = []

    def end(number: int, frame: object) -> None:
        if ended:  # again: at once
            os._exit(SIGNALS[signal.Signals(number)])
        ended.append(SIGNALS[signal.Signals(number)])
        loop.call_soon_threadsafe(prompt.leave, ended[0])

    handlers = {number: signal.signal(number, end) for number in heeded()}
    prompt.start(loop)
    try:
        loop.run_until_complete(prompt.shown())
        loop.run_until_complete(loop.run_in_executor(None, load))
        return ended[0] if ended else _run(program, prompt, loop)
    finally:
        if not prompt.over.done():
            prompt.leave(0)
            loop.run_until_complete(asyncio.wait([prompt.over]))
        for number, handler in handlers.items():
            signal.signal(number, handler)


def load() -> None:
    """Import what a conversation needs. (In a thread, so that keys are heard.)"""
    for name in LATER:
        import_module(name)


def _run(program: Program, prompt: Prompt, loop: asyncio.AbstractEventLoop) -> int:
    from twisted.internet import asyncioreactor

    from encchat.cli.running import Runner

    asyncioreactor.install(loop)
    from twisted.internet import reactor

    # What is here by now stays to the end: not to be looked through each time that garbage is collected.
    gc.freeze()
    gc.enable()
    return Runner(reactor).run(lambda: program.run(reactor, prompt))
