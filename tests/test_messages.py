"""What every message must keep to, so that the protocol stays bounded and can grow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect
from twisted.trial.unittest import SynchronousTestCase

from encchat.messages import (
    CLIENT_MESSAGES,
    GENESIS,
    MAX_BODY,
    MAX_PAYLOAD,
    MAX_PAYLOAD_BEFORE_ADMISSION,
    SERVER_MESSAGES,
    Bye,
    Hello,
    Limits,
    Pong,
    Position,
    Typing,
)

EVERY = tuple(dict.fromkeys((*CLIENT_MESSAGES, *SERVER_MESSAGES)))
NAMES = {message.__name__ for message in EVERY}
#: Messages of a client that nothing answers.
UNANSWERED = {Typing, Pong, Bye}
#: What a client sends without a bound of its own: a body that is too large is answered, not cut off.
BOUNDED_BY_FRAME = {"Send.body"}


def parts(info: Any) -> Iterator[Any]:
    """A type and all types inside it."""
    yield info
    match info:
        case inspect.VarTupleType():
            yield from parts(info.item_type)
        case inspect.UnionType():
            for kind in info.types:
                yield from parts(kind)
        case inspect.StructType():
            for field in info.fields:
                yield from parts(field.type)


class Shape(SynchronousTestCase):
    """How messages are made."""

    def test_tags(self) -> None:
        """Each has the lower-case name of its class as its tag, and no two have the same."""
        for message in EVERY:
            self.assertEqual(message.__struct_config__.tag, message.__name__.lower())
        self.assertEqual(len({name.lower() for name in NAMES}), len(EVERY))

    def test_arrays(self) -> None:
        """Each is a frozen array that ignores unknown elements at its end, as are the parts of each."""
        for message in EVERY:
            for part in parts(inspect.type_info(message)):
                if isinstance(part, inspect.StructType):
                    config = part.cls.__struct_config__
                    self.assertTrue(config.frozen and config.array_like, part.cls)
                    self.assertFalse(config.forbid_unknown_fields, part.cls)

    def test_integers(self) -> None:
        """Every integer has a range that fits 64 bits."""
        for where, part in self.parts_of(EVERY):
            if isinstance(part, inspect.IntType):
                self.assertIsNotNone(part.ge, where)
                self.assertIsNotNone(part.le, where)
                self.assertTrue(0 <= (part.ge or 0) <= (part.le or 0) < 2**63, where)

    def test_lengths(self) -> None:
        """Every text has a greatest length, and whatever else a client sends has one, too. How many things
        a server lists, and how large a page is, the frame bounds."""
        for where, part in self.parts_of(EVERY):
            if isinstance(part, inspect.StrType):
                self.assertIsNotNone(part.max_length, where)
        for where, part in self.parts_of(CLIENT_MESSAGES):
            if isinstance(part, inspect.BytesType | inspect.VarTupleType) and where not in BOUNDED_BY_FRAME:
                self.assertIsNotNone(part.max_length, where)

    def test_kinds(self) -> None:
        """Nothing but integers, bools, text, bytes, arrays and nil: what the page explains."""
        for where, part in self.parts_of(EVERY):
            self.assertIsInstance(
                part,
                inspect.IntType
                | inspect.BoolType
                | inspect.StrType
                | inspect.BytesType
                | inspect.VarTupleType
                | inspect.StructType
                | inspect.UnionType
                | inspect.NoneType,
                where,
            )

    def parts_of(self, kinds: tuple[type[msgspec.Struct], ...]) -> Iterator[tuple[str, Any]]:
        """Every type in every field, with the field's name."""
        for message in kinds:
            for field in msgspec.structs.fields(message):
                for part in parts(inspect.type_info(field.type)):
                    yield f"{message.__name__}.{field.name}", part

    def test_ids(self) -> None:
        """A request carries its id first, and so does every answer that is named after one."""
        for message in set(CLIENT_MESSAGES) - {Hello, Typing, Bye}:
            self.assertEqual(message.__struct_fields__[0], "id", message)

    def test_words(self) -> None:
        """Every message says what it is for; every request says what answers it, and that exists."""
        for message in EVERY:
            self.assertTrue(message.__doc__, message)
        for message in set(CLIENT_MESSAGES) - UNANSWERED:
            answers = re.findall(r"Answered by (``\w+``(?: or ``\w+``)*)", message.__doc__ or "")
            self.assertEqual(len(answers), 1, message)
            for answer in re.findall(r"\w+", answers[0].replace(" or ", " ")):
                self.assertIn(answer, NAMES)


class Values(SynchronousTestCase):
    """Values that others rely on."""

    def test_directions(self) -> None:
        """Which messages go both ways."""
        both = {message.__name__ for message in set(CLIENT_MESSAGES) & set(SERVER_MESSAGES)}
        self.assertEqual(both, {"Ping", "Pong", "Typing"})

    def test_defaults(self) -> None:
        """A position starts before the first entry; the limits are those of this module."""
        self.assertEqual(Position(), Position(0, GENESIS))
        self.assertEqual(GENESIS, b"\x00" * 32)
        self.assertEqual((Limits().payload, Limits().body), (MAX_PAYLOAD, MAX_BODY))
        self.assertLess(MAX_PAYLOAD_BEFORE_ADMISSION, MAX_PAYLOAD)

    def test_order(self) -> None:
        """Positions are ordered by seq."""
        self.assertLess(Position(1, b"\xff" * 32), Position(2, GENESIS))
