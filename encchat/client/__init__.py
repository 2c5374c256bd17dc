"""The client: connection, stored state, and the consoles that people and programs use.

Where to look first: ``protocol.session`` (pure), then ``chat`` (session, store and link joined), then a
console: ``screen.terminal``, ``screen.linear`` or ``pipe.pipe``. The slash commands are in ``commands``, what
happens is put into words in ``view`` and kept in ``store``; sealed rooms are in ``sealed``, files in
``files``, and the way to the server, with what a person decides about it, in ``network``.

``connect`` is where a program begins (docs/library.md); it is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encchat.library.client import Client, RequestRefused, connect
    from encchat.library.heard import Heard
    from encchat.library.room import NotJoined, NotSent, PutOut, Room

__all__ = ["Client", "Heard", "NotJoined", "NotSent", "PutOut", "RequestRefused", "Room", "connect"]

_PLACES = {
    "client": ("Client", "RequestRefused", "connect"),
    "heard": ("Heard",),
    "room": ("NotJoined", "NotSent", "PutOut", "Room"),
}


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"encchat.library.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
