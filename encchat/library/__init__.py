"""encchat for programs: bots, bridges, scripts. docs/library.md shows how, from ``encchat.client`` on.

``client`` is the conversation, ``room`` one room of it, ``heard`` an entry. ``opening`` puts together what
every client needs, also the one for people (``encchat.cli``).
"""

from encchat.library.client import Client, RequestRefused, connect
from encchat.library.heard import Heard
from encchat.library.room import NotJoined, NotSent, PutOut, Room

__all__ = ["Client", "Heard", "NotJoined", "NotSent", "PutOut", "RequestRefused", "Room", "connect"]
