"""The client: connection, stored state, and the consoles that people and programs use.

Where to look first: ``session`` (the protocol, pure), then ``chat`` (session, store and link joined), then a
console: ``pipe``, ``terminal`` or ``linear``. What a person decides about servers is in ``trust``.

``connect`` is where a program begins (docs/library.md); it is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encchat.library import Client, Heard, Room, connect

__all__ = ["Client", "Heard", "Room", "connect"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from encchat import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
