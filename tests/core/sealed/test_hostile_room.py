"""A server that lies about a room's log: each lie is refused, or shown as what it is."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed import effects as fx
from encchat.core.sealed import ratchets
from encchat.core.sealed.formats import (
    ALG_ROOM,
    Roster,
    RosterMember,
    SignedRoster,
    encode,
    identity_of,
)
from encchat.core.sealed.letters import RoomKeyLetter
from encchat.core.sealed.payload import Payload, Sealed, commitment, pad, parse_sealed
from encchat.messages import Entry
from tests.core.sealed.world import Person, Server, identity, room_of, sync


class Log(SynchronousTestCase):
    """Alice, bob and mallory are in a room; the server does what it likes with its log."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob, self.mallory = self.people = [
            Person(self.server, name) for name in ("alice", "bob", "mallory")
        ]
        self.room = room_of(self.server, *self.people)
        self.log = self.server.logs[self.room]

    def said(self, who: Person, text: str) -> Entry:
        """The entry of a message, which everybody has read."""
        who.say(self.room, text)
        sync(*self.people)
        return self.log[-1]

    def again(self, entry: Entry, **changes: object) -> Entry:
        """The server shows an entry once more, changed."""
        entry = msgspec.structs.replace(entry, **changes)
        room, sender, device, kind = entry.room, entry.sender, entry.device, entry.kind
        seq = self.server.put(room, sender, device, kind, entry.msgid, entry.body)
        sync(*self.people)
        return self.server.logs[room][seq - 1]

    def assertFails(self, entry: Entry, code: str, *, sees: Person | None = None) -> None:
        """An entry is shown as what it is, and not opened."""
        for person in (sees,) if sees else self.people:
            self.assertEqual(person.codes(entry.room).get(entry.seq), code, (person.name, person.events))
            self.assertNotIn(entry.seq, person.texts(entry.room))

    def test_replayed(self) -> None:
        """A message at a new seq, with its own msgid or another one."""
        entry = self.said(self.alice, "pay 10")
        self.assertFails(self.again(entry), "replayed")
        self.assertFails(self.again(entry, msgid=bytes(16)), "replayed")
        self.assertEqual(list(self.bob.texts(self.room).values()), ["pay 10"])

    def test_replayed_after_restart(self) -> None:
        """What was read before a restart is not read again after it."""
        entry = self.said(self.alice, "pay 10")
        self.bob.restart()
        self.assertFails(self.again(entry), "replayed", sees=self.bob)

    def test_replayed_in_another_encoding(self) -> None:
        """Megolm's encodings can be changed without the key; the index is what counts."""
        entry = self.said(self.alice, "pay 10")
        sealed = parse_sealed(entry.body)
        data = sealed.ciphertext
        self.assertEqual(data[:2], b"\x03\x08")  # version, then the index as a varint, here one byte
        other = msgspec.structs.replace(sealed, ciphertext=data[:2] + bytes([data[2] | 0x80, 0]) + data[3:])
        found = self.again(entry, body=encode(other))
        self.assertIn(self.bob.codes(self.room)[found.seq], ("replayed", "tampered"))
        self.assertNotIn(found.seq, self.bob.texts(self.room))

    def test_renamed(self) -> None:
        """A message in another's name, without the help of either: there is no such key."""
        entry = self.said(self.alice, "I resign")
        device = self.bob.vault.device
        found = self.again(entry, sender="bob", device=device)
        self.assertFails(found, "wrong-sender", sees=self.bob)
        self.assertNotIn(found.seq, self.alice.texts(self.room))
        self.assertEqual([e.sender for e in self.mallory.of(fx.Waiting) if e.seq == found.seq], ["bob"])
        self.assertFails(self.again(entry, sender="bob"), "wrong-sender")  # alice's device, bob's name

    def test_renamed_with_help(self) -> None:
        """Mallory gives out alice's key as one of her own, so that alice's words can be shown as hers."""
        self.said(self.mallory, "hello")
        entry = self.said(self.alice, "I resign")
        session = parse_sealed(entry.body).session
        key = self.alice.vault._keys.get(self.alice.vault.device, session)
        assert key is not None
        room_id = key.room_id
        for person in (self.alice, self.bob):
            to = self.mallory.vault.contacts.certificate(person.name, person.vault.device)
            assert to is not None
            self.mallory.vault._begin(self.server.now)
            self.mallory.vault._mail.send(to, RoomKeyLetter(self.room, room_id, session, key.key))
            self.mallory.do(self.mallory.vault._end())
        sync(*self.people)
        found = self.again(entry, sender="mallory", device=self.mallory.vault.device)
        self.assertFails(found, "wrong-sender", sees=self.bob)
        self.assertFails(found, "wrong-sender", sees=self.alice)
        self.alice.say(self.room, "still here")  # and alice is not silenced by it
        sync(*self.people)
        self.assertIn("still here", self.bob.texts(self.room).values())

    def test_moved(self) -> None:
        """A message moved to another room of the same members."""
        other = room_of(self.server, *self.people, name="#oak")
        entry = self.said(self.alice, "no")
        found = self.again(entry, room=other)
        self.assertFails(found, "wrong-room")

    def test_moved_with_help(self) -> None:
        """A sender cannot use one session in two rooms either."""
        self.said(self.mallory, "here")
        session = parse_sealed(self.log[-1].body).session
        state = self.mallory.vault._keys.get(self.mallory.vault.device, session)
        assert state is not None
        to = self.mallory.vault.contacts.certificate("bob", self.bob.vault.device)
        assert to is not None
        self.mallory.vault._begin(self.server.now)
        self.mallory.vault._mail.send(to, RoomKeyLetter("#oak", bytes(32), session, state.key))
        self.mallory.do(self.mallory.vault._end())
        sync(*self.people)
        self.assertIn("another room", self.bob.of(fx.MailRejected)[-1].reason)

    def test_tampered(self) -> None:
        """Any byte of a message."""
        entry = self.said(self.alice, "yes")
        sealed = parse_sealed(entry.body)
        for at in range(0, len(sealed.ciphertext), 37):
            data = bytearray(sealed.ciphertext)
            data[at] ^= 1
            body = encode(msgspec.structs.replace(sealed, ciphertext=bytes(data)))
            found = self.again(entry, body=body)
            self.assertNotIn(found.seq, self.bob.texts(self.room))
            self.assertIn(self.bob.codes(self.room)[found.seq], ("tampered", "before-key", "replayed"))
        wrong = encode(msgspec.structs.replace(sealed, commitment=bytes(32)))
        self.assertFails(self.again(entry, body=wrong), "tampered", sees=self.bob)

    def test_reordered(self) -> None:
        """Two messages shown in the other order than they were written in."""
        self.said(self.alice, "first")
        self.bob.disconnect()
        self.mallory.disconnect()
        for text in ("do not", "shoot"):
            self.alice.say(self.room, text)
        one, two = self.log[-2:]
        self.log[-2] = msgspec.structs.replace(two, seq=one.seq)
        self.log[-1] = msgspec.structs.replace(one, seq=two.seq)
        self.bob.connect()
        self.bob.sync()
        self.assertEqual(self.bob.codes(self.room), {two.seq: "reordered"})
        self.assertEqual(list(self.bob.texts(self.room).values()), ["first", "shoot"])

    def test_reordered_across_sessions(self) -> None:
        """A message of an earlier session, kept back until after one of a later session."""
        self.said(self.alice, "first")
        self.bob.disconnect()
        self.alice.say(self.room, "held back")
        held = self.log.pop()
        self.alice.sync()
        self.alice.restart()
        self.alice.sync()
        self.alice.say(self.room, "later")
        self.log.append(msgspec.structs.replace(held, seq=self.log[-1].seq + 1))
        self.bob.connect()
        self.bob.sync()
        self.assertEqual(list(self.bob.codes(self.room).values()), ["reordered"])

    def test_left_out(self) -> None:
        """A message that was left out shows as a fork with the next one of who had seen it."""
        self.said(self.alice, "one")
        self.alice.say(self.room, "two")
        self.mallory.sync()
        hidden = self.log.pop()
        self.server.put(self.room, "alice", self.alice.vault.device, "sealed", bytes(16), b"nothing")
        self.bob.sync()
        self.log[-1] = hidden
        self.mallory.say(self.room, "three")
        self.bob.sync()
        self.assertEqual([e.sender for e in self.bob.of(fx.Forked)], ["mallory"])

    def test_fork(self) -> None:
        """Two members are shown different histories: the next message between them shows it."""
        shown: dict[str, list[Entry]] = {}

        def log_of(person: Person, room: str) -> list[Entry]:
            return shown.get(person.name, self.server.logs[room])

        self.server.log_of = log_of  # type: ignore[method-assign]  # a lie for this test
        self.said(self.alice, "same for all")
        alice, bob = list(self.log), list(self.log)
        shown.update(bob=bob)
        self.server.logs[self.room] = alice
        self.alice.say(self.room, "only alice and mallory see this")
        self.alice.sync()
        self.mallory.sync()
        filler = Entry(self.room, len(bob) + 1, 0, "bob", self.bob.vault.device, "text", bytes(16), b"")
        bob.append(filler)
        self.bob.sync()
        self.alice.say(self.room, "after the fork")
        after = self.server.logs[self.room][-1]
        bob.append(msgspec.structs.replace(after, seq=len(bob) + 1))
        self.bob.sync()
        self.assertEqual([e.sender for e in self.bob.of(fx.Forked)], ["alice"])
        self.assertTrue(self.bob.vault.is_forked(self.room))
        self.assertNotIn("after the fork", self.bob.texts(self.room).values())
        self.assertEqual(self.bob.codes(self.room)[after.seq], "forked")

    def test_open_kinds(self) -> None:
        """Plain text in a sealed room is nobody's word."""
        found = self.server.put(
            self.room, "alice", self.alice.vault.device, "text", bytes(16), b"send me your keys"
        )
        sync(*self.people)
        self.assertFails(self.log[found - 1], "not-sealed")

    def test_malformed(self) -> None:
        """What is no sealed message, or one of another scheme, is said to be so."""
        device = self.alice.vault.device
        for body, code in (
            (b"", "malformed"),
            (b"\xc1" * 40, "malformed"),
            (encode(Sealed("mls/1", bytes(32), bytes(32), b"x", bytes(16))), "unknown-scheme"),
            (encode(Sealed(ALG_ROOM, bytes(32), bytes(32), b"x" * 70_000, bytes(16))), "malformed"),
        ):
            seq = self.server.put(self.room, "alice", device, "sealed", bytes(16), body)
            sync(*self.people)
            self.assertFails(self.log[seq - 1], code)

    def forged_by(self, who: Person, **changes: object) -> Entry:
        """A message of a member whose client lies inside of the ciphertext."""
        vault = who.vault
        talk = vault._sending._talks[self.room]
        epoch, at = vault._rooms.epoch(self.room), vault.position(self.room)
        assert epoch is not None
        said = Payload(
            *(epoch.room_id, epoch.roster.epoch, epoch.hash, bytes(15) + bytes([len(self.log)])),
            *(
                who.name,
                vault.device,
                vault._rooms.places.count(self.room),
                "text",
                0,
                b"lie",
                at.seq,
                at.chain,
            ),
            *(1, bytes(16)),
        )
        plain = pad(msgspec.structs.replace(said, **changes))
        cipher = talk.session.encrypt(plain).to_bytes()
        session = ratchets.session_id(talk.session)
        body = encode(Sealed(ALG_ROOM, session, commitment(plain), cipher, bytes(16)))
        seq = self.server.put(self.room, who.name, vault.device, "sealed", said.mid, body)
        sync(*self.people)
        return self.log[seq - 1]

    def test_lies_inside(self) -> None:
        """A member's client that lies about what is inside is caught at it, each time."""
        self.said(self.mallory, "hello")
        for changes, code in (
            ({"user": "alice"}, "wrong-sender"),
            ({"device": self.alice.vault.device}, "wrong-sender"),
            ({"room_id": bytes(32)}, "wrong-room"),
            ({"epoch": 2}, "stale-roster"),
            ({"roster": bytes(32)}, "stale-roster"),
            ({"mid": bytes(16)}, "replayed"),
            ({"n": 1}, "reordered"),
            ({"seen": 10**6}, "reordered"),
            ({"chain": bytes(32)}, "forked"),
        ):
            self.assertFails(self.forged_by(self.mallory, **changes), code, sees=self.bob)
        self.assertEqual(list(self.bob.texts(self.room).values()), ["hello"])

    def test_same_mid_twice(self) -> None:
        """A message that was sealed twice, as the server said it was refused, counts once."""
        self.said(self.mallory, "hello")
        first = self.forged_by(self.mallory)
        mid = first.msgid
        second = self.forged_by(self.mallory, mid=mid)
        self.log[-1] = msgspec.structs.replace(second, msgid=mid)
        late = Person(self.server, "bob", identity_=self.bob.identity, store=self.bob.store)
        del late
        self.assertIn(second.seq, self.bob.codes(self.room))
        self.assertNotIn(second.seq, self.bob.texts(self.room))


