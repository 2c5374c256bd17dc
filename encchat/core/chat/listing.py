"""The list of rooms, as somebody may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encchat.core.chat.rooms import LIST_BYTES
from encchat.core.moderation.rules import Person, RoomRecord
from encchat.core.names import LOBBY, is_open
from encchat.messages import RoomInfo

if TYPE_CHECKING:
    from encchat.core.chat.hub import Hub

#: Rooms that a list shows at most.
MAX_ROOM_LIST = 1000


class Listing:
    """Makes it, and remembers how many entries the rooms have in which nobody is."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._counted: dict[str, int] = {}

    def forget(self, name: str) -> None:
        """The room's entries have to be counted anew."""
        self._counted.pop(name, None)

    async def rooms_for(self, asker: Person) -> tuple[RoomInfo, ...]:
        """The rooms that somebody can enter, by name, the lobby first; where there are too many for one
        message, those with the most members in them."""
        hub = self._hub
        known = await self._known(asker)
        infos = {}
        counted = self._counted = {name: self._counted[name] for name in known if name in self._counted}
        for name, record in known.items():
            if hub.present_room(name) is None and record.invites_in(asker):
                if name not in counted:
                    counted[name] = (await hub.log.head(name)).seq
                infos[name] = RoomInfo(name, 0, counted[name], record.topic, record.private)
        for room in hub.present_rooms():
            if room.loaded and room.is_shown_to(asker):
                infos[room.name] = room.info()
        infos.setdefault(LOBBY, RoomInfo(LOBBY, 0, 0))
        shown: list[RoomInfo] = []
        size = 0
        for info in sorted(infos.values(), key=lambda i: (i.room != LOBBY, -i.members, i.room)):
            size += len(info.room.encode("utf-8")) + len(info.topic.encode("utf-8")) + 24
            if size > LIST_BYTES or len(shown) == MAX_ROOM_LIST:
                break
            shown.append(info)
        return tuple(sorted(shown, key=lambda i: (i.room != LOBBY, i.room)))

    async def _known(self, asker: Person) -> dict[str, RoomRecord]:
        """The open rooms that there are, and the sealed ones that the asker is in."""
        hub = self._hub
        found = await hub.directory.rooms(MAX_ROOM_LIST, "+")
        known = {name: record for name, record in found.items() if is_open(name)}
        for name in (await hub.enrolment.rooms_of(asker.name))[:MAX_ROOM_LIST]:
            record = await hub.directory.room(name)
            if record is not None:
                known[name] = record
        return known
