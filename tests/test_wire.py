"""Bytes to messages and back: what is promised to a peer that keeps to the protocol."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat import wire
from encchat.errors import PeerError
from encchat.messages import (
    CLIENT_MESSAGES,
    GENESIS,
    MAX_BODY,
    MAX_PAYLOAD,
    MAX_PAYLOAD_BEFORE_ADMISSION,
    SERVER_MESSAGES,
    Entry,
    Hello,
    Page,
    Ping,
    Position,
    Send,
    Typing,
)
from tests.frames import DECODERS, framed, packed, tag_of
from tests.strategies import client_messages, messages, of, packable, server_messages

ENTRY = Entry("+lobby", 7, 1_700_000_000_000, "alice", "laptop", "text", bytes(16), b"hello")


class RoundTrip(SynchronousTestCase):
    """What was encoded is what is decoded."""

    @given(client_messages)
    def test_client(self, message: Any) -> None:
        """Every message of a client."""
        self.assertEqual(wire.decode_client(wire.encode(message)), message)

    @given(server_messages)
    def test_server(self, message: Any) -> None:
        """Every message of a server."""
        self.assertEqual(wire.decode_server(wire.encode(message)), message)

    @given(st.lists(server_messages, max_size=5))
    def test_all(self, several: list[Any]) -> None:
        """Several messages in one write are the frames one after the other."""
        frames = wire.FrameSplitter().feed(wire.encode_all(several))
        self.assertEqual([wire.decode_server(frame) for frame in frames], several)

    @given(of(Entry))
    def test_entry(self, entry: Entry) -> None:
        """A stored frame is read alone, and is what a member receives."""
        frame = wire.encode(entry)
        self.assertEqual(wire.decode_entry(frame), entry)
        self.assertEqual(wire.decode_server(frame), entry)

    def test_bytes(self) -> None:
        """The bytes themselves: they are the protocol, whatever library writes them. An entry's can never
        change, as they are stored and hashed."""
        self.assertEqual(wire.encode(Ping(id=5)), b"\x00\x00\x00\x07\x92\xa4ping\x05")
        self.assertEqual(
            wire.encode(Entry("+r", 1, 300, "bob", "", "me", b"m" * 16, b"\xff")),
            b"\x00\x00\x00\x2b\x99\xa5entry\xa2+r\x01\xcd\x01\x2c\xa3bob\xa0\xa2me\xc4\x10mmmmmmmmmmmmmmmm\xc4\x01\xff",
        )

    def test_first_peers(self) -> None:
        """What the first version sent is understood for ever, however the messages have grown."""
        self.assertEqual(
            wire.decode_client(b"\x00\x00\x00\x11\x95\xa5hello\x91\x01\xa5alice\xa0\xa0"),
            Hello(versions=(1,), name="alice"),
        )
        self.assertEqual(
            wire.decode_client(
                b"\x00\x00\x00\x24\x96\xa4send\x01\xa2+r\xc4\x10mmmmmmmmmmmmmmmm\xa4text\xc4\x01\xff"
            ),
            Send(id=1, room="+r", msgid=b"m" * 16, kind="text", body=b"\xff"),
        )


class Directions(SynchronousTestCase):
    """Each side only understands what the other may say."""

    def test_each_message(self) -> None:
        """A message that only the other direction has is unknown, not malformed."""
        for decode, known in DECODERS.items():
            for message in {*CLIENT_MESSAGES, *SERVER_MESSAGES} - set(known):
                with self.assertRaises(wire.UnknownMessage):
                    decode(packed(tag_of(message), 9, "x"))

    def test_id_of_an_unknown_message(self) -> None:
        """The id comes back where there is one, so that the error answers its request."""
        for id_, expected in {9: 9, 0: 0, 2**32 - 1: 2**32 - 1, 2**32: 0, 2**64 - 1: 0, -1: 0}.items():
            self.assertEqual(self.unknown(packed("dance", id_)).id, expected)
        for not_an_id in ("9", b"9", 9.0, None, True, [9], {"id": 9}, msgspec.msgpack.Ext(1, b"9")):
            self.assertEqual(self.unknown(packed("dance", not_an_id, "more")).id, 0)
        self.assertEqual(self.unknown(packed("dance")).id, 0)

    def test_tag_is_cut_and_cleaned(self) -> None:
        """The tag is shown to people: it is short, and steers no terminal."""
        shown = str(self.unknown(packed("\x1b]52;c;AAAA\x07evil\u202e" + "x" * 10_000, 1)))
        self.assertNotIn("\x1b", shown)
        self.assertNotIn("\u202e", shown)
        self.assertLess(len(shown), 120)

    def unknown(self, frame: bytes) -> wire.UnknownMessage:
        """What is raised for a frame with an unknown tag."""
        return self.assertRaises(wire.UnknownMessage, wire.decode_client, frame)


class Growth(SynchronousTestCase):
    """How the protocol grows: fields are added at the end, and may be left out at the end."""

    @given(messages(CLIENT_MESSAGES), st.lists(packable, min_size=1, max_size=3))
    def test_unknown_fields_of_a_client(self, message: Any, more: list[Any]) -> None:
        """Whatever follows the fields that we know is ignored."""
        self.assertEqual(wire.decode_client(lengthened(message, more)), message)

    @given(messages(SERVER_MESSAGES), st.lists(packable, min_size=1, max_size=3))
    def test_unknown_fields_of_a_server(self, message: Any, more: list[Any]) -> None:
        """Whatever follows the fields that we know is ignored."""
        self.assertEqual(wire.decode_server(lengthened(message, more)), message)

    @given(messages((*CLIENT_MESSAGES, *SERVER_MESSAGES)))
    def test_missing_fields(self, message: Any) -> None:
        """A field with a default may be missing at the end, any other may not."""
        decode = wire.decode_client if isinstance(message, CLIENT_MESSAGES) else wire.decode_server
        fields = msgspec.structs.fields(message)
        needed = sum(field.required for field in fields)
        values = msgspec.structs.astuple(message)
        for length in range(len(fields) + 1):
            frame = packed(tag_of(type(message)), *values[:length])
            if length < needed:
                self.assertIn("is malformed", str(self.assertRaises(PeerError, decode, frame)))
            else:
                self.assertEqual(msgspec.structs.astuple(decode(frame))[:length], values[:length])


def lengthened(message: msgspec.Struct, more: list[Any]) -> bytes:
    """The message with further elements at its end."""
    return packed(tag_of(type(message)), *msgspec.structs.astuple(message), *more)


class StoredEntry(SynchronousTestCase):
    """What the log holds is checked too: a disk can lie as a peer can."""

    def test_length(self) -> None:
        """The length belongs to the stored frame, and must be right."""
        frame = wire.encode(ENTRY)
        for damaged in (b"", frame[:3], frame[:4], frame[:-1], frame + b"\x00", framed(frame)):
            self.assertRaises(PeerError, wire.decode_entry, damaged)

    def test_only_an_entry(self) -> None:
        """Another message is not an entry, however well-formed."""
        self.assertRaises(PeerError, wire.decode_entry, wire.encode(Ping(1)))
        self.assertRaises(PeerError, wire.decode_entry, wire.encode(Typing("+lobby", "alice")))


class HashChain(SynchronousTestCase):
    """The chain shows at once what is missing, altered or in another order."""

    def test_definition(self) -> None:
        """chain(n) = SHA-256(chain(n-1) || frame(n)), from 32 zero bytes."""
        first, second = wire.encode(ENTRY), wire.encode(msgspec.structs.replace(ENTRY, seq=8))
        chain = sha256(sha256(bytes(32) + first).digest() + second).digest()
        self.assertEqual(wire.advance(Position(), [first, second]), Position(2, chain))
        self.assertEqual(wire.advance(Position(), []), Position(0, GENESIS))

    @given(st.lists(st.binary(max_size=20), max_size=6), st.data())
    def test_in_steps(self, frames: list[bytes], data: st.DataObject) -> None:
        """Page by page it comes to the same."""
        cut = data.draw(st.integers(0, len(frames)))
        half = wire.advance(Position(), frames[:cut])
        self.assertEqual(wire.advance(half, frames[cut:]), wire.advance(Position(), frames))

    @given(st.lists(st.binary(max_size=20), min_size=2, max_size=6, unique=True), st.data())
    def test_what_it_shows(self, frames: list[bytes], data: st.DataObject) -> None:
        """Any entry that is left out, altered or swapped with another gives another chain."""
        whole = wire.advance(Position(), frames).chain
        place = data.draw(st.integers(0, len(frames) - 2))
        missing = frames[:place] + frames[place + 1 :]
        swapped = [*frames]
        swapped[place : place + 2] = reversed(frames[place : place + 2])
        altered = [*frames[:place], frames[place] + b"\x00", *frames[place + 1 :]]
        for other in (missing, swapped, altered):
            self.assertNotEqual(wire.advance(Position(), other).chain, whole)


class Sizes(SynchronousTestCase):
    """The limits fit the messages."""

    def test_hello_fits_before_admission(self) -> None:
        """The largest Hello that the fields allow fits a payload before admission."""
        hello = Hello((2**31 - 1,) * 8, "\U0001f600" * 64, "\U0001f600" * 32, "\U0001f600" * 32)
        self.assertLessEqual(len(wire.encode(hello)) - 4, MAX_PAYLOAD_BEFORE_ADMISSION)

    def test_entry_fits_a_payload(self) -> None:
        """An entry with the largest body fits with room to spare, as a page wraps it once more."""
        entry = Entry(
            "x" * 64, 2**63 - 1, 2**63 - 1, "x" * 64, "x" * 32, "x" * 32, bytes(16), bytes(MAX_BODY)
        )
        self.assertLess(
            len(wire.encode(Page(1, "x" * 64, Position(), (wire.encode(entry),), True))), MAX_PAYLOAD
        )
