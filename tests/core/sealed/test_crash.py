"""The process is killed at each point where it could be: nothing is encrypted twice under one key, nothing
that was taken is lost, and nothing is read twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed import effects as fx
from encchat.core.sealed import sending
from encchat.core.sealed.keeper import MemoryStore, Record
from encchat.core.sealed.ratchets import GroupSession
from tests.core.sealed.world import Person, Server, room_of, sync


class Killed(BaseException):
    """SIGKILL."""


class Mortal(MemoryStore):
    """A store whose process is killed at one of its writes, just before or just after it counts."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.killed_at = -1
        self.after = False

    def write(self, records: Sequence[Record]) -> None:
        self.writes += 1
        if self.writes != self.killed_at:
            super().write(records)
            return
        if self.after:
            super().write(records)
        raise Killed


class Watched:
    """A session for sending, of which each use is noted. It cannot be restored from anything."""

    used: ClassVar[dict[tuple[str, int], bytes]] = {}

    def __init__(self) -> None:
        self._session = GroupSession()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def encrypt(self, plaintext: bytes) -> Any:
        place = (self._session.session_id, self._session.message_index)
        assert place not in self.used, "an index was used twice"
        self.used[place] = plaintext
        return self._session.encrypt(plaintext)


class Kills(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(sending, "GroupSession", Watched)
        self.patch(Watched, "used", {})

    def world(self) -> None:
        self.server = Server()
        self.store = Mortal()
        self.alice, self.bob = Person(self.server, "alice", store=self.store), Person(self.server, "bob")
        self.room = room_of(self.server, self.alice, self.bob)
        self.alice.change(self.room, promote=("bob",))
        sync(self.alice, self.bob)
        self.said: list[str] = []
        self.store.writes = 0

    def say(self, text: str) -> None:
        self.alice.say(self.room, text)
        self.said.append(text)

    def live(self) -> None:
        """Some minutes of alice's."""
        alice = self.alice
        self.say("one")
        self.say("two")
        alice.sync()
        self.bob.change(self.room, add=("carol",))  # not read by alice: what she says is refused first
        self.say("three")
        alice.sync()
        alice.disconnect()
        self.say("four")
        self.say("five")
        alice.connect()
        alice.sync()
        self.server.now += 25 * 3600 * 1000
        self.say("six")
        alice.sync()

    def test_one_record(self) -> None:
        """What is said costs one record, written once, before it is sent; its number goes with it."""
        self.world()
        self.say("the key is made")
        self.alice.sync()
        written: list[tuple[str, str]] = []
        write = self.store.write
        self.store.write = lambda records: (  # type: ignore[method-assign]  # watched
            written.extend((record.kind, record.id) for record in records),
            write(records),
        )[1]
        outcome = self.alice.vault.send(self.room, self.alice.msgid(), "text", b"x", self.server.now)
        self.assertEqual([kind for kind, _ in written], ["out"])
        self.assertEqual(len(outcome.actions), 1)

    def test_killed_anywhere(self) -> None:
        """Before or after each write of an evening."""
        self.world()
        Person(self.server, "carol")
        self.live()
        count = self.store.writes
        self.assertGreater(count, 15)
        for at in range(1, count + 1):
            for after in (False, True):
                self.kill(at, after)

    def kill(self, at: int, after: bool) -> None:
        self.world()
        Person(self.server, "carol")
        self.store.killed_at, self.store.after = at, after
        with self.assertRaises(Killed):
            self.live()
        where = (at, after)
        self.store.killed_at = -1
        self.alice.online = False
        self.alice.start()
        self.alice.connect()
        self.server.now += 1000
        sync(self.alice, self.bob)
        self.say("after that")
        self.say("and that")
        sync(self.alice, self.bob, self.alice)
        self.bob.tick(11)  # letters that were written and not sent are asked for
        sync(self.alice, self.bob)
        texts = [text for _, text in sorted(self.bob.texts(self.room).items())]
        self.assertEqual(len(set(texts)), len(texts), where)
        self.assertEqual([text for text in texts if text in self.said], self.said, where)
        self.assertEqual(self.alice.vault.outgoing(), [], where)
        for person in (self.alice, self.bob):
            self.assertEqual(person.of(fx.RolledBack) + person.of(fx.Failed), [], where)
        plaintexts = list(Watched.used.values())
        self.assertEqual(len(set(plaintexts)), len(plaintexts), "each has a salt of its own")
