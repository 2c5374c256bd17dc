"""What a vault shows to people: each an ``Event``. Names, rooms and devices are as on the wire, names in the
form in which they are compared; times are milliseconds since 1970 (UTC); ``seq`` counts a room's entries.

``sender``, ``reason`` and whatever else came from outside is bounded, not cleaned: that is for who shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

#: How sure it is who somebody is: compared by the person, vouched for by the authority, or the one that was
#: met first; ``changed`` while another identity claims the name; ``unknown`` before any was met.
VERIFIED, VOUCHED, PINNED, CHANGED, UNKNOWN = "verified", "vouched", "pinned", "changed", "unknown"
#: Of a message alone: its device was taken back by its owner. It may be from before that, or from a thief.
REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Opened:
    """A message that passed every check. ``trust`` is how sure its writer's identity is. With a
    ``vouched_by`` its key came from there (a device id, or ``backup``) and not from its writer: show it
    as vouched for, never as proved. ``late`` says that its place was shown before, as ``Waiting``.
    ``identity`` is whose the name was when the key came."""

    room: str
    seq: int
    time: int
    sender: str
    device: str
    kind: str
    target: int
    body: bytes
    trust: str
    vouched_by: str = ""
    late: bool = False
    identity: bytes = b""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry whose key is not here yet: show ``[no key yet from sender]`` in its place. ``kept`` is False
    when too many wait already; it is then opened only when it is read again. ``before``: it is, as far as can
    be told, from before this device took part, so that nobody gave it the key and nobody will."""

    room: str
    seq: int
    time: int
    sender: str
    device: str
    kept: bool = True
    before: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """An entry that did not pass a check: show ``reason`` in its place. ``code`` is a stable word. ``late``
    as in ``Opened``."""

    room: str
    seq: int
    time: int
    sender: str
    device: str
    code: str
    reason: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class Forked:
    """The server showed ``sender`` another history of the room than us. Nothing about this room can be
    relied on any more but what its members compare among themselves."""

    room: str
    seq: int
    sender: str


@dataclass(frozen=True, slots=True)
class RosterChanged:
    """Who is in the room changed. ``members`` and ``admins`` are those of now; ``mine`` says whether we are
    among them."""

    room: str
    seq: int
    time: int
    by: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    members: tuple[str, ...]
    admins: tuple[str, ...]
    epoch: int
    mine: bool


@dataclass(frozen=True, slots=True)
class RosterRejected:
    """A roster that does not hold: somebody tried to change who is in the room. Nothing was changed."""

    room: str
    seq: int
    time: int
    sender: str
    reason: str


@dataclass(frozen=True, slots=True)
class IdentityMet:
    """The first identity of ``name`` that we met, or under an authority a further one that it vouches for."""

    name: str
    fingerprint: str
    trust: str


@dataclass(frozen=True, slots=True)
class IdentityChanged:
    """Another identity claims the name. Nothing is sent to rooms that ``name`` is in until a person accepts
    it (``Vault.accept_identity``), or puts ``name`` out of them."""

    name: str
    before: str
    now: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """``name`` has a further device, or (``here`` False) one less."""

    name: str
    device: str
    here: bool


@dataclass(frozen=True, slots=True)
class KeysRejected:
    """Keys that the server gave out for ``name`` do not hold, and were not used."""

    name: str
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class OwnDeviceWaits:
    """A device with one's own name wants in: accept it (``Vault.accept_device``) only if it is yours."""

    device: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class DeviceReady:
    """This device is in the device list of its name: ``listed`` True. Else it waits for another device of
    this name to accept it (or was put out by one)."""

    device: str
    listed: bool


@dataclass(frozen=True, slots=True)
class MailRejected:
    """A letter that did not hold; it was thrown away."""

    sender: str
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class SendBlocked:
    """A message waits until somebody's changed identity is accepted or put out of the room."""

    room: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unreachable:
    """These members have no device yet that could read: they read from when they have one."""

    room: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendFailed:
    """A message or change that was given up; it is not in the log as far as we know."""

    room: str
    msgid: bytes
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class SendDone:
    """A message or change is in the log, as entry ``seq``."""

    room: str
    msgid: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The room's log knows messages of this very device that its own state does not: the state is an old
    copy. Nothing is sent any more; ``Vault.renew`` makes a new device."""

    room: str
    seq: int


@dataclass(frozen=True, slots=True)
class SasAsked:
    """``name`` would like to compare signs. Answer with ``Vault.accept_sas`` or ``cancel_sas``."""

    transaction: bytes
    name: str
    device: str


@dataclass(frozen=True, slots=True)
class SasShown:
    """Show these: the seven emoji (as indices, and in words) must be the same on both sides. Then
    ``Vault.confirm_sas``, or ``cancel_sas`` if they differ."""

    transaction: bytes
    name: str
    indices: tuple[int, ...]
    signs: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """The identity of ``name`` is now verified."""

    name: str
    fingerprint: str


#: Why a comparing ends at a device whose owner answered at another one.
ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class SasEnded:
    """The comparing ended without a result; ``reason`` is one word."""

    transaction: bytes
    name: str
    reason: str


Event: TypeAlias = (
    Opened
    | Waiting
    | Failed
    | Forked
    | RosterChanged
    | RosterRejected
    | IdentityMet
    | IdentityChanged
    | DeviceChanged
    | KeysRejected
    | OwnDeviceWaits
    | DeviceReady
    | MailRejected
    | SendBlocked
    | Unreachable
    | SendFailed
    | SendDone
    | RolledBack
    | SasAsked
    | SasShown
    | Verified
    | SasEnded
)
