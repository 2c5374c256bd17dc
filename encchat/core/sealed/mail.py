"""Mail between devices: Olm sessions, made, kept few, mended.

Who wrote a letter is known from one thing alone: whose curve25519 key made the session, as the certificate of
that device names it. What the server says about a letter only tells where to look. Both ends that are
named inside must be the ones it was between, and a mid counts once for each device.

Where there is no session yet, letters wait (in memory: what they carry can be asked for again) until a
one-time key was claimed. A session that cannot be read any more is replaced by a fresh one, at most once an
hour for each device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from encchat.core.sealed import effects as fx
from encchat.core.sealed import letters
from encchat.core.sealed.certificates import check_key
from encchat.core.sealed.contacts import Contacts
from encchat.core.sealed.formats import ALG_MAIL, MAX_DEVICES, Certificate, encode
from encchat.core.sealed.keeper import Keeper
from encchat.core.sealed.letters import Content, Envelope, Letter, Triple
from encchat.core.sealed.own import Own
from encchat.core.sealed.ratchets import (
    PICKLE_KEY,
    AnyOlmMessage,
    BadCrypto,
    Curve25519PublicKey,
    Session,
    checked,
)
from encchat.errors import PeerError

#: Olm sessions that are kept with one device, the ones used last.
MAX_SESSIONS = 5
#: A session is replaced at most that often, in milliseconds; keys are claimed again no sooner than after
#: ``CLAIM_PAUSE`` where there were none.
MEND_PAUSE = 3600 * 1000
CLAIM_PAUSE = 60 * 1000
#: The last mids of each device that are remembered.
MAX_MIDS = 500
#: Letters that wait for a session with one device.
MAX_HELD = 500


class LetterRefused(PeerError):
    """The letter was refused: {reason}."""

    code = "letter-refused"


class OlmState(msgspec.Struct):
    """The sessions with one device, the one used last first, and when one was last replaced."""

    sessions: list[str] = []
    mended: int = 0
    mids: list[bytes] = []


class Mail:
    """All Olm sessions of this device, kept as records of kind ``olm``."""

    def __init__(
        self,
        keeper: Keeper,
        turn: fx.Turn,
        own: Own,
        contacts: Contacts,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._keeper = keeper
        self._turn = turn
        self._own = own
        self._contacts = contacts
        self._entropy = entropy
        self._open: dict[str, list[Session]] = {}
        self._held: dict[str, list[Content]] = {}
        self._owners: dict[str, str] = {}
        self._mending: set[str] = set()
        self._claim: dict[str, set[str]] = {}
        self._claiming: set[str] = set()
        self._no_keys: dict[str, int] = {}
        self._parcels: list[fx.Parcel] = []
        self._closing: set[str] = set()

    # -------------------------------------------------------------------------------------- sending

    def send(self, to: Certificate, content: Content) -> None:
        """Write to a device; at once if there is a session with it."""
        device = to.device.id
        if self._sessions(device):
            self._write(to, content)
            return
        held = self._held.setdefault(device, [])
        if len(held) < MAX_HELD:
            held.append(content)
        self._want_session(to)

    def settle(self) -> None:
        """Hand out what gathered in this turn: letters to post, keys to claim; before all else is written."""
        for device in self._closing:
            state = self._state(device)
            state.sessions = [session.pickle(PICKLE_KEY) for session in self._open[device]]
            self._keeper.put("olm", device, state)
        self._closing.clear()
        while len(self._open) > 1000:
            self._open.pop(next(iter(self._open)))
        if not self._parcels and not self._claim:
            return
        for start in range(0, len(self._parcels), letters.MAX_LETTERS):
            self._turn.do(fx.Post(tuple(self._parcels[start : start + letters.MAX_LETTERS])))
        self._parcels = []
        for name, devices in self._claim.items():
            ordered = sorted(devices)
            for start in range(0, len(ordered), MAX_DEVICES):
                self._turn.do(fx.Claim(name, tuple(ordered[start : start + MAX_DEVICES])))
        self._claim = {}

    def claimed(self, name: str, devices: Sequence[str], keys: Sequence[bytes]) -> None:
        """The server's answer to a ``Claim``: one key for each device, empty where there is none."""
        for device, raw in zip(devices, keys, strict=False):
            if device not in self._claiming:
                continue
            self._claiming.discard(device)
            certificate = self._contacts.certificate(name, device)
            if certificate is None:
                self._held.pop(device, None)
                continue
            if not raw:
                self._no_keys[device] = self._turn.now
                continue
            try:
                self._begin(certificate, check_key(raw, certificate).key)
            except PeerError as error:
                self._no_keys[device] = self._turn.now
                self._turn.tell(fx.KeysRejected(name, device, str(error)))
        self._claiming.difference_update(devices)

    def disconnected(self) -> None:
        """What was claimed will not be answered."""
        self._claiming.clear()

    def retry(self) -> None:
        """Claim for whom letters wait, where it is time."""
        for device in list(self._held):
            owner = self._owners.get(device)
            certificate = self._contacts.certificate(owner, device) if owner else None
            if certificate is None:
                self._held.pop(device)
            else:
                self._want_session(certificate)

    def _want_session(self, to: Certificate) -> None:
        device = to.device.id
        self._owners[device] = to.device.user
        waited = self._turn.now - self._no_keys.get(device, -CLAIM_PAUSE)
        if device not in self._claiming and waited >= CLAIM_PAUSE:
            self._claiming.add(device)
            self._claim.setdefault(to.device.user, set()).add(device)

    def _begin(self, to: Certificate, key: bytes) -> None:
        device = to.device.id
        with checked("one-time key"):
            session = self._own.account.create_outbound_session(
                Curve25519PublicKey.from_bytes(to.device.curve), Curve25519PublicKey.from_bytes(key)
            )
        self._add(device, session)
        held = self._held.pop(device, [])
        if device in self._mending:
            self._mending.discard(device)
            held = held or [letters.Fresh()]
        for content in held:
            self._write(to, content)

    def _write(self, to: Certificate, content: Content) -> None:
        mine, device = self._own.certificate.device, to.device
        letter = Letter(
            self._entropy(16),
            Triple(mine.user, mine.id, mine.ed),
            Triple(device.user, device.id, device.ed),
            content,
        )
        with checked("Olm session"):
            type, ciphertext = self._sessions(device.id)[0].encrypt(encode(letter)).to_parts()
        self._closing.add(device.id)
        envelope = encode(Envelope(ALG_MAIL, type, ciphertext))
        self._parcels.append(fx.Parcel(device.user, device.id, envelope))

    # ------------------------------------------------------------------------------------ receiving

    def open(self, sender: Certificate, body: bytes) -> Content:
        """What a device wrote to us.

        :raises PeerError: the letter does not hold; nothing was changed but that its session may be replaced.
        """
        envelope = letters.parse_envelope(body)
        with checked("letter"):
            message = AnyOlmMessage.from_parts(envelope.type, envelope.ciphertext)
        plain = self._decrypt(sender, message, envelope.ciphertext)
        letter = letters.parse_letter(plain)
        mine, device = self._own.certificate.device, sender.device
        if letter.sender != Triple(device.user, device.id, device.ed):
            raise LetterRefused(reason="it names another sender than the one whose session it is")
        if letter.recipient != Triple(mine.user, mine.id, mine.ed):
            raise LetterRefused(reason="it was written to somebody else")
        state = self._state(device.id)
        if letter.mid in state.mids:
            raise LetterRefused(reason="it came before")
        state.mids = [*state.mids, letter.mid][-MAX_MIDS:]
        self._keeper.put("olm", device.id, state)
        return letter.content

    def _decrypt(self, sender: Certificate, message: AnyOlmMessage, ciphertext: bytes) -> bytes:
        device, prekey = sender.device.id, message.to_pre_key()
        for session in list(self._sessions(device)):
            if prekey is not None and not session.session_matches(prekey):
                continue
            try:
                with checked("letter"):
                    plain = session.decrypt(message)
            except BadCrypto:
                if prekey is not None:
                    raise  # it is this session's, and was opened before or is broken
                continue
            self._add(device, session)
            return plain
        if prekey is None:
            self._mend(sender)
            raise LetterRefused(reason="no session with its sender can open it")
        try:
            with checked("letter"):
                session, plain = self._own.account.create_inbound_session(
                    Curve25519PublicKey.from_bytes(sender.device.curve), prekey
                )
        except BadCrypto:
            self._mend(sender)
            raise
        self._own.was_begun(ciphertext)
        self._add(device, session)
        for content in self._held.pop(device, []):  # they need no claim any more
            self._write(sender, content)
        return plain

    def _mend(self, with_: Certificate) -> None:
        """Replace the sessions with a device, as one side lost count of them."""
        device = with_.device.id
        state = self._state(device)
        if self._turn.now - state.mended < MEND_PAUSE and state.mended:
            return
        state.mended = self._turn.now
        self._keeper.put("olm", device, state)
        self._mending.add(device)
        self._want_session(with_)

    def forget_all(self) -> None:
        """Let go of every session and of what waits for one."""
        for device, _ in list(self._keeper.scan("olm", OlmState)):
            self._keeper.drop("olm", device)
        for devices in (self._open, self._held, self._closing, self._mending, self._claiming, self._no_keys):
            devices.clear()

    # ------------------------------------------------------------------------------------- sessions

    def _state(self, device: str) -> OlmState:
        return self._keeper.get("olm", device, OlmState) or OlmState()

    def _sessions(self, device: str) -> list[Session]:
        """The sessions with a device, the one used last first. One whose pickle cannot be read is none."""
        if device not in self._open:
            opened: list[Session] = []
            for pickle in self._state(device).sessions:
                try:
                    opened.append(Session.from_pickle(pickle, PICKLE_KEY))
                except ValueError:
                    continue
            self._open[device] = opened
        return self._open[device]

    def _add(self, device: str, session: Session) -> None:
        """Put a session first."""
        others = [other for other in self._sessions(device) if other is not session]
        self._open[device] = [session, *others][:MAX_SESSIONS]
        self._closing.add(device)
