"""What the body of an entry says, where it is more than text: replies, edits, deletions, reactions, files.

Such a body is JSON, as those of acts are, so that a log can be read with any tool. It is what somebody
sent: bounded and typed by ``parse``, never yet cleaned for a screen. In a sealed room the same bytes
travel inside of the ciphertext. ``target`` is the seq of another entry of the same room, always an
earlier one. What an edit or a deletion means is for whoever shows it, once it has seen that the target is
of the same sender (or, for a deletion, that a moderator made it): the log itself keeps what was said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from encchat.errors import PeerError

#: The text of a reply or an edit at most, in characters; the body's limit in bytes holds besides.
MAX_TEXT = 64 * 1024

Target: TypeAlias = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Said: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]


class NoContent(PeerError):
    """The body is not what an entry of kind {kind} carries."""

    code = "malformed"


class Reply(Struct, frozen=True):
    """Kind ``reply``: a text that answers the entry ``target``."""

    target: Target
    text: Said


class Edit(Struct, frozen=True):
    """Kind ``edit``: the sender's own message ``target`` now says ``text``."""

    target: Target
    text: Said


class Delete(Struct, frozen=True):
    """Kind ``delete``: the message ``target`` is taken back by its sender, or hidden by a moderator."""

    target: Target


class Reaction(Struct, frozen=True):
    """Kind ``reaction``: a short sign, such as an emoji, put to the entry ``target``; ``undo`` takes the
    same sign of the same sender away."""

    target: Target
    sign: Annotated[str, Meta(min_length=1, max_length=32)]
    undo: bool = False


class File(Struct, frozen=True):
    """Kind ``file``: a file of ``size`` bytes. ``hash`` is the SHA-256 of the bytes that the server keeps, in
    hexadecimal, and names them there; ``type`` is a media type. In a sealed room ``key`` is what opens
    them, in unpadded base64; elsewhere it is empty."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    size: Annotated[int, Meta(ge=0, le=2**53)]
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    type: Annotated[str, Meta(max_length=100)] = ""
    key: Annotated[str, Meta(max_length=200)] = ""


Content: TypeAlias = Reply | Edit | Delete | Reaction | File

#: The kinds of entry whose bodies are made of these.
CONTENTS: Mapping[str, type[Content]] = {
    "reply": Reply,
    "edit": Edit,
    "delete": Delete,
    "reaction": Reaction,
    "file": File,
}
_decoders = {kind: msgspec.json.Decoder(content) for kind, content in CONTENTS.items()}


def parse(kind: str, body: bytes) -> Content:
    """What a body of one of the kinds in CONTENTS says.

    :raises NoContent: it is not of that kind.
    """
    try:
        return _decoders[kind].decode(body)
    except (msgspec.DecodeError, RecursionError):  # ValidationError is a DecodeError
        raise NoContent(kind=kind) from None


def body_of(content: Content) -> bytes:
    """The body that carries it."""
    return msgspec.json.encode(content)
