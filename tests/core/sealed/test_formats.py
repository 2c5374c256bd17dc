"""What is signed and sealed, as bytes: bounded, typed, and refused with one error when it is anything
else."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed import formats, payload
from encchat.core.sealed.formats import MAX_ADMINS, MAX_MEMBERS, NOTHING, Roster, RosterMember, encode
from encchat.core.sealed.letters import parse_envelope, parse_letter
from encchat.core.sealed.naming import BadFormat, check_room
from encchat.core.sealed.rosters import RosterRefused, check_genesis, check_successor, without
from encchat.errors import PeerError
from encchat.messages import MAX_BODY
from tests.core.sealed.world import Person, Server, room_of

PARSERS: tuple[Callable[[bytes], object], ...] = (
    formats.parse_certificate,
    formats.parse_device_list,
    formats.parse_key,
    formats.parse_roster,
    parse_envelope,
    parse_letter,
    payload.parse_sealed,
    payload.unpad,
)


def samples() -> list[bytes]:
    """One good thing for each parser that has one outside of a ciphertext."""
    server = Server()
    alice, bob = Person(server, "alice"), Person(server, "rsabob")
    room = room_of(server, alice, bob)
    alice.say(room, "hello")
    log = server.logs[room]
    return [
        *(alice.vault._own.certificate.raw, bob.vault._own.certificate.raw, server.lists["rsabob"]),
        *(server.one_time[bob.bound][0], log[0].body, log[1].body, server.mail[bob.bound][0][3]),
    ]


SAMPLES = samples()


class Parsing(SynchronousTestCase):
    """Whatever the bytes."""

    @given(st.binary(max_size=300))
    def test_anything(self, data: bytes) -> None:
        """Any bytes are parsed or refused."""
        for parse in PARSERS:
            try:
                parse(data)
            except PeerError as error:
                self.assertLess(len(str(error)), 1000)

    @given(st.sampled_from(SAMPLES), st.integers(0, 5000), st.binary(max_size=4))
    def test_spoiled(self, data: bytes, at: int, other: bytes) -> None:
        """Good ones with some bytes exchanged."""
        at %= len(data)
        self.test_one(data[:at] + other + data[at + len(other) :])

    def test_one(self, data: bytes = b"") -> None:
        """No parser raises anything but what it says."""
        for parse in PARSERS:
            try:
                parse(data)
            except PeerError:
                continue

    def test_shapes(self) -> None:
        """Values of other types, deep nesting, and far too much."""
        for value in (
            None,
            -1,
            2**64 - 1,
            "x",
            [],
            [[]],
            {"a": 1},
            ["encchat/device/1"],
            [b"", b"", b""],
            ["megolm/1", bytes(32), bytes(32), bytes(70_000), bytes(16)],
        ):
            self.test_one(msgspec.msgpack.encode(value))
        self.test_one(b"\x91" * 100_000)
        self.test_one(b"\xc6\xff\xff\xff\xff")
        self.test_one(bytes(10_000_000))

    def test_growth(self) -> None:
        """Fields that a later version adds at the end do no harm."""
        signed = msgspec.msgpack.decode(SAMPLES[0])
        formats.parse_certificate(msgspec.msgpack.encode([*signed, "later"]))

    def test_fits(self) -> None:
        """The largest roster of long names fits the body of an entry with an ordinary certificate."""
        members = tuple(RosterMember(f"{n:030d}ñé", bytes(32)) for n in range(MAX_MEMBERS))
        admins = tuple(member.name for member in members[:MAX_ADMINS])
        roster = Roster(
            "#" + "é" * 32, 2**53, bytes(32), members, admins, "members", admins[0], 2**63 - 1, bytes(16)
        )
        self.assertLess(len(encode(roster)) + 4096, MAX_BODY)


class Padding(SynchronousTestCase):
    """The length that the server sees."""

    def said(self, size: int) -> payload.Payload:
        return payload.Payload(
            *(bytes(32), 1, bytes(32), bytes(16), "alice", "0" * 32, 1, "text", 0, b"x" * size, 0, bytes(32)),
            *(1, bytes(16)),
        )

    def test_classes(self) -> None:
        """A few sizes only; what was padded is what comes out."""
        sizes = set()
        for size in range(0, payload.MAX_SAID, 97):
            padded = payload.pad(self.said(size))
            sizes.add(len(padded))
            self.assertEqual(payload.unpad(padded), self.said(size))
        self.assertEqual(sizes, set(payload.BUCKETS[1:]) | ({256} & sizes))

    def test_wrong(self) -> None:
        """Padding that is not zeros, of no known size, or longer than it can be."""
        good = payload.pad(self.said(5))
        for data in (good[:-1], good + b"\x00", good[:-1] + b"x", b"\xff" * 512, b""):
            with self.assertRaises(BadFormat):
                payload.unpad(data)

    def test_too_long(self) -> None:
        """Beyond the last size there is none."""
        with self.assertRaises(payload.TooLong):
            payload.pad(self.said(70_000))


class Names(SynchronousTestCase):
    """Names of rooms and people, in the one form."""

    def test_rooms(self) -> None:
        """Sealed rooms and conversations, and what is none."""
        for room in ("#tea", "@alice&bob", "#é"):
            check_room(room, "room")
        for room in (
            "",
            "#",
            "+tea",
            "tea",
            "#Tea",
            "@alice",
            "@bob&alice",
            "@a&a",
            "@a&b&c",
            "@&b",
            "@Alice&bob",
            "@a&",
            "#a b",
        ):
            with self.assertRaises(BadFormat):
                check_room(room, "room")


def roster(**changes: object) -> Roster:
    """A room of alice, who runs it, and bob."""
    members = (RosterMember("alice", bytes(32)), RosterMember("bob", b"\x01" * 32))
    first = Roster("#tea", 1, NOTHING, members, ("alice",), "admins", "alice", 0, bytes(16))
    return msgspec.structs.replace(first, **changes)


class Rules(SynchronousTestCase):
    """What a roster may say; the server applies the same."""

    def test_genesis(self) -> None:
        """Who makes a room runs it."""
        check_genesis(roster())
        for changes in ({"epoch": 2}, {"prev": bytes(31) + b"\x01"}, {"by": "bob"}, {"room": "@alice&bob"}):
            with self.assertRaises(RosterRefused):
                check_genesis(roster(**changes))
        check_genesis(roster(room="@alice&bob", admins=("alice", "bob")))
        with self.assertRaises(RosterRefused):
            check_genesis(roster(room="@alice&carol", admins=("alice", "bob")))

    def test_successors(self) -> None:
        """Admins may do anything but leave nobody in charge; others may leave."""
        old, digest = roster(), b"\x07" * 32
        alice, bob = old.members
        good: tuple[dict[str, object], ...] = (
            {"by": "alice", "members": (alice,)},
            {"by": "alice", "members": (bob,), "admins": ("bob",)},
            {"by": "alice", "admins": ("alice", "bob"), "policy": "members"},
            {"by": "bob", "members": (alice,)},
        )
        bad: tuple[dict[str, object], ...] = (
            {"by": "bob"},
            {"by": "bob", "members": (alice,), "policy": "members"},
            {"by": "bob", "members": (bob,)},
            {"by": "carol", "members": (alice,)},
            {"by": "alice", "members": (bob,), "admins": ()},
            {"by": "alice", "epoch": 3},
            {"by": "alice", "prev": bytes(32)},
            {"by": "alice", "room": "#oak"},
        )
        for changes, fine in [(each, True) for each in good] + [(each, False) for each in bad]:
            new = roster(**{"epoch": 2, "prev": digest, **changes})
            if fine:
                check_successor(old, digest, new)
            else:
                with self.assertRaises(RosterRefused, msg=str(changes)):
                    check_successor(old, digest, new)

    def test_heirs(self) -> None:
        """Without the last admin, all who stay run the room."""
        self.assertEqual(without(roster(), "alice"), ("bob",))
        self.assertEqual(without(roster(), "bob"), ("alice",))

    def test_contradictions(self) -> None:
        """A roster that names somebody twice, or an admin who is no member, is none."""
        server = Server()
        own = Person(server, "alice").vault._own
        alice, bob = roster().members
        for changes in (
            {"members": (alice, alice)},
            {"admins": ("alice", "alice")},
            {"admins": ("carol",)},
            {"by": "bob"},
            {"members": (RosterMember("Alice", bytes(32)),)},
            {"room": "+tea"},
            {"members": tuple(RosterMember(f"n{n}", bytes(32)) for n in range(MAX_MEMBERS + 1))},
        ):
            data = encode(roster(**changes))
            body = encode(formats.SignedRoster("megolm/1", data, bytes(64), own.certificate.raw))
            with self.assertRaises(BadFormat, msg=str(changes)[:80]):
                formats.parse_roster(body)
        del bob
