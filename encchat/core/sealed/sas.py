"""Comparing emoji: two people at their devices see seven signs, and the same ones only if nobody is between
them.

Over to-device mail, between two devices::

    asker: sas_start(commitment)   ->          hash of the asker's key, before the other one shows theirs
                                   <-  sas_key (the key of who was asked, once that person agrees)
    asker: sas_key                 ->          must be what the commitment promised
    both show seven emoji out of the shared secret and both keys; a person on each side says "the same"
    sas_mac                       <->          a MAC over the sender's identity, under that secret

All devices of the one who is asked get the start; the first that answers is the one that is compared with,
and the others are told so. Only it learns the asker's key.

The commitment comes before the reveal, so neither side can try keys until the signs fit: an attacker has one
guess in 2^42. Nothing here is stored: what is not finished in ten minutes, or with the process, begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vodozemac import Curve25519PublicKey, EstablishedSas, Sas

from encchat.core.sealed import effects as fx
from encchat.core.sealed.contacts import Contacts
from encchat.core.sealed.events import ELSEWHERE
from encchat.core.sealed.formats import Certificate, digest, fingerprint_of
from encchat.core.sealed.letters import SasCancel, SasKey, SasMac, SasStart
from encchat.core.sealed.mail import LetterRefused, Mail
from encchat.core.sealed.own import Own
from encchat.core.sealed.ratchets import BadCrypto, checked
from encchat.errors import RefusedError

TIMEOUT = 10 * 60 * 1000
MAX_RUNNING = 10
#: The 64 emoji of Matrix's specification (Short Authentication String), in its order.
EMOJI = (
    *(("🐶", "dog"), ("🐱", "cat"), ("🦁", "lion"), ("🐎", "horse"), ("🦄", "unicorn"), ("🐷", "pig")),
    *(("🐘", "elephant"), ("🐰", "rabbit"), ("🐼", "panda"), ("🐓", "rooster"), ("🐧", "penguin")),
    *(("🐢", "turtle"), ("🐟", "fish"), ("🐙", "octopus"), ("🦋", "butterfly"), ("🌷", "flower")),
    *(("🌳", "tree"), ("🌵", "cactus"), ("🍄", "mushroom"), ("🌏", "globe"), ("🌙", "moon"), ("☁️", "cloud")),
    *(
        ("🔥", "fire"),
        ("🍌", "banana"),
        ("🍎", "apple"),
        ("🍓", "strawberry"),
        ("🌽", "corn"),
        ("🍕", "pizza"),
    ),
    *(("🎂", "cake"), ("❤️", "heart"), ("😀", "smiley"), ("🤖", "robot"), ("🎩", "hat"), ("👓", "glasses")),
    *(("🔧", "spanner"), ("🎅", "santa"), ("👍", "thumbs up"), ("☂️", "umbrella"), ("⌛", "hourglass")),
    *(("⏰", "clock"), ("🎁", "gift"), ("💡", "light bulb"), ("📕", "book"), ("✏️", "pencil")),
    *(("📎", "paperclip"), ("✂️", "scissors"), ("🔒", "lock"), ("🔑", "key"), ("🔨", "hammer")),
    *(("☎️", "telephone"), ("🏁", "flag"), ("🚂", "train"), ("🚲", "bicycle"), ("✈️", "aeroplane")),
    *(
        ("🚀", "rocket"),
        ("🏆", "trophy"),
        ("⚽", "ball"),
        ("🎸", "guitar"),
        ("🎺", "trumpet"),
        ("🔔", "bell"),
    ),
    *(("⚓", "anchor"), ("🎧", "headphones"), ("📁", "folder"), ("📌", "pin")),
)


class NothingToCompare(RefusedError):
    """There is nothing to compare: {reason}."""

    code = "nothing-to-compare"


@dataclass(slots=True)
class _Running:
    """One comparing. ``asker`` says whether we asked; ``theirs`` is the other key once it was shown.
    ``others`` are the further devices that were asked, any of which may answer in the place of ``peer``."""

    peer: Certificate
    identity: bytes
    asker: bool
    began: int
    sas: Sas | None = None
    mine: bytes = b""
    commitment: bytes = b""
    theirs: bytes = b""
    established: EstablishedSas | None = None
    confirmed: bool = False
    mac: str = ""
    others: dict[str, Certificate] = field(default_factory=dict)


class Comparing:
    """All comparings that run, by their transaction."""

    def __init__(
        self, turn: fx.Turn, own: Own, contacts: Contacts, mail: Mail, entropy: Callable[[int], bytes]
    ) -> None:
        self._turn = turn
        self._own = own
        self._contacts = contacts
        self._mail = mail
        self._entropy = entropy
        self._running: dict[bytes, _Running] = {}

    # -------------------------------------------------------------------------------------- people

    def start(self, name: str, device: str) -> bytes:
        """Ask to compare with the person at this device, or (empty) at whichever of ``name`` answers first.
        Returns the transaction.

        :raises NothingToCompare: there is no such device, or none at all.
        """
        known = self._contacts.devices(name)
        asked = [each for each in known if device in ("", each.device.id)]
        asked = [each for each in asked if each.device.id != self._own.id]
        if not asked:
            raise NothingToCompare(reason=f"{name} has no {'such device' if device else 'device here yet'}")
        peer, *others = asked
        self._sweep()
        transaction = self._entropy(16)
        running = _Running(peer, self._contacts.peer(name).identity, True, self._turn.now)
        self._show_key(running)
        running.others = {each.device.id: each for each in others}
        self._running[transaction] = running
        for each in asked:
            self._mail.send(each, SasStart(transaction, self._commitment(transaction, running.mine)))
        return transaction

    def accept(self, transaction: bytes) -> None:
        """The person here agrees to compare.

        :raises NothingToCompare: nobody asked, or it is too late.
        """
        running = self._get(transaction)
        if running.asker or running.sas is not None:
            raise NothingToCompare(reason="it has begun already")
        self._show_key(running)
        self._mail.send(running.peer, SasKey(transaction, running.mine))

    def confirm(self, transaction: bytes) -> None:
        """The person here says that the signs are the same.

        :raises NothingToCompare: there are none yet, or it is too late.
        """
        running = self._get(transaction)
        if running.established is None:
            raise NothingToCompare(reason="the signs are not here yet")
        running.confirmed = True
        mine = self._contacts.peer(self._own.user).identity
        mac = running.established.calculate_mac(
            fingerprint_of(mine), self._info("mac", transaction, running, True)
        )
        self._mail.send(running.peer, SasMac(transaction, mac))
        self._finish(transaction, running)

    def cancel(self, transaction: bytes, reason: str = "cancelled") -> None:
        """No more of it: the signs differ, or the person does not want to."""
        running = self._running.pop(transaction, None)
        if running is not None:
            self._mail.send(running.peer, SasCancel(transaction, reason))
            self._dismiss(transaction, running, reason)
            self._turn.tell(fx.SasEnded(transaction, running.peer.device.user, reason))

    # --------------------------------------------------------------------------------------- letters

    def handle(self, sender: Certificate, content: SasStart | SasKey | SasMac | SasCancel) -> None:
        """What the other device sent.

        :raises LetterRefused: it does not belong here.
        """
        transaction = content.transaction
        if isinstance(content, SasStart):
            self._asked(sender, content)
            return
        running = self._running.get(transaction)
        ends = () if running is None else (running.peer.device.id, *running.others)
        if running is None or sender.device.id not in ends:
            raise LetterRefused(reason="nothing is being compared with its sender")
        if sender.device.id != running.peer.device.id:
            if running.theirs:
                return  # it answered as well, before it heard that another one did
            running.others[running.peer.device.id] = running.peer
            running.peer = running.others.pop(sender.device.id)
        match content:
            case SasKey(key=key):
                self._key(transaction, running, key)
            case SasMac(mac=mac):
                if running.established is None:
                    raise LetterRefused(reason="it confirms signs before there are any")
                running.mac = mac
                self._finish(transaction, running)
            case SasCancel(reason=reason):
                del self._running[transaction]
                self._dismiss(transaction, running, reason)
                self._turn.tell(fx.SasEnded(transaction, sender.device.user, reason))

    def _asked(self, sender: Certificate, content: SasStart) -> None:
        self._sweep()
        if content.transaction in self._running or len(self._running) >= MAX_RUNNING:
            raise LetterRefused(reason="too much is being compared already")
        name = sender.device.user
        running = _Running(sender, self._contacts.peer(name).identity, False, self._turn.now)
        running.commitment = content.commitment
        self._running[content.transaction] = running
        self._turn.tell(fx.SasAsked(content.transaction, name, sender.device.id))

    def _key(self, transaction: bytes, running: _Running, key: bytes) -> None:
        if running.sas is None or running.theirs:
            raise LetterRefused(reason="it is not its turn to show a key")
        if not running.asker and self._commitment(transaction, key, running) != running.commitment:
            self.cancel(transaction, "commitment")
            raise LetterRefused(reason="it shows another key than it promised: somebody may be between you")
        running.theirs = key
        with checked("key for comparing"):
            running.established = running.sas.diffie_hellman(Curve25519PublicKey.from_bytes(key))
        if running.asker:
            self._mail.send(running.peer, SasKey(transaction, running.mine))
            self._dismiss(transaction, running, ELSEWHERE)
        shown = running.established.bytes(self._info("sas", transaction, running, running.asker))
        indices = tuple(shown.emoji_indices)
        signs, words = zip(*(EMOJI[index] for index in indices), strict=True)
        self._turn.tell(fx.SasShown(transaction, running.peer.device.user, indices, signs, words))

    def _finish(self, transaction: bytes, running: _Running) -> None:
        """Once both persons said that the signs are the same: verified, if the MAC is of this identity."""
        if not running.confirmed or not running.mac or running.established is None:
            return
        del self._running[transaction]
        name = running.peer.device.user
        info = self._info("mac", transaction, running, False)
        try:
            with checked("MAC"):
                running.established.verify_mac(fingerprint_of(running.identity), info, running.mac)
        except BadCrypto:
            self._turn.tell(fx.SasEnded(transaction, name, "mac"))
            return
        if not self._contacts.verify(name, running.identity):
            self._turn.tell(fx.SasEnded(transaction, name, "identity-changed"))

    # ---------------------------------------------------------------------------------------- parts

    def _dismiss(self, transaction: bytes, running: _Running, reason: str) -> None:
        """The other devices that were asked need not answer any more, if nobody told them yet."""
        if running.asker and (reason == ELSEWHERE or not running.theirs):
            for each in running.others.values():
                self._mail.send(each, SasCancel(transaction, reason))

    def _show_key(self, running: _Running) -> None:
        running.sas = Sas()
        running.mine = running.sas.public_key.to_bytes()

    def _commitment(self, transaction: bytes, key: bytes, asked_by: _Running | None = None) -> bytes:
        asker = asked_by.peer if asked_by is not None else self._own.certificate
        return digest("encchat/sas-commitment/1", transaction, asker.device.ed, key)

    def _info(self, purpose: str, transaction: bytes, running: _Running, from_us: bool) -> str:
        """Both ends with their keys: for the signs the asker's first, for a MAC its sender's first."""
        us, them = self._own.certificate.device, running.peer.device
        ends = [(us.user, us.id, us.ed.hex(), running.mine.hex())]
        ends.insert(1 if from_us else 0, (them.user, them.id, them.ed.hex(), running.theirs.hex()))
        return "|".join([f"encchat/{purpose}/1", transaction.hex(), *(part for end in ends for part in end)])

    def _get(self, transaction: bytes) -> _Running:
        self._sweep()
        running = self._running.get(transaction)
        if running is None:
            raise NothingToCompare(reason="nobody asked, or it took too long")
        return running

    def _sweep(self) -> None:
        for transaction, running in list(self._running.items()):
            if self._turn.now - running.began > TIMEOUT:
                self.cancel(transaction, "timeout")
