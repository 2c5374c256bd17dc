"""Everything that a hostile peer can put into a frame: it is one PeerError, and costs nothing."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect
from twisted.trial.unittest import SynchronousTestCase

from encchat import wire
from encchat.errors import PeerError
from encchat.messages import (
    CLIENT_MESSAGES,
    MAX_PAYLOAD,
    SERVER_MESSAGES,
    Ping,
)
from tests.frames import DECODERS, framed, packed, tag_of
from tests.strategies import client_messages, packable, server_messages


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
        case inspect.UnionType():  # a struct of ours or a number, or None
            kinds = [kind for kind in info.types if not isinstance(kind, inspect.NoneType)]
            return [item for kind in kinds for item in wrong_values(kind) if item is not None]
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
