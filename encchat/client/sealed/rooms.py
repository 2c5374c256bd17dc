"""``Chat.sealed``: what a person does with sealed rooms, devices and identities.

Whatever needs the server may be asked for without a connection: it is kept, and done when there is one. What
becomes of it is told by events; see each method. Names are given as people write them.
"""

from __future__ import annotations

from msgspec import Struct

from encchat.client import events as e
from encchat.client.protocol.outbox import Item
from encchat.client.sealed.doorway import Answer, Ask
from encchat.client.sealed.holding import LEAVE, MAX_GUESTS, refusing
from encchat.client.sealed.kept import Kept
from encchat.client.sealed.people import People, key_named
from encchat.core.names import BadRoom, conversation, is_conversation, is_open, other, parse_name, parse_room
from encchat.core.sealed import effects as fx
from encchat.core.sealed.changes import Change
from encchat.core.sealed.payload import BUCKETS, MAX_SAID
from encchat.core.sealed.vault import NotSealed
from encchat.errors import RefusedError

#: What surrounds a message: inside of its plaintext, and outside of it.
_INSIDE, _OUTSIDE = 512, 256


class NotInThere(RefusedError):
    """You are not in {room}."""

    code = "not-a-member"


class RoomSeal(Struct, frozen=True):
    """How a room is protected: whether it is sealed; how sure it is who the others are (the least sure of
    them counts: ``core.sealed.events``); how many entries wait for a key; whether the server was seen to show
    different histories of it; and whose changed identity blocks sending."""

    sealed: bool
    trust: str = ""
    waiting: int = 0
    forked: bool = False
    blocked: tuple[str, ...] = ()


class Person(Struct, frozen=True):
    """Somebody in a sealed room."""

    name: str
    admin: bool
    trust: str