class Rosters(SynchronousTestCase):
    """Who is in the room is said by its members, never by the server."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob, self.eve = (Person(self.server, name) for name in ("alice", "bob", "eve"))
        self.room = room_of(self.server, self.alice, self.bob)
        self.log = self.server.logs[self.room]

    def roster(self, by: Person, members: list[str], **changes: object) -> Roster:
        """A roster that follows the last one."""
        epoch = self.alice.vault._rooms.epoch(self.room)
        assert epoch is not None
        named = tuple(RosterMember(name, identity_of(identity(name).spki)) for name in members)
        count, admins = epoch.roster.epoch + 1, epoch.roster.admins
        roster = Roster(self.room, count, epoch.hash, named, admins, "admins", by.name, 0, bytes(16))
        return msgspec.structs.replace(roster, **changes)

    def put(self, roster: Roster, signer: Person, sender: str) -> int:
        """Put a roster into the log, signed by somebody's device."""
        own = signer.vault._own
        data = encode(roster)
        body = encode(SignedRoster(ALG_ROOM, data, ratchets.sign(own.account, data), own.certificate.raw))
        seq = self.server.put(self.room, sender, signer.vault.device, "roster", bytes(16), body)
        sync(self.alice, self.bob)
        return seq

    def assertRejected(self, seq: int) -> None:
        """A roster changed nothing, and everybody was told."""
        for person in (self.alice, self.bob):
            self.assertIn(seq, [e.seq for e in person.of(fx.RosterRejected)])
            roster = person.vault.roster(self.room)
            assert roster is not None
            self.assertEqual(set(roster.identities), {"alice", "bob"})
        self.alice.say(self.room, "still only us")
        sync(self.alice, self.bob)
        self.assertIn("still only us", self.bob.texts(self.room).values())

    def test_ghost(self) -> None:
        """The server gives eve the whole log and her device to everybody: she reads nothing."""
        self.server.certificates["bob"][self.eve.vault.device] = self.server.certificates["eve"][
            self.eve.vault.device
        ]
        self.server.now += 3600 * 1000  # all device lists are asked for again
        self.alice.say(self.room, "secret")
        self.eve.rooms.add(self.room)
        sync(self.alice, self.bob, self.eve)
        self.assertEqual(self.eve.texts(self.room), {})
        self.assertEqual(list(self.bob.texts(self.room).values()), ["secret"])
        self.assertEqual([e.name for e in self.alice.of(fx.KeysRejected)], ["bob"])

    def test_forged(self) -> None:
        """A roster in alice's name that she did not sign; and the server's own one."""
        self.assertRejected(self.put(self.roster(self.alice, ["alice", "bob", "eve"]), self.eve, "alice"))
        self.assertRejected(self.put(self.roster(self.eve, ["alice", "bob", "eve"]), self.eve, "eve"))

    def test_forged_signature(self) -> None:
        """Alice's certificate with another's signature."""
        data = encode(self.roster(self.alice, ["alice", "bob", "eve"]))
        signature = ratchets.sign(self.eve.vault._own.account, data)
        certificate = self.alice.vault._own.certificate.raw
        body = encode(SignedRoster(ALG_ROOM, data, signature, certificate))
        seq = self.server.put(self.room, "alice", self.alice.vault.device, "roster", bytes(16), body)
        sync(self.alice, self.bob)
        self.assertRejected(seq)

    def test_not_an_admin(self) -> None:
        """Bob may leave, and nothing else."""
        for members in (["alice", "bob", "eve"], ["bob"]):
            self.assertRejected(self.put(self.roster(self.bob, members), self.bob, "bob"))
        crowned = self.roster(self.bob, ["alice", "bob"], admins=("alice", "bob"))
        self.assertRejected(self.put(crowned, self.bob, "bob"))

    def test_not_the_next(self) -> None:
        """A roster of another epoch, over another one, for another room, or told to be another's."""
        good = self.roster(self.alice, ["alice", "bob", "eve"])
        for changes in ({"epoch": 3}, {"epoch": 1}, {"prev": bytes(32)}, {"room": "#oak"}):
            self.assertRejected(self.put(msgspec.structs.replace(good, **changes), self.alice, "alice"))
        self.assertRejected(self.put(good, self.alice, "bob"))

    def test_replayed_roster(self) -> None:
        """A roster from before does not bring back who was put out."""
        self.alice.change(self.room, add=("eve",))
        sync(self.alice, self.bob)
        before = self.log[-1]
        self.alice.change(self.room, remove=("eve",))
        sync(self.alice, self.bob)
        seq = self.server.put(self.room, "alice", before.device, "roster", before.msgid, before.body)
        sync(self.alice, self.bob)
        self.assertRejected(seq)

    def test_another_room_of_that_name(self) -> None:
        """The server begins the room anew, with a genesis roster of eve's."""
        roster = self.roster(self.eve, ["eve", "alice", "bob"], epoch=1, prev=bytes(32), admins=("eve",))
        self.assertRejected(self.put(roster, self.eve, "eve"))

    def test_race(self) -> None:
        """Bob is put out while carol's message is on its way: it is refused, and sealed for who stays."""
        carol = Person(self.server, "carol")
        self.alice.change(self.room, add=("carol",))
        carol.rooms.add(self.room)
        sync(self.alice, self.bob, carol)
        carol.say(self.room, "hello")
        sync(self.alice, self.bob, carol)
        self.alice.change(self.room, remove=("bob",))  # carol has not read that yet
        carol.say(self.room, "bob must not read this")
        sync(self.alice, carol)
        self.bob.sync()
        self.assertIn("bob must not read this", self.alice.texts(self.room).values())
        self.assertNotIn("bob must not read this", self.bob.texts(self.room).values())

    def test_race_with_a_server_that_lets_it_through(self) -> None:
        """If the server lets the message pass all the same, it is shown as sealed for others."""
        self.bob.say(self.room, "hello")
        sync(self.alice, self.bob)
        self.bob.disconnect()
        self.alice.change(self.room, add=("eve",))
        self.alice.sync()
        # bob's client has not read the roster; its sealed message names the old one
        self.bob.online = True
        self.bob.do(self.bob.vault.connected(self.server.now))
        self.bob.do(self.bob.vault.caught_up(self.room, self.server.now))
        outcome = self.bob.vault.send(self.room, bytes(16), "text", b"stale", self.server.now)
        action = next(action for action in outcome.actions if isinstance(action, fx.Append))
        seq = self.server.put(self.room, "bob", self.bob.vault.device, "sealed", bytes(16), action.body)
        self.alice.sync()
        self.assertEqual(self.alice.codes(self.room)[seq], "stale-roster")

    def test_leaver(self) -> None:
        """Who left, or was put out, reads nothing from then on, though the server shows it all."""
        self.alice.say(self.room, "before")
        sync(self.alice, self.bob)
        self.bob.change(self.room, leave=True)
        sync(self.alice, self.bob)
        self.alice.say(self.room, "after")
        sync(self.alice, self.bob)
        self.assertEqual(list(self.bob.texts(self.room).values()), ["before"])
        self.assertEqual(list(self.bob.codes(self.room).values()), ["not-for-us"])
        self.bob.say(self.room, "me too")
        self.assertEqual([e.code for e in self.bob.of(fx.SendFailed)], ["cannot-change"])

    def test_joiner(self) -> None:
        """Who comes in reads nothing from before."""
        self.alice.say(self.room, "before")
        sync(self.alice, self.bob)
        self.alice.change(self.room, add=("eve",))
        self.eve.rooms.add(self.room)
        sync(self.alice, self.bob, self.eve)
        self.alice.say(self.room, "after")
        sync(self.alice, self.bob, self.eve)
        self.eve.tick(11)
        sync(self.alice, self.bob, self.eve)
        self.assertEqual(list(self.eve.texts(self.room).values()), ["after"])
        self.assertEqual(list(self.eve.codes(self.room).values()), ["not-for-us"])

    def test_last_admin_leaves(self) -> None:
        """A room whose last admin leaves is run by all who stay."""
        self.alice.change(self.room, leave=True)
        sync(self.alice, self.bob)
        self.bob.change(self.room, add=("eve",))
        sync(self.alice, self.bob)
        roster = self.bob.vault.roster(self.room)
        assert roster is not None
        self.assertEqual((set(roster.identities), roster.admins), ({"bob", "eve"}, ("bob",)))

    def test_conversation(self) -> None:
        """A conversation of two stays one."""
        self.alice.change("@alice&bob", create=True, add=("bob",))
        self.bob.rooms.add("@alice&bob")
        sync(self.alice, self.bob)
        self.alice.say("@alice&bob", "psst")
        sync(self.alice, self.bob)
        self.assertEqual(list(self.bob.texts("@alice&bob").values()), ["psst"])
        self.bob.change("@alice&bob", add=("eve",))
        self.bob.change("@alice&bob", leave=True)
        self.assertEqual([e.code for e in self.bob.of(fx.SendFailed)], ["roster-refused"] * 2)

    def test_members_may_add(self) -> None:
        """With the policy ``members`` anybody may add others, and only add."""
        self.alice.change(self.room, policy="members")
        sync(self.alice, self.bob)
        self.bob.change(self.room, add=("eve",))
        sync(self.alice, self.bob)
        self.bob.change(self.room, remove=("alice",))
        roster = self.alice.vault.roster(self.room)
        assert roster is not None
        self.assertEqual(set(roster.identities), {"alice", "bob", "eve"})
        self.assertEqual([e.code for e in self.bob.of(fx.SendFailed)], ["roster-refused"])
