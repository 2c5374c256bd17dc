"""Bytes to messages and back, and everything that a hostile peer can put between."""

from __future__ import annotations

import tracemalloc
from hashlib import sha256
from struct import pack
from typing import Any, SupportsIndex

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect
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
from tests.strategies import client_messages, cuts, messages, of, packable, server_messages

DECODERS = {wire.decode_client: CLIENT_MESSAGES, wire.decode_server: SERVER_MESSAGES}
ENTRY = Entry("+lobby", 7, 1_700_000_000_000, "alice", "laptop", "text", bytes(16), b"hello")


def framed(payload: bytes) -> bytes:
    """A frame around any payload."""
    return pack(">I", len(payload)) + payload


def packed(*items: object) -> bytes:
    """A frame around an array of any values."""
    return framed(msgspec.msgpack.encode(items))


def tag_of(message: type[msgspec.Struct]) -> str:
    """The first element of a message of this type."""
    tag = message.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


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
        """The bytes themselves: they are the protocol, whatever library writes them."""
        self.assertEqual(wire.encode(Ping(id=5)), b"\x00\x00\x00\x07\x92\xa4ping\x05")
        self.assertEqual(
            wire.encode(Hello(versions=(1,), name="alice")),
            b"\x00\x00\x00\x11\x95\xa5hello\x91\x01\xa5alice\xa0\xa0",
        )
        self.assertEqual(
            wire.encode(Send(id=1, room="+r", msgid=b"m" * 16, kind="text", body=b"\xff")),
            b"\x00\x00\x00\x24\x96\xa4send\x01\xa2+r\xc4\x10mmmmmmmmmmmmmmmm\xa4text\xc4\x01\xff",
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


def wrong_values(info: Any) -> list[Any]:
    """What a field of this type must not hold."""
    ext = msgspec.msgpack.Ext(5, b"x")
    match info:
        case inspect.IntType():
            wrong = [
                info.ge - 1,
                info.le + 1,
                -(2**63),
                2**64 - 1,
                1.5,
                float("nan"),
                True,
                "1",
                b"1",
                [1],
                {1: 1},
            ]
            return [*wrong, None, ext]
        case inspect.BoolType():
            return [0, 1, None, "true", b"\x01", [True], ext]
        case inspect.StrType():
            return ["x" * (info.max_length + 1), b"x", 1, 1.5, None, ["x"], {"x": "x"}, ext]
        case inspect.BytesType():
            wrong = [1, 1.5, None, [1], {}, ext]
            if info.min_length:
                wrong.append(b"x" * (info.min_length - 1))
            if info.max_length is not None:
                wrong.append(b"x" * (info.max_length + 1))
            return wrong
        case inspect.VarTupleType():
            wrong = [1, "x", b"x", None, {}, ext, *([item] for item in wrong_values(info.item_type))]
            if info.max_length is not None:
                wrong.append([1] * (info.max_length + 1))
            return wrong
        case inspect.StructType():
            return [1, "x", {}, ext, *([item] for item in wrong_values(info.fields[0].type))]
        case inspect.UnionType():  # a struct of ours or None
            return [item for kind in info.types for item in wrong_values(kind) if item is not None]
        case _:
            return [1]


class Malformed(SynchronousTestCase):
    """Anything but a well-formed message is one PeerError, and never anything else."""

    def refused(self, decode: Any, frame: bytes) -> str:
        """The sentence that a bad frame ends in."""
        error = self.assertRaises(PeerError, decode, frame)
        self.assertNotIsInstance(error, wire.UnknownMessage)
        return str(error)

    def test_every_field_is_checked(self) -> None:
        """Type, range and length of each field of each message."""
        for decode, known in DECODERS.items():
            for message in known:
                info = inspect.type_info(message)
                assert isinstance(info, inspect.StructType)
                good = [_example(field.type) for field in info.fields]
                decode(packed(tag_of(message), *good))
                for place, field in enumerate(info.fields):
                    for value in wrong_values(field.type):
                        frame = packed(tag_of(message), *good[:place], value, *good[place + 1 :])
                        sentence = self.refused(decode, frame)
                        self.assertIn(f"a {tag_of(message)} message is malformed", sentence)

    def test_text_is_utf8(self) -> None:
        """A str that is not UTF-8: overlong, a surrogate, cut, or plain wrong."""
        for text in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82", b"\xf5\x80\x80\x80"):
            name = bytes([0xA0 + len(text)]) + text
            self.assertIn("hello", self.refused(wire.decode_client, framed(b"\x93\xa5hello\x91\x01" + name)))
            self.refused(wire.decode_client, framed(b"\x92" + name + b"\x01"))  # as the tag

    def test_not_a_message(self) -> None:
        """No array, an empty one, one without a tag, two messages, a cut one, a byte that is never used."""
        for payload in (
            b"",
            b"\x90",
            b"\x80",
            b"\xc0",
            b"\xc1",
            b"\x05",
            b"\xa4ping",
            b"\x92\x05\x01",
            b"\x92\xc4\x04ping\x01",
            b"\x92\xc0\x01",
            b"\x92\xa4ping",
            b"\x92\xa4pin",
            b"\x92\xa4ping\xc1",
            b"\x92\xa4ping\x01\x01",
            b"\x92\xa4ping\x01\x92\xa4ping\x01",
            b"\x82\xa4type\xa4ping\xa2id\x01",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ):
            for decode in (*DECODERS, wire.decode_entry):
                self.refused(decode, framed(payload))

    def test_deep_nesting(self) -> None:
        """A frame full of opening brackets ends before the stack does, wherever they are."""
        for brackets in (b"\x91" * (MAX_PAYLOAD - 20), b"\x81\x01" * (MAX_PAYLOAD // 2 - 20)):
            for start in (
                b"",
                b"\x92\xa4ping",
                b"\x93\xa4ping\x01",
                b"\x92\xa4nope",
                b"\x93\xa4nope\x01",
                b"\x93\xa5hello",
                b"\x95\xa4join\x01\xa1r",
            ):
                for decode in (*DECODERS, wire.decode_entry):
                    self.refused(decode, framed(start + brackets + b"\xc0"))

    def test_great_claims(self) -> None:
        """A length of 2**32 - 1 inside a small frame is refused, and no memory taken for it."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for kind in (b"\xc6", b"\xc9", b"\xdb", b"\xdd", b"\xdf"):  # bin, ext, str, array, map
            claim = kind + b"\xff\xff\xff\xff"
            for start in (
                b"",
                b"\x92",
                b"\x92\xa4ping",
                b"\x93\xa4ping\x01",
                b"\x93\xa4nope",
                b"\x93\xa5hello",
                b"\x93\xa5hello\x91\x01",
                b"\x93\xa8roomlist\x01",
                b"\x96\xa4page\x01\xa1r\x90",
            ):
                for decode in (*DECODERS, wire.decode_entry):
                    self.refused(decode, framed(start + claim + b"\x01" * 50))
        self.assertLess(tracemalloc.get_traced_memory()[1], 2**20)

    def test_wide_maps(self) -> None:
        """A map of many keys is no message, and is skipped where it is an unknown field."""
        wide = {number: number for number in range(30_000)}
        self.refused(wire.decode_client, framed(msgspec.msgpack.encode(wide)))
        self.refused(wire.decode_client, packed("ping", wide))
        self.assertEqual(wire.decode_client(packed("ping", 3, wide)), Ping(3))

    @given(st.binary(max_size=200))
    def test_any_bytes(self, payload: bytes) -> None:
        """Any bytes decode to a message or raise PeerError."""
        self.harmless(framed(payload))

    @given(
        st.sampled_from([*map(tag_of, (*CLIENT_MESSAGES, *SERVER_MESSAGES))]), st.lists(packable, max_size=9)
    )
    def test_any_values(self, tag: str, values: list[Any]) -> None:
        """Any values behind a known tag, too."""
        self.harmless(packed(tag, *values))

    @given(client_messages | server_messages, st.data())
    def test_any_damage(self, message: Any, data: st.DataObject) -> None:
        """And any message in which some bytes were changed, removed or added."""
        payload = bytearray(wire.encode(message)[4:])
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(payload)))
            end = data.draw(st.integers(start, min(start + 4, len(payload))))
            payload[start:end] = data.draw(st.binary(max_size=4))
        self.harmless(framed(bytes(payload)))

    def harmless(self, frame: bytes) -> None:
        """Every decoder returns a message or raises PeerError."""
        for decode in (*DECODERS, wire.decode_entry):
            try:
                self.assertIsInstance(decode(frame), (*CLIENT_MESSAGES, *SERVER_MESSAGES))
            except PeerError as error:
                self.assertTrue(str(error).isprintable())


def _example(info: Any) -> Any:
    """One good value of a type."""
    match info:
        case inspect.IntType():
            return info.ge
        case inspect.BoolType():
            return False
        case inspect.StrType():
            return "x"
        case inspect.BytesType():
            return b"x" * (info.min_length or 0)
        case inspect.VarTupleType():
            return [_example(info.item_type)] * (info.min_length or 0)
        case inspect.StructType():
            return [_example(field.type) for field in info.fields]
        case _:
            return None


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


class CountingHeld(bytearray):
    """What a splitter holds, counting the bytes that are copied out of it."""

    copied = 0

    def __bytes__(self) -> bytes:
        type(self).copied += len(self)
        return bytes(memoryview(self))

    def __getitem__(self, key: slice | SupportsIndex) -> Any:
        part = super().__getitem__(key)
        type(self).copied += len(part) if isinstance(part, bytearray) else 1
        return part


class Splitting(SynchronousTestCase):
    """Frames come out whole, wherever the segments were cut."""

    @given(
        st.lists(st.binary(min_size=1, max_size=300), max_size=8).map(lambda all_: [*map(framed, all_)]),
        st.data(),
    )
    def test_any_cuts(self, frames: list[bytes], data: st.DataObject) -> None:
        """Cut anywhere, even into single bytes, the stream holds the same frames."""
        splitter = wire.FrameSplitter()
        found = [frame for piece in data.draw(cuts(b"".join(frames))) for frame in splitter.feed(piece)]
        self.assertEqual(found, frames)
        self.assertFalse(splitter.partial)

    @given(st.binary(max_size=400), st.data())
    def test_any_bytes(self, stream: bytes, data: st.DataObject) -> None:
        """For any stream, cut or whole: the same frames before the same refusal, and bounded holding."""
        whole, cut = wire.FrameSplitter(100), wire.FrameSplitter(100)
        refused = False
        try:
            frames = whole.feed(stream)
        except PeerError:
            refused = True
        found = []
        try:
            for piece in data.draw(cuts(stream)):
                found += cut.feed(piece)
                self.assertLess(len(cut._held), 104)
        except PeerError:
            self.assertTrue(refused)
            return
        self.assertFalse(refused)
        self.assertEqual(found, frames)
        self.assertEqual(whole.partial, cut.partial)

    def test_partial(self) -> None:
        """A frame that has begun is told apart from silence between two."""
        splitter = wire.FrameSplitter()
        frame = wire.encode(Ping(1))
        self.assertFalse(splitter.partial)
        for end in range(1, len(frame)):
            self.assertEqual(splitter.feed(frame[end - 1 : end]), [])
            self.assertTrue(splitter.partial)
        self.assertEqual(splitter.feed(frame[-1:]), [frame])
        self.assertFalse(splitter.partial)

    def test_frames_and_a_piece(self) -> None:
        """What follows the last whole frame waits for the rest."""
        splitter = wire.FrameSplitter()
        first, second, third = (wire.encode(Ping(number)) for number in range(3))
        self.assertEqual(splitter.feed(first + second + third[:5]), [first, second])
        self.assertEqual(splitter.feed(third[5:] + first), [third, first])

    def test_length_judged_at_once(self) -> None:
        """Zero, one too many and 4 GiB are refused with the fourth byte: nothing is waited for."""
        for length in (0, MAX_PAYLOAD + 1, 2**31, 2**32 - 1):
            splitter = wire.FrameSplitter()
            prefix = pack(">I", length)
            for byte in prefix[:3]:
                self.assertEqual(splitter.feed(bytes([byte])), [])
            error = self.assertRaises(PeerError, splitter.feed, prefix[3:])
            self.assertIn(f"a frame of {length} bytes", str(error))
            self.assertRaises(PeerError, wire.FrameSplitter().feed, prefix + b"x" * 100)

    def test_bad_length_behind_good_frames(self) -> None:
        """The stream cannot be trusted any more, also not in the same segment."""
        good = wire.encode(Ping(1))
        self.assertRaises(PeerError, wire.FrameSplitter().feed, good + b"\xff\xff\xff\xff")
        splitter = wire.FrameSplitter()
        splitter.feed(good[:4])
        self.assertRaises(PeerError, splitter.feed, good[4:] + b"\x00\x00\x00\x00")

    def test_limits(self) -> None:
        """Each limit accepts a payload of just its size; admission raises it for what comes next."""
        splitter = wire.FrameSplitter(MAX_PAYLOAD_BEFORE_ADMISSION)
        small, large = framed(bytes(MAX_PAYLOAD_BEFORE_ADMISSION)), framed(bytes(MAX_PAYLOAD))
        self.assertEqual(splitter.feed(small), [small])
        splitter.limit = MAX_PAYLOAD
        self.assertEqual(splitter.feed(large), [large])
        strict = wire.FrameSplitter(MAX_PAYLOAD_BEFORE_ADMISSION)
        self.assertRaises(PeerError, strict.feed, framed(bytes(MAX_PAYLOAD_BEFORE_ADMISSION + 1))[:4])

    def test_a_byte_at_a_time_copies_once(self) -> None:
        """A 256 KiB frame in single bytes: what is held is copied when it is whole, not at each byte."""
        frame = framed(bytes(MAX_PAYLOAD))
        splitter = wire.FrameSplitter()
        splitter.feed(frame[:1])
        held = CountingHeld(splitter._held)
        splitter._held = held
        CountingHeld.copied = 0
        for place in range(1, len(frame) - 1):
            splitter.feed(frame[place : place + 1])
        self.assertIs(splitter._held, held, "it must grow in place")
        self.assertEqual(CountingHeld.copied, 0)
        self.assertEqual(splitter.feed(frame[-1:]), [frame])
        self.assertLessEqual(CountingHeld.copied, len(frame))

    def test_segment_is_not_kept(self) -> None:
        """Of a long segment only the unfinished frame is held, not the frames before it."""
        splitter = wire.FrameSplitter()
        splitter.feed(framed(bytes(1000)) * 500 + b"\x00")
        self.assertEqual(bytes(splitter._held), b"\x00")


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
