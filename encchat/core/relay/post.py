"""Mail between devices: letters wait, durably, until the device that they are for has taken them.

A session that has shown its device's certificate is given that device's mail, as fast as its transport takes
it, from the first letter that was not acknowledged. Of two sessions of one device the later one gets it. What
is in a letter is sealed; whom it comes from is what the server believes, and no more than a hint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encchat import messages as m
from encchat.core.expiry import Expiry
from encchat.core.names import BadName, parse_name
from encchat.core.refusals import NoDevice, NoSuchName
from encchat.core.relay.devicekeys import PER_REQUEST, book_of
from encchat.core.relay.keeping import MAIL_LIFETIME, Posting, box_of
from encchat.errors import StorageError
from encchat.wire import encode

if TYPE_CHECKING:
    from encchat.core.chat.hub import Hub
    from encchat.core.chat.session import Session

#: Letters, and bytes of them, that are read and pushed at a time.
PAGE, PAGE_BYTES = 100, 128 * 1024
#: Seconds between two looks for letters that have waited too long.
LOOK_EVERY = 3600.0


class Delivery:
    """The mail of one box on its way to one session. It is ``over`` when another session has it."""

    def __init__(self, hub: Hub, session: Session, box: str) -> None:
        self.session = session
        self.box = box
        self.over = False
        self._hub = hub
        self._at = 0
        self._news = True
        self._running = False

    def wake(self) -> None:
        """There is something new."""
        self._news = True
        self.go_on()

    def go_on(self) -> None:
        """Push what waits, if there is something and the session takes it."""
        if self._news and not self._running and self._can:
            self._running = True
            self._hub.turn.spawn(self._run(), self.session)

    @property
    def _can(self) -> bool:
        return not (self.over or self.session.closed or self.session.congested)

    async def _run(self) -> None:
        try:
            while self._news and self._can:
                self._news = False
                letters = await self._hub.store.mail.fetch(self.box, self._at, PAGE, PAGE_BYTES)
                if not letters:
                    continue
                self._news = True
                if self._can:
                    self._at = letters[-1].seq
                    self.session.push(
                        b"".join(encode(m.Mail(x.seq, x.sender, x.device, x.body)) for x in letters)
                    )
                    self.session.flush()
        except StorageError as error:  # the hub's next tick tries again
            self._news = True
            self.session.outlet.note(error)
        finally:
            self._running = False


class Post:
    """Which session gets the mail of which box."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._expiry = Expiry(hub.turn)
        self._deliveries: dict[str, Delivery] = {}
        self._looked: float | None = None

    def bind(self, session: Session, device: str) -> None:
        """The session is that of this device: its mail goes there, from the first letter that waits."""
        box = box_of(session.name.key, device)
        held = self._deliveries.get(box)
        if held is not None and held.session is session:
            return
        self.release(session)
        self.unbind(box)
        session.device_id = device
        session.delivery = self._deliveries[box] = Delivery(self._hub, session, box)
        session.delivery.go_on()

    def unbind(self, box: str) -> None:
        """No session gets the mail of this box any more."""
        delivery = self._deliveries.pop(box, None)
        if delivery is not None:
            delivery.over = True
            delivery.session.delivery = None
            delivery.session.device_id = ""

    def release(self, session: Session) -> None:
        """The session ended, or is another device's."""
        if session.delivery is not None:
            self.unbind(session.delivery.box)

    def wake(self, box: str) -> None:
        """A letter was put into the box."""
        delivery = self._deliveries.get(box)
        if delivery is not None:
            delivery.wake()

    def tick(self) -> None:
        """Let go of what has waited too long, now and then."""
        now = self._hub.turn.now()
        if self._looked is None or now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._hub.turn.spawn(self._expire(), None)

    async def _expire(self) -> None:
        try:
            await self._hub.store.mail.expire(self._expiry.milliseconds() - MAIL_LIFETIME)
        except StorageError:
            self._looked = None  # the next tick tries again


async def to_device(session: Session, message: m.ToDevice) -> None:
    """Put letters into the boxes of devices."""
    size = sum(len(letter.body) for letter in message.letters)
    session.take_keys(1 + len(message.letters) / PER_REQUEST)
    session.charge_keys(size)
    hub, now = session.hub, session.hub.milliseconds()
    places: list[int] = []
    postings: list[Posting] = []
    known: dict[str, frozenset[str]] = {}
    met: dict[str, bool] = {}
    for place, letter in enumerate(message.letters):
        name = _key(letter.name)
        if name not in known:
            known[name] = await _devices(hub, name)
        if letter.device not in known[name]:
            continue
        if name not in met:
            met[name] = await _have_met(session, name)
        box = box_of(name, letter.device)
        if met[name] or hub.floods.take_letter(session.outlet.origin, box, len(letter.body), hub.turn.now()):
            places.append(place)
            sender = session.name.key
            postings.append(Posting(box, now, sender, session.device_id, letter.body, met[name]))
    seqs = await hub.store.mail.post(postings) if postings else ()
    posted = {place for place, seq in zip(places, seqs, strict=True) if seq}
    refused = tuple(place for place in range(len(message.letters)) if place not in posted)
    session.answer(m.Posted(message.id, refused))
    for box in {posting.box for posting, seq in zip(postings, seqs, strict=True) if seq}:
        hub.post.wake(box)


async def ack(session: Session, message: m.AckMail) -> None:
    """Let go of the letters that a device has."""
    session.take_keys(1)
    if not session.device_id:
        raise NoDevice()
    await session.hub.store.mail.discard(box_of(session.name.key, session.device_id), message.seq)
    session.answer(m.Done(message.id))


def _key(name: str) -> str:
    try:
        return parse_name(name).key
    except BadName:
        return ""


async def _have_met(session: Session, name: str) -> bool:
    """Whether the name with this key knows who sends: what comes from others has less room."""
    hub, sender = session.hub, session.name.key
    return name == sender or await hub.enrolment.have_met(name, sender, hub.is_in)


async def _devices(hub: Hub, name: str) -> frozenset[str]:
    try:
        return frozenset((await book_of(hub, name)).devices)
    except NoSuchName:
        return frozenset()
