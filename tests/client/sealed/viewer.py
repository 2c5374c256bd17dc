"""Somebody at a console, with a whole client behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import TestCase

from encchat.client import events as e
from encchat.client.files import files
from tests.client.screen.test_console import Screen
from tests.client.sealed.town import Person, Town

LOBBY = "+lobby"
ROOM = "#tea"


class Viewer(Person):
    """Somebody at a console."""

    def start(self) -> None:
        super().start()
        self.screen = Screen(self.town.clock, self.chat, LOBBY, None)
        self.screen.connected = True
        self.told = list(self.listener.events)
        show = self.screen.happened

        def happened(events: Sequence[e.Event]) -> None:
            self.told += events
            show(events)

        self.screen.happened = happened  # type: ignore[method-assign]  # what it is told is kept, too
        self.chat._console = self.screen
        show(self.listener.events)
        self.done = Deferred.fromCoroutine(self.screen.run())
        self.done.addErrback(lambda failure: None)
        self.town.settle()

    def type(self, *lines: str) -> str:
        """Type lines; what they made appear."""
        before = len(self.screen.lines)
        for line in lines:
            self.screen.typed(line)
            self.town.later(2)
        return "\n".join(self.screen.lines[before:])

    @property
    def text(self) -> str:
        return self.screen.text


class SeenCase(TestCase):
    def setUp(self) -> None:
        self.patch(files, "deferToThread", maybeDeferred)
        self.here = Path(self.mktemp()).absolute()
        self.town = Town()
        self.alice, self.bob = self.person("alice"), self.person("bob")

    def person(self, name: str, directory: str = "", **more: Any) -> Viewer:
        viewer = Viewer(self.town, self.here / (directory or name), name, **more)
        self.addCleanup(self.leave, viewer)
        self.town.later(2)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        if viewer.sealed.available or viewer.chat.session.admitted:
            viewer.end()
