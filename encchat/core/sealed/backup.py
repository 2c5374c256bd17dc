"""A backup: the keys for reading with whose they are, the pins, the rosters; sealed under a passphrase.

Never in it: the device's own keys, Olm sessions, sessions for sending. Who restores one is a new device that
can read what was read before; what such a key opens is shown as vouched for by the backup, as the file
proves nothing about who wrote a message.

The file is a line that names the format, a header (Argon2id's salt and costs, a nonce), and one
ChaCha20-Poly1305 over everything with all that stands before it as associated data. ``seal`` and ``open_``
take about a third of a second and 64 MiB: call them in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from msgspec import Meta, Struct

from encchat.core.sealed.formats import Digest, NameKey, Number, RoomKey, encode
from encchat.core.sealed.letters import ForwardedKey
from encchat.errors import RefusedError, UsageError

MAGIC = b"encchat sealed backup 1\n"
#: Argon2id's costs (RFC 9106, section 4, second recommendation with one lane), and what is accepted in a
#: file.
MEMORY_KIB, PASSES, LANES = 64 * 1024, 3, 1
MAX_MEMORY_KIB, MAX_PASSES, MAX_LANES = 1024 * 1024, 10, 8
#: Bytes of a backup file at most, and characters of a passphrase at least.
MAX_BACKUP = 256 * 1024 * 1024
MIN_PASSPHRASE = 10


class BackupUnreadable(RefusedError):
    """The backup cannot be read: {reason}."""

    code = "backup-unreadable"


class WrongPassphrase(RefusedError):
    """The passphrase is not the one of this backup, or the file was damaged. Nothing was changed; try
    again."""

    code = "wrong-passphrase"


class WeakPassphrase(UsageError):
    """A backup's passphrase needs at least {least} characters: whoever has the file can try them all."""

    code = "weak-passphrase"


class KeptKey(Struct, frozen=True, array_like=True):
    """One key, and who vouched for it already before (empty: its owner had sent it)."""

    key: ForwardedKey
    vouched_by: Annotated[str, Meta(max_length=64)] = ""


class KeptPin(Struct, frozen=True, array_like=True):
    """The identity of a name, and how sure it was."""

    name: NameKey
    identity: Digest
    trust: Annotated[str, Meta(max_length=16)]


class KeptRoom(Struct, frozen=True, array_like=True):
    """Which room has a name, and its roster of then."""

    room: RoomKey
    room_id: Digest
    epoch: Number
    hash: Digest


class Contents(Struct, frozen=True, array_like=True, tag="encchat/backup/1"):
    """All that a backup holds, of the device of one name."""

    user: NameKey
    created: int
    keys: tuple[KeptKey, ...]
    pins: tuple[KeptPin, ...]
    rooms: tuple[KeptRoom, ...]


class _Header(Struct, frozen=True, array_like=True):
    salt: Annotated[bytes, Meta(min_length=16, max_length=64)]
    memory: Annotated[int, Meta(ge=8, le=MAX_MEMORY_KIB)]
    passes: Annotated[int, Meta(ge=1, le=MAX_PASSES)]
    lanes: Annotated[int, Meta(ge=1, le=MAX_LANES)]
    nonce: Annotated[bytes, Meta(min_length=12, max_length=12)]


def seal(contents: Contents, passphrase: str, entropy: Callable[[int], bytes]) -> bytes:
    """The bytes of the file.

    :raises WeakPassphrase: the passphrase is too short.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise WeakPassphrase(least=MIN_PASSPHRASE)
    header = _Header(entropy(16), MEMORY_KIB, PASSES, LANES, entropy(12))
    packed = encode(header)
    start = MAGIC + len(packed).to_bytes(2, "big") + packed
    aead = ChaCha20Poly1305(_derive(header, passphrase))
    return start + aead.encrypt(header.nonce, encode(contents), start)


def open_(data: bytes, passphrase: str) -> Contents:
    """What the file holds.

    :raises BackupUnreadable: it is no backup, or asks for more than is reasonable.
    :raises WrongPassphrase: the passphrase is another one, or a byte was changed.
    """
    if len(data) > MAX_BACKUP or not data.startswith(MAGIC):
        raise BackupUnreadable(reason="it is not a backup of sealed rooms")
    at = len(MAGIC) + 2
    end = at + int.from_bytes(data[at - 2 : at], "big")
    try:
        header = msgspec.msgpack.decode(data[at:end], type=_Header)
    except msgspec.DecodeError as error:
        raise BackupUnreadable(reason=f"its header is damaged ({error})") from None
    if header.memory < 8 * header.lanes:
        raise BackupUnreadable(reason="its header is damaged")
    try:
        plain = ChaCha20Poly1305(_derive(header, passphrase)).decrypt(header.nonce, data[end:], data[:end])
    except InvalidTag:
        raise WrongPassphrase() from None
    try:
        return msgspec.msgpack.decode(plain, type=Contents)
    except msgspec.DecodeError as error:
        raise BackupUnreadable(reason=f"another version of encchat wrote it ({error})") from None


def _derive(header: _Header, passphrase: str) -> bytes:
    kdf = Argon2id(
        salt=header.salt,
        length=32,
        iterations=header.passes,
        lanes=header.lanes,
        memory_cost=header.memory,
    )
    return kdf.derive(passphrase.encode("utf-8", "surrogatepass"))
