"""``connect``: a program's conversation with one server.

The library stands where the consoles stand, on ``encchat.client.chat``: the same store, outbox, trust and
reconnecting. Everything that is awaited here can be awaited from Twisted's coroutines and from asyncio's
tasks (``waiting``). What the program does is never called in the midst of ours: whoever waits goes on in a
turn of the reactor of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from encchat.ciphers.registry import client_cipher
from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.network.address import parse_address
from encchat.client.network.link import Link, Patience
from encchat.client.network.trust import Trust
from encchat.client.profile import choose_name, open_profile
from encchat.client.protocol.requests import QuestionMessage
from encchat.core.names import is_open, parse_room
from encchat.errors import RefusedError, UsageError
from encchat.library.driving import find_reactor, release_threads
from encchat.library.held import Held
from encchat.library.opening import Opening, milliseconds, prepare
from encchat.library.pending import Pending
from encchat.library.room import NotJoined, NotSent, PutOut, Room
from encchat.library.waiting import in_task, wait
from encchat.messages import DEFAULT_PORT, Profile, RoomInfo

_T = TypeVar("_T")
_log = Logger()


class Over(UsageError):
    """The conversation is over. Connect anew: async with connect(...) as chat."""


class RequestRefused(RefusedError):
    """The server answers: {reason}"""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(reason=text)
        #: The server's stable word for it.
        self.reason = code


def connect(
    address: str = f"127.0.0.1:{DEFAULT_PORT}",
    *,
    cipher: str = "rsa",
    name: str | None = None,
    state: str | Path | None = None,
    pin: str | None = None,
    accept_new: bool = False,
    accept_log: bool = False,
    link_code: str = "",
    keep_trying: bool = False,
    reactor: Any = None,
) -> Client:
    """A conversation with the server at ``address``, for ``async with``; the arguments are the options of
    ``encchat-client``.

    ``name`` is the name to be known by (default: ENCCHAT_NAME, or the login name); each has its own key,
    kept in the directory ``state``. A server that was not met yet is refused, unless ``pin`` is its
    fingerprint or ``accept_new`` is true. With ``keep_trying`` a server that is not there yet is waited
    for; one that goes away later always is.
    """
    return Client(address, cipher, name, state, pin, accept_new, accept_log, link_code, keep_trying, reactor)


class Client:
    """What ``connect`` gives. Entering it returns once the server has let us in.

    :raises EncchatError: it does not, or the profile cannot be used; the subclass says who must act.
    """

    chat: Chat
    _link: Link
    _pending: Pending

    def __init__(
        self,
        address: str,
        cipher: str,
        name: str | None,
        state: str | Path | None,
        pin: str | None,
        accept_new: bool,
        accept_log: bool,
        link_code: str,
        keep_trying: bool,
        reactor: Any,
    ) -> None:
        self._address = parse_address(address)
        self._name = choose_name(name, os.environ)
        self._cipher_text = cipher
        self._state = None if state is None else Path(state)
        self._pin, self._accept_new, self._accept_log = pin, accept_new, accept_log
        self._link_code, self._keep_trying = link_code, keep_trying
        self._reactor = reactor
        self._rooms: dict[str, Room] = {}
        self._events = Held()
        #: Why it is over; None: it is not.
        self._error: Exception | None = None

    # ------------------------------------------------------------------------------ coming and going

    async def __aenter__(self) -> Client:
        reactor = self._reactor = self._reactor or find_reactor()
        self._pending = Pending(reactor)
        directory = open_profile(self._name, self._state)
        self._opening = opening = Opening(directory, self._address)
        try:
            self._cipher = client_cipher(self._cipher_text, directory, self._name.shown)
            await wait(Deferred.fromCoroutine(prepare(reactor, self._cipher)))
        except BaseException:
            opening.close()
            raise
        trust = Trust(opening.store, self._address, milliseconds, pin=self._pin, accept_new=self._accept_new)
        self.chat = opening.chat(
            reactor, trust, self._name.shown, link_code=self._link_code, accept_log=self._accept_log
        )
        self._link = opening.link(reactor, self._cipher, trust, self.chat, Patience(self._keep_trying))
        self.chat.start(self, self._link)
        self._running = Deferred.fromCoroutine(self._link.run())
        self._running.addCallbacks(lambda _: self._ended(Over()), self._failed)
        try:
            await self.until(lambda: self.chat.session.admitted)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Say goodbye. What was not stored yet is kept, and sent by the next run."""
        if self._opening is None:
            return
        opening, self._opening = self._opening, None
        try:
            self.chat.tell_read()
            await wait(Deferred.fromCoroutine(self._link.leave()))
        finally:
            self._link.abort()
            self._ended(Over())
            self.chat.stop()
            self._cipher.stop()
            opening.close()
            if in_task():
                release_threads(self._reactor)

    _opening: Opening | None = None

    @property
    def name(self) -> str:
        """The name that the server knows us by."""
        return self.chat.name

    # ------------------------------------------------------------------------------------- asking

    async def join(self, room: str, history: int | None = None) -> Room:
        """Come into a room. Entries follow from where the last run of this profile ended, or from now on if
        it is new to it; with ``history``, from that many entries back. A sealed room (``#ops``, or ``@bob``
        for the conversation with bob) is always read on from where this machine was.

        :raises NotJoined: the server does not let us in.
        :raises RefusedError: no room can be called so.
        """
        if room.startswith("@"):
            return await self.conversation(room[1:])
        name = parse_room(room)
        found = self._rooms.get(name)
        if found is None:
            found = self._rooms[name] = Room(self, name)
            self.chat.session.join(name, history or 0, resume=history is None)
            self.chat.flush()
        return await self._entered(found)

    async def conversation(self, name: str) -> Room:
        """The sealed conversation with somebody, which is made if need be.

        :raises NotJoined: it cannot be: perhaps nobody has the name, or never had a client with sealed rooms.
        :raises SealedUnavailable: there are no sealed rooms here, and why.
        """
        room = self.chat.sealed.conversation(name)
        found = self._rooms.setdefault(room, Room(self, room))
        return await self._entered(found)

    async def create(self, room: str, *names: str) -> Room:
        """Make a sealed room with these people in it, and come into it.

        :raises RequestRefused: it cannot be made, and why.
        :raises SealedUnavailable: there are no sealed rooms here, and why.
        """
        await self.answer(lambda: self.chat.sealed.create(room, names))
        return await self.join(room)

    async def _entered(self, room: Room) -> Room:
        name, rooms, sealed = room.name, self.chat.session.rooms, not is_open(room.name)

        def settled() -> bool:
            if name in rooms:
                return rooms[name].entered
            return not (sealed and name in self.chat.sealed.entering)

        await self.until(settled)
        if name not in rooms:
            self._rooms.pop(name, None)
            reason = self.chat.sealed.reasons.get(name, "It was left.") if sealed else "It was left."
            raise room.error or NotJoined(room=name, reason=reason)
        return room

    async def rooms(self) -> tuple[RoomInfo, ...]:
        """The rooms that can be entered."""
        found = await self.answer(self.chat.session.list_rooms)
        assert isinstance(found, e.RoomsListed)
        return found.rooms

    async def whois(self, name: str) -> Profile:
        """Who has a name.

        :raises RequestRefused: nobody has.
        """
        found = await self.answer(lambda: self.chat.session.whois(name))
        assert isinstance(found, e.ProfileFound)
        return found.profile

    async def ask(self, build: Callable[[int], QuestionMessage]) -> e.Event:
        """Make any other request of ``encchat.messages``; ``build`` gets its id. Returns the event that
        answers it."""
        return await self.answer(lambda: self.chat.session.ask(build))

    def events(self) -> Events:
        """What happens, other than entries and answers to what this program asks:
        ``async for event in chat.events()``, with the types of ``encchat.client.events``. So many are held
        for whoever does not look; then the oldest go."""
        return Events(self, self._events)

    # -------------------------------------------------------------------------- for rooms and events

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition`` holds; raises when it is over before."""
        if condition():
            return
        self._check()
        watch = self.chat.when(condition)
        watch.addCallbacks(lambda _: self._pending.settle(watch, None), lambda _: None)
        try:
            await self._pending.result(watch)
        finally:
            watch.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until it is over."""
        self._check()
        held: Deferred[None] = deferLater(self._reactor, seconds)
        await wait(held)
        self._check()

    async def answer(self, ask: Callable[[], int]) -> e.Event:
        """Ask the server, and wait for its answer.

        :raises RequestRefused: it is an error; also if the connection was lost meanwhile.
        """
        await self.until(lambda: self.chat.session.admitted)
        request = ask()
        self._pending.expect(("answer", request))
        self.chat.flush()
        event: e.Event = await self._pending.result(("answer", request))
        return event

    async def stored(self, room: str, text: str, kind: str) -> int:
        """Send a message, and wait until it is stored."""
        self._check()
        (item,) = self.chat.say(room, text, kind=kind)
        seq: int = await self._pending.result(item.msgid)
        return seq

    async def given(self, room: str, path: Path) -> int:
        """Give a file to a room, and wait until its entry is stored."""
        self._check()
        event = await self._transferred(lambda: self.chat.files.give(room, str(path)))
        seq: int = await self._pending.result(event.msgid)
        return seq

    async def saved(self, room: str, seq: int, path: Path | None) -> Path:
        """Fetch the file that an entry tells of, and wait until it is on the disk."""
        self._check()
        wish = None if path is None else str(path)
        event = await self._transferred(lambda: self.chat.files.fetch(room, seq, wish))
        return Path(event.path)

    async def _transferred(self, start: Callable[[], int]) -> Any:
        """Begin a transfer, which may end at once, and wait for its end."""
        key = ("file", self.chat.files.next_number)
        self._pending.expect(key)
        try:
            start()
        except BaseException:
            self._pending.forget(key)
            raise
        return await self._pending.result(key)

    def leave_room(self, room: Room) -> None:
        """The program leaves a room."""
        if self._rooms.pop(room.name, None) is room:
            self.chat.session.part(room.name)
            self.chat.flush()
            room.ended(None)
            self._pending.soon(room.rouse)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    # ------------------------------------------------------------------------------------ for chat

    def happened(self, events: Sequence[e.Event]) -> None:
        """What the server said, or became of the link."""
        for event in events:
            if isinstance(event, e.NewEntry):
                room = self._rooms.get(event.entry.room)
                if room is not None:
                    room.heard(event)
                continue
            awaited = self._pending.expected(("answer", getattr(event, "request", 0)))
            self._noted(event)
            if not awaited:
                self._events.put(event)
        self._pending.soon(self._rouse)

    def _noted(self, event: e.Event) -> None:
        settle = self._pending.settle
        match event:
            case e.JoinedRoom():
                if event.room in self._rooms:
                    self._rooms[event.room].joined(event)
            case e.NotJoined():
                self._lost_room(event.room, NotJoined(room=event.room, reason=event.text))
            case e.PutOut():
                self._lost_room(event.room, PutOut(room=event.room, reason=event.text))
            case e.Acknowledged():
                settle(event.item.msgid, event.seq)
            case e.NotSent():
                refused = NotSent(room=event.item.room, reason=event.text)
                settle(event.item.msgid, Failure(refused))
            case e.RequestFailed():
                settle(("answer", event.request), Failure(RequestRefused(event.code, event.text)))
            case e.FileGiven() | e.FileSaved():
                if isinstance(event, e.FileGiven) and self._pending.expected(("file", event.transfer)):
                    self._pending.expect(event.msgid)
                settle(("file", event.transfer), event)
            case e.FileFailed():
                settle(("file", event.transfer), Failure(RequestRefused(event.code, event.text)))
            case _:
                settle(("answer", getattr(event, "request", 0)), event)

    def warn(self, text: str) -> None:
        """What went wrong on our side, and is no error: into the program's log."""
        _log.warn("{text}", text=text)

    def _lost_room(self, name: str, error: Exception) -> None:
        room = self._rooms.pop(name, None)
        if room is not None:
            room.ended(error)
            self._pending.soon(room.rouse)

    def _rouse(self) -> None:
        for room in list(self._rooms.values()):
            room.rouse()

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, CancelledError):
            error = Over()
        assert isinstance(error, Exception)
        self._ended(error)

    def _ended(self, error: Exception) -> None:
        """The link is gone for good: whoever waits hears of it."""
        if self._error is not None:
            return
        self._error = error
        for room in self._rooms.values():
            room.ended(None if isinstance(error, Over) else error)
        self._pending.fail_all(error)
        self._pending.soon(self._rouse)


class Events:
    """An iterator over what happens."""

    def __init__(self, client: Client, events: Held) -> None:
        self._client = client
        self._waiting = events

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> e.Event:
        try:
            await self._client.until(self._waiting.__len__)
        except Over:
            raise StopAsyncIteration from None
        return self._waiting.take()