class SealedRooms(People):
    """Every method but those of the first part raises ``SealedUnavailable`` where there is no vault."""

    # --------------------------------------------------------------------------- rooms and their names

    def is_sealed(self, room: str) -> bool:
        """Whether the server cannot read this room."""
        return not is_open(room)

    def title(self, room: str) -> str:
        """What people call a room: ``@bob`` is the conversation with bob."""
        if is_conversation(room):
            try:
                return "@" + other(room, self._user)
            except BadRoom:
                return room
        return room

    def room_named(self, text: str) -> str:
        """The room that people call so.

        :raises RefusedError: no room can be called so.
        """
        if text.startswith("@") and "&" not in text:
            return conversation(self._user, text[1:])
        return parse_room(text)

    def seal_of(self, room: str) -> RoomSeal:
        """How a room is protected."""
        if is_open(room):
            return RoomSeal(False)
        vault = self._vault
        if vault is None:
            return RoomSeal(True, fx.UNKNOWN)
        people = self.members(room)
        blocked = tuple(person.name for person in people if person.trust == fx.CHANGED)
        return RoomSeal(
            True, vault.room_trust(room), len(vault.waiting(room)), vault.is_forked(room), blocked
        )

    def members(self, room: str) -> tuple[Person, ...]:
        """Who is in a room, by its last roster; nobody before that was read."""
        vault = self._vault
        roster = None if vault is None or is_open(room) else vault.roster(room)
        if vault is None or roster is None:
            return ()
        return tuple(
            Person(
                name, name in roster.admins, fx.VERIFIED if name == self._user else vault.trust_in(room, name)
            )
            for name in sorted(roster.identities)
        )

    def is_renewed(self, room: str, name: str) -> bool:
        """Whether a room means by a member's name the very identity that is accepted for it here."""
        return self._vault is None or self._vault.means(room, key_named(name))

    def rooms(self) -> list[str]:
        """The sealed rooms that were read here, and that this person did not leave."""
        if self._vault is None or self._memory is None:
            return []
        return [room for room in self._vault.rooms() if not self._memory.note(room).out]

    def max_body(self) -> int:
        """The body of one message at most, in bytes."""
        limit = self._session.max_body - _OUTSIDE
        largest = max((size for size in BUCKETS if size <= limit), default=BUCKETS[0])
        return max(1, min(MAX_SAID, largest - _INSIDE))

    # ------------------------------------------------------------------------------ changing who is in

    def create(self, room: str, members: tuple[str, ...] | list[str] = ()) -> int:
        """Make a sealed room, with others in it, and go in. Returns a request, as all of these methods do:
        ``ActDone`` or ``RequestFailed`` tells how it ended."""
        room = self.room_named(room)
        change = Change(create=True, add=tuple(map(key_named, members)))
        return self._change(room, "create", change)

    def invite(self, room: str, *names: str) -> int:
        """Let people in. They read what is said from then on."""
        return self._change(room, "invite", Change(add=tuple(map(key_named, names))))

    def remove(self, room: str, *names: str) -> int:
        """Put people out."""
        return self._change(room, "remove", Change(remove=tuple(map(key_named, names))))

    def promote(self, room: str, *names: str) -> int:
        """Let people change who is in."""
        return self._change(room, "promote", Change(promote=tuple(map(key_named, names))))

    def demote(self, room: str, *names: str) -> int:
        """Let them change it no more."""
        return self._change(room, "demote", Change(demote=tuple(map(key_named, names))))

    def renew(self, room: str, name: str) -> int:
        """Take the identity that was accepted for a member in the place of the one that the room means."""
        return self._change(room, "renew", Change(renew=(key_named(name),)))

    def leave(self, room: str) -> int:
        """Leave a room for good; ``LeftRoom`` follows, too. (One parts from a conversation, ``Session.part``,
        and is in it all the same.)"""
        self._leaving.add(room)
        return self._change(room, LEAVE, Change(leave=True))

    def conversation(self, name: str) -> str:
        """The sealed conversation with somebody, which is made or entered if need be: one may write to it at
        once. If that cannot be, ``RequestFailed`` tells, and ``NotSent`` of what was written.

        :raises RefusedError: nobody is called so, or it is oneself.
        """
        self._check()
        room = conversation(self._user, name)
        if room in self._session.rooms or room in self.entering:
            return room
        assert self._vault is not None, "checked"
        if self._vault.roster(room) is not None:
            self.entering.add(room)
            self._session.join(room)
            self._chat.flush()
        else:
            self._change(room, "converse", Change(create=True, add=(parse_name(name).key,)))
        return room

    def _change(self, room: str, act: str, change: Change) -> int:
        self._check()
        request, msgid = self._session.new_request(), self._chat.new_msgid()
        self._acts[msgid] = request, act
        if change.create:
            self._making(room, msgid, request)
        try:
            self.perform(lambda vault, now: vault.change(room, msgid, change, now))
        except BaseException:
            self._acts.pop(msgid, None)
            self.entering.discard(room)
            raise
        return request

    # ------------------------------------------------------------------------------------------ saying

    def say(self, items: list[Item]) -> None:
        """Keep what was typed for sealed rooms, and send it as soon as it can be.

        :raises UsageError: it is too long, or too much waits.
        :raises StorageError: it cannot be kept, and is not sent.
        """
        for item in items:
            if not self.is_beside:
                self._check()
            self._say(item)

    def _say_for(self, ask: Ask) -> None:
        """Say something for another process.

        :raises EncchatError: nobody here is in that room, or it cannot be kept.
        """
        room = parse_room(ask.room)
        vault = self._check()
        if is_open(room):
            raise NotSealed(room=room)
        found = self._found(room, ask.msgid)
        if found is not None:
            self._doorway.ended(Answer(ask.msgid, found.seq, found.time))
            return
        if is_conversation(room):
            self.conversation(other(room, self._user))
        elif room not in self._session.rooms:
            if vault.roster(room) is None:
                raise NotInThere(room=room)
            self.entering.add(room)
            self._session.join(room, by_itself=True)
            self._chat.flush()
        self._guests[ask.msgid] = None
        if len(self._guests) > MAX_GUESTS:
            del self._guests[next(iter(self._guests))]
        self._say(Item(ask.msgid, room, ask.kind, ask.body))

    def waiting(self) -> list[Item]:
        """What was said and is not stored yet."""
        return list(self._items.values())

    @property
    def unacknowledged(self) -> int:
        """How much was said or changed and is not stored yet, in rooms that we are in or about to enter."""
        vault = self._vault
        if vault is None:
            return len(self._items) if self.is_beside else self._owed
        rooms = self._session.rooms
        return sum(x.room in rooms or x.room in self.entering for x in vault.outgoing())

    def withdraw(self) -> None:
        """Forget what this run said and is not stored yet: whoever said it hears that it was not sent. What
        an earlier one said goes on."""
        for msgid in self._said.intersection(self._items):
            self._relay.withdraw(msgid)
            self._answer(refusing(msgid, "withdrawn", ""))

    # ----------------------------------------------------------------------------------- what was said

    def history(self, room: str, before: int = 0, limit: int = 100, *, after: int | None = None) -> e.History:
        """A page of what was opened here: before a number, or after one."""
        memory = self._memory
        if memory is None:
            return e.History(0, room, (), False, local=True)
        if after is not None:
            return memory.page_after(room, after, limit)
        return memory.page(room, before, limit)

    def kept_after(self, room: str, after: int, limit: int) -> list[Kept]:
        """The first entries after a number that were opened here, with how and where."""
        return [] if self._memory is None else self._memory.after(room, after, limit)

    def search(self, room: str, words: str, before: int = 0, limit: int = 50) -> e.SearchFound:
        """Search what was opened here.

        :raises RefusedError: there is no word to search for.
        """
        memory = self._memory
        if memory is None:
            return e.SearchFound(0, room, (), 0, False, local=True)
        return memory.search(room, words, before, limit)
