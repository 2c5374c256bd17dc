"""Pins: whatever order keys come in, what was written once is admitted once, in its place."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed.keeper import Keeper, MemoryStore
from encchat.core.sealed.ledger import MAX_INDEX, MAX_SESSIONS, Ledger, Mark, NotGenuine

ROOM, DEVICE = "#tea", "d" * 32
Said = tuple[bytes, Mark]


def ledger() -> Ledger:
    """An empty one."""
    return Ledger(Keeper(MemoryStore(), bytes(32), random.Random(1).randbytes))


def talk(lengths: list[int], gaps: list[int]) -> list[Said]:
    """What one device says, session by session, with entries of others between."""
    said: list[Said] = []
    seq = n = 0
    for number, length in enumerate(lengths):
        n += gaps[number % len(gaps)]  # numbers that were given to what was never stored
        for index in range(length):
            seq += 1 + gaps[(index + number) % len(gaps)]
            n += 1
            said.append((bytes([number]) * 32, Mark(index, seq, n, seq.to_bytes(16, "big"))))
    return said


talks = st.builds(
    talk,
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
)


class Order(SynchronousTestCase):
    """One device in one room."""

    @given(talks, st.randoms(use_true_random=False))
    def test_any_order(self, said: list[Said], order: random.Random) -> None:
        """Keys may come late, in any order: everything is admitted, and once."""
        pins = ledger()
        order.shuffle(said)
        for session, mark in said:
            self.assertTrue(pins.admit(ROOM, DEVICE, session, mark))
        for session, mark in said:
            self.assertFalse(pins.admit(ROOM, DEVICE, session, mark))
            self.assertTrue(pins.is_pinned(ROOM, DEVICE, session, mark))

    def test_sealed_thrice(self) -> None:
        """One message, sealed in three sessions as the server claimed to have refused it: it counts
        once, also where another message stands between, and after a restart."""
        store = MemoryStore()
        for once in (True, False):
            keeper = Keeper(store, bytes(32), random.Random(once).randbytes)
            pins = Ledger(keeper)
            if once:
                self.assertTrue(pins.admit(ROOM, DEVICE, b"a" * 32, Mark(0, 1, 1, b"1" * 16)))
                self.assertTrue(pins.admit(ROOM, DEVICE, b"b" * 32, Mark(1, 2, 4, b"2" * 16)))
            with self.assertRaises(NotGenuine) as caught:
                pins.admit(ROOM, DEVICE, b"c" * 32, Mark(0, 3, 5, b"1" * 16))
            self.assertEqual(caught.exception.word, "replayed")
            keeper.flush()

    @given(talks, st.randoms(use_true_random=False))
    def test_lies(self, said: list[Said], order: random.Random) -> None:
        """Whatever is shown in another place after that is refused, and nothing is moved by it."""
        pins = ledger()
        for session, mark in said:
            pins.admit(ROOM, DEVICE, session, mark)
        for _ in range(10):
            session, mark = order.choice(said)
            other, there = order.choice(said)
            later = said[-1][1].seq + order.randrange(1, 5)
            lies = [
                (session, Mark(mark.index, later, mark.n, mark.mid)),
                (session, Mark(mark.index, mark.seq, mark.n + 1, mark.mid)),
                (session, Mark(mark.index, mark.seq, mark.n, bytes(16))),
                (session, Mark(mark.index + 500, mark.seq, mark.n + 500, bytes(16))),
                (session, Mark(mark.index + 500, later, mark.n + 499, bytes(16))),
            ]
            if there.seq < said[-1][1].seq:
                lies.append((b"\xff" * 32, Mark(0, later, there.n, bytes(16))))
            if other == said[0][0] != said[-1][0]:
                lies.append((other, Mark(500, later, later + 1000, bytes(16))))
            for place, lie in lies:
                with self.assertRaises(NotGenuine, msg=str((place[:1], lie, said))):
                    pins.admit(ROOM, DEVICE, place, lie)
        for session, mark in said:
            self.assertFalse(pins.admit(ROOM, DEVICE, session, mark))

    def test_same_mid(self) -> None:
        """A mid counts once: within a session, and in the next one."""
        pins = ledger()
        pins.admit(ROOM, DEVICE, bytes(32), Mark(0, 1, 1, b"m" * 16))
        for session, mark in ((bytes(32), Mark(1, 2, 2, b"m" * 16)), (b"x" * 32, Mark(0, 2, 2, b"m" * 16))):
            with self.assertRaises(NotGenuine):
                pins.admit(ROOM, DEVICE, session, mark)

    def test_apart(self) -> None:
        """Other devices and other rooms have numbers of their own."""
        pins = ledger()
        for room in ("#tea", "#oak"):
            for device in ("a" * 32, "b" * 32):
                self.assertTrue(pins.admit(room, device, bytes(32), Mark(0, 7, 1, bytes(16))))

    def test_bounds(self) -> None:
        """A session has so many messages, and a lane remembers so many sessions."""
        pins = ledger()
        with self.assertRaises(NotGenuine):
            pins.admit(ROOM, DEVICE, bytes(32), Mark(MAX_INDEX, 1, MAX_INDEX + 1, bytes(16)))
        for number in range(MAX_SESSIONS + 20):
            mark = Mark(0, number + 1, number + 1, number.to_bytes(16, "big"))
            pins.admit(ROOM, DEVICE, number.to_bytes(32, "big"), mark)
        late = Mark(0, 1, 1, b"late" * 4)
        with self.assertRaises(NotGenuine):
            pins.admit(ROOM, DEVICE, (5).to_bytes(32, "big"), late)
