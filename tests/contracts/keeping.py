"""What every ``IMail`` and ``IKeyPool`` promises, as one suite to run over each implementation.

Mix :class:`KeepingContract` into a trial ``TestCase`` and give it :meth:`~KeepingContract.open_store`. One
that survives a restart sets ``durable`` and opens the same store again at each call within one test.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from zope.interface.verify import verifyObject

from encchat.core.interfaces import IDirectory, Unavailable
from encchat.core.relay.keeping import (
    MAX_LETTERS,
    MAX_MAIL,
    MAX_ONE_TIME,
    MAX_REMEMBERED,
    STRANGERS_LETTERS,
    STRANGERS_MAIL,
    IKeyPool,
    IMail,
    IStore,
    Mailed,
    Posting,
    box_of,
)

BOX, OTHER = box_of("bob", "b" * 32), box_of("carol", "c" * 32)
MUCH = 1 << 30


def posting(number: int, box: str = BOX, sender: str = "alice", size: int = 0) -> Posting:
    """A letter for each number."""
    body = b"letter %d" % number
    return Posting(box, number, sender, "a" * 32, body.ljust(size, b"."))


def mailed(seq: int, number: int) -> Mailed:
    """The letter of that number, where it waits."""
    return Mailed(seq, "alice", "a" * 32, b"letter %d" % number)


class KeepingContract:
    """The suite; see the module."""

    #: Whether :meth:`open_store` finds again what was kept before.
    durable = False

    def open_store(self) -> Any:
        """The store under test, fresh in each test; closed by the test case that opened it."""
        raise NotImplementedError

    async def reopened(self, store: Any) -> Any:
        """The same store after a restart, where it survives one; otherwise just the store."""
        if not self.durable:
            return store
        await store.close()
        return self.open_store()

    def assert_raises(self, error: type[Exception], awaitable: Any) -> Deferred[Any]:
        return self.assertFailure(ensureDeferred(awaitable), error)

    async def all_mail(self, store: Any, box: str = BOX) -> list[Mailed]:
        return list(await store.mail.fetch(box, 0, MAX_LETTERS * 2, MUCH))

    def test_provides_the_interfaces(self) -> None:
        store = self.open_store()
        self.assertTrue(verifyObject(IStore, store))
        self.assertTrue(verifyObject(IDirectory, store))
        self.assertTrue(verifyObject(IMail, store.mail))
        self.assertTrue(verifyObject(IKeyPool, store.keys))

    # -------------------------------------------------------------------------------------------- mail

    async def test_letters_wait_in_order(self) -> None:
        store = self.open_store()
        self.assertEqual(list(await store.mail.post([posting(1), posting(2), posting(3, OTHER)])), [1, 2, 1])
        self.assertEqual(list(await store.mail.post([posting(4)])), [3])
        self.assertEqual(list(await store.mail.post([])), [])
        store = await self.reopened(store)
        self.assertEqual(await self.all_mail(store), [mailed(1, 1), mailed(2, 2), mailed(3, 4)])
        self.assertEqual(await self.all_mail(store, OTHER), [mailed(1, 3)])
        self.assertEqual(await self.all_mail(store, "nobody x"), [])

    async def test_a_page_is_bounded(self) -> None:
        store = self.open_store()
        await store.mail.post([posting(n, size=1000) for n in range(1, 8)])
        for after, limit, size, seqs in (
            (0, 3, MUCH, [1, 2, 3]),
            (3, 100, MUCH, [4, 5, 6, 7]),
            (2, 100, 2500, [3, 4]),
            (2, 100, 1, [3]),
            (7, 5, MUCH, []),
        ):
            self.assertEqual([x.seq for x in await store.mail.fetch(BOX, after, limit, size)], seqs)

    async def test_what_was_discarded_is_gone_and_its_seq_never_comes_again(self) -> None:
        store = self.open_store()
        await store.mail.post([posting(n) for n in (1, 2, 3)])
        await store.mail.discard(BOX, 2)
        await store.mail.discard(OTHER, 2)
        self.assertEqual(await self.all_mail(store), [mailed(3, 3)])
        await store.mail.discard(BOX, 100)
        store = await self.reopened(store)
        self.assertEqual(await self.all_mail(store), [])
        self.assertEqual(list(await store.mail.post([posting(5)])), [4])
        await store.mail.discard(BOX, 3)
        self.assertEqual(await self.all_mail(store), [mailed(4, 5)])

    async def test_strangers_have_half_of_a_box_among_them(self) -> None:
        store = self.open_store()
        taken = 0
        for stranger in range(20):
            flood = [replace(posting(n, sender=f"x{stranger}"), met=False) for n in range(300)]
            taken += sum(map(bool, await store.mail.post(flood)))
        self.assertLessEqual(taken, STRANGERS_LETTERS)
        self.assertGreater(taken, STRANGERS_LETTERS - 10)
        store = await self.reopened(store)
        self.assertEqual(list(await store.mail.post([replace(posting(1, sender="x0"), met=False)])), [0])
        met = [posting(n) for n in range(200)]
        self.assertEqual(list(await store.mail.post(met)), list(range(taken + 1, taken + 201)))
        await store.mail.discard(BOX, taken)
        again = [replace(posting(n, sender="x0"), met=False) for n in range(MAX_LETTERS)]
        self.assertEqual(sum(map(bool, await store.mail.post(again))), STRANGERS_LETTERS // 2)

    async def test_strangers_have_half_of_its_bytes(self) -> None:
        store = self.open_store()
        size = 16 * 1024
        taken = 0
        for stranger in range(20):
            flood = [replace(posting(n, sender=f"x{stranger}", size=size), met=False) for n in range(40)]
            taken += sum(map(bool, await store.mail.post(flood)))
        self.assertLessEqual(taken * size, STRANGERS_MAIL)
        self.assertEqual(sum(map(bool, await store.mail.post([posting(n, size=size) for n in range(9)]))), 9)

    async def test_one_sender_fills_half_of_a_box_and_the_next_half_of_the_rest(self) -> None:
        store = self.open_store()
        flood = [posting(n) for n in range(1, MAX_LETTERS + 1)]
        seqs = await store.mail.post(flood)
        self.assertEqual([s for s in seqs if s], list(range(1, MAX_LETTERS // 2 + 1)))
        self.assertEqual(list(seqs[MAX_LETTERS // 2 :]), [0] * (MAX_LETTERS // 2))
        self.assertEqual(list(await store.mail.post([posting(1)])), [0])
        more = [posting(n, sender="mallory") for n in range(MAX_LETTERS)]
        self.assertEqual(sum(map(bool, await store.mail.post(more))), MAX_LETTERS // 4)
        store = await self.reopened(store)
        self.assertEqual(list(await store.mail.post([posting(1), posting(1, sender="carol")])), [0, 751])
        await store.mail.discard(BOX, 400)
        self.assertEqual(list(await store.mail.post([posting(1)])), [752])

    async def test_letters_of_one_append_count_against_each_other(self) -> None:
        store = self.open_store()
        size = 16 * 1024
        many = MAX_MAIL // size
        for box in (BOX, OTHER):
            seqs = await store.mail.post([posting(n, box, size=size) for n in range(many)])
            self.assertEqual(sum(map(bool, seqs)), many // 2)
            self.assertEqual(list(await store.mail.post([posting(1, box)])), [0])
            self.assertNotEqual(list(await store.mail.post([posting(1, box, "carol", size)])), [0])

    async def test_a_box_is_never_over_its_bounds(self) -> None:
        store = self.open_store()
        for sender in range(30):
            await store.mail.post([posting(n, sender=f"s{sender}", size=900) for n in range(MAX_LETTERS)])
        held = await self.all_mail(store)
        self.assertLessEqual(len(held), MAX_LETTERS)
        self.assertLessEqual(sum(len(x.body) for x in held), MAX_MAIL)
        self.assertGreater(len(held), MAX_LETTERS - 12)

    async def test_old_letters_leave(self) -> None:
        store = self.open_store()
        await store.mail.post([posting(n) for n in (10, 20, 30)] + [posting(15, OTHER)])
        await store.mail.expire(20)
        store = await self.reopened(store)
        self.assertEqual(await self.all_mail(store), [mailed(2, 20), mailed(3, 30)])
        self.assertEqual(await self.all_mail(store, OTHER), [])

    async def test_a_box_that_is_closed_starts_anew(self) -> None:
        store = self.open_store()
        await store.mail.post([posting(1), posting(2), posting(3, OTHER)])
        await store.mail.close_box(BOX)
        await store.mail.close_box("nobody x")
        self.assertEqual(await self.all_mail(store), [])
        self.assertEqual(await self.all_mail(store, OTHER), [mailed(1, 3)])
        self.assertEqual(list(await store.mail.post([posting(4)])), [1])

    # -------------------------------------------------------------------------------------------- keys

    async def test_each_key_is_handed_out_once_the_oldest_first(self) -> None:
        store = self.open_store()
        self.assertEqual(await store.keys.add(BOX, [b"one", b"two", b"three"]), 3)
        self.assertEqual(await store.keys.add(OTHER, [b"other"]), 1)
        self.assertEqual(list(await store.keys.take([BOX, OTHER, "nobody x"])), [b"one", b"other", b""])
        store = await self.reopened(store)
        self.assertEqual(list(await store.keys.take([BOX, BOX, OTHER, BOX])), [b"two", b"three", b"", b""])

    async def test_of_many_that_claim_at_once_each_gets_another_key(self) -> None:
        store = self.open_store()
        await store.keys.add(BOX, [b"%d" % n for n in range(20)])
        claims = [ensureDeferred(store.keys.take([BOX])) for _ in range(30)]
        keys = [key for (key,) in await gatherResults(claims)]
        self.assertEqual(sorted(filter(None, keys)), sorted(b"%d" % n for n in range(20)))
        self.assertEqual(keys.count(b""), 10)

    async def test_the_same_key_is_not_taken_in_again(self) -> None:
        store = self.open_store()
        self.assertEqual(await store.keys.add(BOX, [b"one", b"two", b"one"]), 2)
        await store.keys.take([BOX])
        store = await self.reopened(store)
        self.assertEqual(await store.keys.add(BOX, [b"one", b"two", b"three"]), 2)
        self.assertEqual(list(await store.keys.take([BOX, BOX, BOX])), [b"two", b"three", b""])
        self.assertEqual(await store.keys.add(OTHER, [b"one"]), 1)

    async def test_a_pool_is_bounded(self) -> None:
        store = self.open_store()
        self.assertEqual(await store.keys.add(BOX, [b"%d" % n for n in range(300)]), MAX_ONE_TIME)
        self.assertEqual(await store.keys.add(BOX, [b"more"]), MAX_ONE_TIME)
        self.assertEqual(list(await store.keys.take([BOX])), [b"0"])
        self.assertEqual(await store.keys.add(BOX, [b"more"]), MAX_ONE_TIME)

    async def test_what_is_remembered_is_bounded(self) -> None:
        store = self.open_store()
        for start in range(0, MAX_REMEMBERED + 200, 100):
            await store.keys.add(BOX, [b"%d" % n for n in range(start, start + 100)])
            await store.keys.take([BOX] * 100)
        recent = [b"%d" % n for n in range(MAX_REMEMBERED + 100, MAX_REMEMBERED + 200)]
        self.assertEqual(await store.keys.add(BOX, recent), 0)
        self.assertEqual(await store.keys.add(BOX, [b"0"]), 1)

    async def test_an_emptied_pool(self) -> None:
        store = self.open_store()
        await store.keys.add(BOX, [b"one"])
        await store.keys.empty(BOX)
        self.assertEqual(list(await store.keys.take([BOX])), [b""])
        self.assertEqual(await store.keys.add(BOX, [b"one"]), 1)

    # ------------------------------------------------------------------------------------------- close

    async def test_a_closed_store_says_so(self) -> None:
        store = self.open_store()
        mail, keys = store.mail, store.keys
        await store.close()
        for call in (
            mail.post([posting(1)]),
            mail.fetch(BOX, 0, 1, MUCH),
            mail.discard(BOX, 1),
            mail.close_box(BOX),
            mail.expire(1),
            keys.add(BOX, [b"one"]),
            keys.take([BOX]),
            keys.empty(BOX),
        ):
            await self.assert_raises(Unavailable, call)
