"""What a session answers when it cannot do what a peer asks for. The docstrings are what people read."""

from __future__ import annotations

from encchat.errors import PeerError, RefusedError


class HelloTimeout(PeerError):
    """The other side proved its key but did not say hello within {seconds:g} seconds."""

    code = "hello-timeout"


class TooMuchHeld(PeerError):
    """The connections of your address have begun, and not ended, more messages than this server holds for one
    address. Use fewer connections at once."""

    code = "too-much-held"


class NotInRoom(RefusedError):
    """You are not in {room}. Join it first."""

    code = "not-in-room"


class SealedRoom(RefusedError):
    """{room} is sealed: the server cannot do that there. Who is in it, and who runs it, its members sign."""

    code = "sealed-room"


class NotSealed(RefusedError):
    """{room} is no sealed room: these begin with '#', or with '@' for a conversation of two."""

    code = "not-sealed"


class NotAMember(RefusedError):
    """There is no room {room} of which you are a member. Somebody who runs it has to let you in."""

    code = "invite-only"


class SealedRoomTaken(RefusedError):
    """There is a room {room} already. Choose another name."""

    code = "room-exists"


class RosterChanged(RefusedError):
    """Somebody has changed who is in the room since. Read on, then send it again, sealed for those."""

    code = "roster-changed"


class UnreadableRoster(RefusedError):
    """The server cannot read that roster: {reason}."""

    code = "roster-refused"


class TooManyRooms(RefusedError):
    """You are in {limit} rooms, as many as this server allows. Leave one first."""

    code = "too-many-rooms"


class TooLarge(RefusedError):
    """The message has {size} bytes, where {limit} are accepted. Send it in parts."""

    code = "too-large"


class NotText(RefusedError):
    """The message is not UTF-8 text, as everything in an open room is."""

    code = "not-text"


class UnknownKind(RefusedError):
    """There is no kind of message called {kind!r} here. There are: {known}."""

    code = "unknown-kind"


class BadContent(RefusedError):
    """The message is not what one of kind {kind} has to be; docs/protocol.md of encchat says what that is."""

    code = "bad-content"


class NoSuchEntry(RefusedError):
    """{room} has no message #{seq}, or not any more."""

    code = "no-such-entry"


class NotYours(RefusedError):
    """Message #{seq} of {room} is not your own: only who wrote it can {do} it."""

    code = "not-allowed"


class NotForThat(RefusedError):
    """#{seq} of {room} is nothing that can be {done}."""

    code = "not-a-message"


class RateLimited(RefusedError):
    """You are too fast. Try again in {wait} ms."""

    code = "rate-limited"


class MsgidReused(RefusedError):
    """This message id was used before, with another content. Use a new one."""

    code = "msgid-reused"


def rejection(code: str) -> RefusedError:
    """What the log's word for a draft that it rejects is to people."""
    return RosterChanged() if code == RosterChanged.code else MsgidReused()


class NoVersion(RefusedError):
    """This server speaks version 1 of its protocol, your client only {versions}. Update one of them."""

    code = "no-version"


class WrongChain(RefusedError):
    """Your copy of {room} differs from this server's log at entry {seq}."""

    code = "wrong-chain"


class Banned(RefusedError):
    """You are banned from {room}. Its owner or a moderator can lift the ban."""

    code = "banned"


class BannedHere(RefusedError):
    """You are banned from this server. Its operator can lift the ban."""

    code = "banned"


class InviteOnly(RefusedError):
    """{room} is private. Its owner or a moderator has to invite you first."""

    code = "invite-only"


class Muted(RefusedError):
    """You are muted in {room}: you can read but not write, {how_long}."""

    code = "muted"


class NotAllowed(RefusedError):
    """Only {who} may do that in {room}."""

    code = "not-allowed"


class Outranked(RefusedError):
    """{name} has a role in {room} that is not below your own. Only somebody above you both may do that."""

    code = "not-allowed"


class NotAnAdmin(RefusedError):
    """Only an admin of this server may do that."""

    code = "not-allowed"


class LastOwner(RefusedError):
    """You are the last owner of {room}. Make somebody else an owner first."""

    code = "not-allowed"


class Everybodys(RefusedError):
    """{room} is everybody's: it cannot be private."""

    code = "not-allowed"


class UnknownWord(RefusedError):
    """There is no {what} called {word!r}. There are: {known}."""

    code = "unknown-word"


class ServerFull(RefusedError):
    """This server has as many people as it takes ({limit}). Try again later."""

    code = "server-full"


class NoSuchRoom(RefusedError):
    """There is no room {room} here."""

    code = "no-such-room"


class NoSuchName(RefusedError):
    """Nobody has the name {name} here."""

    code = "no-such-name"


class TooManyListed(RefusedError):
    """The room would have more than {limit} {what}. Undo some that are not needed any more."""

    code = "too-many"


class UnreadableKeys(RefusedError):
    """The server cannot read what was published: {reason}."""

    code = "bad-keys"


class NotYourCertificate(RefusedError):
    """The device certificate is not one of {name} by the key {fingerprint}, with which you are here."""

    code = "bad-keys"


class NotYourList(RefusedError):
    """The list of devices is not signed by a key of {name}."""

    code = "bad-keys"


class NotYourDevice(RefusedError):
    """The device {device} is another machine's, and has not signed that it is yours."""

    code = "bad-keys"


class NotYourKeys(RefusedError):
    """The one-time keys or the fallback key are not of the device {device}."""

    code = "bad-keys"


class KeysTooLarge(RefusedError):
    """The certificates of your devices would have more than {limit} bytes. Take a device away first."""

    code = "too-many"


class NoDevice(RefusedError):
    """The server does not know which device this is. Publish its certificate first."""

    code = "no-device"


class DeviceRevoked(RefusedError):
    """The device {device} was taken away for good. Make new keys for this machine."""

    code = "device-revoked"


class DevicesChanged(RefusedError):
    """Another device has changed the list of your devices: it is at version {version} now. Read it, and
    publish again."""

    code = "devices-changed"


class TooManySealedDevices(RefusedError):
    """{name} has {limit} devices that take part in sealed rooms, as many as a name can have. Take one away
    first."""

    code = "too-many"


class BadLink(RefusedError):
    """The code is wrong, was used before, or is too old. Ask for another with /link on a known device."""

    code = "bad-link"


class Certified(RefusedError):
    """The name {name} belongs to whoever holds a certificate for it. Give the other device a certificate of
    its own."""

    code = "not-allowed"


class TooManyDevices(RefusedError):
    """{name} has {limit} devices, as many as a name can have. Take one away with /unlink first."""

    code = "too-many"


class NoSuchKey(RefusedError):
    """{name} has no device with the key {fingerprint}."""

    code = "no-such-key"


class SeniorKey(RefusedError):
    """A device can take away itself and those that were linked after it. The key {fingerprint} came first;
    ask the server's operator."""

    code = "not-allowed"


class LastKey(RefusedError):
    """That is the only key of {name}: without it nobody could use the name again."""

    code = "not-allowed"
