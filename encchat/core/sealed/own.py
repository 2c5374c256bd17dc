"""This device: its keys, its certificate, and how it knows its own messages again.

A device is made once and never leaves the machine. ``publishing`` is how others come to know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import msgspec

from encchat.core.sealed import effects as fx
from encchat.core.sealed.certificates import certify
from encchat.core.sealed.contacts import Contacts, parse_certificate
from encchat.core.sealed.formats import Certificate, fingerprint_of, identity_of
from encchat.core.sealed.identities import IdentityKey
from encchat.core.sealed.keeper import Keeper, StateUnreadable
from encchat.core.sealed.ratchets import PICKLE_KEY, Account


class OtherIdentity(StateUnreadable):
    """The keys of this device are those of the identity {other}, and yours is {mine} now. Sealed rooms need a
    new device; with a backup it can read what was read before."""

    code = "other-identity"


class OwnState(msgspec.Struct):
    """The record of this device. ``secret`` marks its messages; ``left`` is how many one-time keys the
    server has, as far as known; ``fallback`` is the public one that it has, since ``fallback_at``; ``used``
    says that somebody used it."""

    user: str
    pickle: str
    certificate: bytes
    secret: bytes
    left: int = 0
    fallback: bytes = b""
    fallback_at: int = 0
    used: bool = False
    rolled_back: bool = False
    replaced: list[str] = []


class Own:
    """This device, kept as the record ``device``. Made anew when there is none."""

    def __init__(
        self,
        keeper: Keeper,
        turn: fx.Turn,
        contacts: Contacts,
        user: str,
        identity: IdentityKey,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._keeper = keeper
        self._turn = turn
        self._contacts = contacts
        self.identity = identity
        self._entropy = entropy
        self.user = user
        #: The id of this device.
        self.id = ""
        state = keeper.get("device", "own", OwnState)
        if state is None:
            self.account = Account()
            certificate = certify(self.account, identity, user, turn.now)
            state = OwnState(user, "", certificate.raw, entropy(32))
            self.state = state
            self.save()
        else:
            self.state = state
            self.id = self.certificate.device.id
            try:
                self.account = Account.from_pickle(state.pickle, PICKLE_KEY)
            except ValueError as error:
                raise StateUnreadable(what="device", reason=str(error)) from None
        if self.certificate.identity != identity_of(identity.spki) and not contacts.authority:
            raise OtherIdentity(
                mine=fingerprint_of(identity_of(identity.spki)),
                other=fingerprint_of(self.certificate.identity),
            )
        self._renew_certificate()
        contacts.pin_own(identity_of(identity.spki))

    @property
    def certificate(self) -> Certificate:
        """The certificate of this device."""
        return parse_certificate(self.state.certificate)

    @property
    def listed(self) -> bool:
        """Whether this device is in the list of its name, as far as known."""
        return self._contacts.has(self.user, self.id)

    def save(self) -> None:
        """Keep the account as it is now."""
        self.id = self.certificate.device.id
        self.state.pickle = self.account.pickle(PICKLE_KEY)
        self._keeper.put("device", "own", self.state)

    def mark(self, session: bytes, commitment: bytes) -> bytes:
        """What shows this device, and nobody else, that a message is its own."""
        return blake2b(session + commitment, key=self.state.secret, digest_size=16).digest()

    def new_fallback(self) -> bytes:
        """The fallback key that is not published yet, or nothing."""
        keys = self.account.fallback_key  # type: ignore[attr-defined]  # left out of the stubs
        return next((key.to_bytes() for key in keys.values()), b"")

    def was_begun(self, prekey_message: bytes) -> None:
        """Somebody began to write to us, which used up one key; ``prekey_message`` tells which one."""
        if self.state.fallback and self.state.fallback in prekey_message:
            self.state.used = True
        else:
            self.state.left = max(0, self.state.left - 1)
        self.save()

    def renew(self) -> None:
        """Become another device, whose keys nobody had before."""
        replaced = [*self.state.replaced, self.id]
        self.account = Account()
        certificate = certify(self.account, self.identity, self.user, self._turn.now)
        self.state = OwnState(self.user, "", certificate.raw, self._entropy(32), replaced=replaced[-50:])
        self.save()

    def _renew_certificate(self) -> None:
        """Certify the device anew when its identity has another key or other X.509 certificates now."""
        old = self.certificate
        if old.device.identity != self.identity.spki or old.signed.chain != self.identity.chain:
            self.state.certificate = certify(self.account, self.identity, self.user, self._turn.now).raw
            self.save()
