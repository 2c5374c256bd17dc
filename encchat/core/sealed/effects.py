"""What comes out of a vault: what to ask of the server, and what to show.

Whatever is here is only handed out after the state that it rests on is durable. ``Action`` is for the server,
in the order given; ``Event`` is for people. Rooms, names and devices are strings as on the wire, names in the
form in which they are compared; times are milliseconds since 1970 (UTC); ``seq`` counts a room's entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from encchat.core.sealed.events import (
    CHANGED,
    PINNED,
    REVOKED,
    UNKNOWN,
    VERIFIED,
    VOUCHED,
    DeviceChanged,
    DeviceReady,
    Event,
    Failed,
    Forked,
    IdentityChanged,
    IdentityMet,
    KeysRejected,
    MailRejected,
    Opened,
    OwnDeviceWaits,
    RolledBack,
    RosterChanged,
    RosterRejected,
    SasAsked,
    SasEnded,
    SasShown,
    SendBlocked,
    SendDone,
    SendFailed,
    Unreachable,
    Verified,
    Waiting,
)

__all__ = [
    "CHANGED",
    "PINNED",
    "REVOKED",
    "UNKNOWN",
    "VERIFIED",
    "VOUCHED",
    "AckMail",
    "Action",
    "Append",
    "AskDevices",
    "Claim",
    "Create",
    "DeviceChanged",
    "DeviceReady",
    "Event",
    "Failed",
    "Forked",
    "IdentityChanged",
    "IdentityMet",
    "KeysRejected",
    "MailRejected",
    "Opened",
    "Outcome",
    "OwnDeviceWaits",
    "Parcel",
    "Post",
    "Publish",
    "RolledBack",
    "RosterChanged",
    "RosterRejected",
    "SasAsked",
    "SasEnded",
    "SasShown",
    "SendBlocked",
    "SendDone",
    "SendFailed",
    "Turn",
    "Unreachable",
    "Verified",
    "Waiting",
]


@dataclass(frozen=True, slots=True)
class AskDevices:
    """Ask for the device list and certificates of ``name``. Answer with ``Vault.devices``, or
    ``Vault.no_devices`` when the server says that there are none or nothing comes."""

    name: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish this device's keys. Empty fields are unchanged. Answer with ``Vault.published``, or
    ``Vault.not_published``."""

    certificate: bytes
    devices: bytes
    one_time: tuple[bytes, ...]
    fallback: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim a one-time key of each of these devices of ``name``. Answer with ``Vault.claimed``."""

    name: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parcel:
    """One letter to a device."""

    name: str
    device: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Post:
    """Queue these letters on the server."""

    letters: tuple[Parcel, ...]


@dataclass(frozen=True, slots=True)
class Append:
    """Append an entry to a sealed room (``kind`` is ``sealed`` or ``roster``). ``roster`` is the seq of the
    last roster that it rests on. Answer with ``Vault.appended`` or ``Vault.refused``."""

    room: str
    msgid: bytes
    kind: str
    body: bytes
    roster: int


@dataclass(frozen=True, slots=True)
class Create:
    """Make a sealed room, whose first entry is this roster. Answer as for ``Append``."""

    room: str
    msgid: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class AckMail:
    """Let the server delete this device's mail up to ``seq``."""

    seq: int


Action: TypeAlias = AskDevices | Publish | Claim | Post | Append | Create | AckMail


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call of the vault led to: ``actions`` for the server and ``events`` for people, in order. The
    state behind it is durable already."""

    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(slots=True)
class Turn:
    """What gathers while a call of the vault runs, and when that is (milliseconds since 1970)."""

    now: int = 0
    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def do(self, action: Action) -> None:
        """Ask something of the server."""
        self.actions.append(action)

    def tell(self, event: Event) -> None:
        """Show something."""
        self.events.append(event)
