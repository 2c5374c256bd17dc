"""Files through the hub: taking in, giving out, quotas, expiry, and those who try to get around them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.contents import Delete, File, body_of
from encchat.core.chat.allowances import FILE_BURST, FILE_RATE, REQUEST_BYTES
from encchat.core.files.blobs import LEAST, MAX_LINKS, MIB, FileRules
from encchat.core.files.counts import MAX_OPEN
from encchat.core.files.keeper import ABANDONED, MAX_OPEN_ALL, UNSTARTED, Keeper
from encchat.core.interfaces import Unavailable
from encchat.logs.memory_blobs import MemoryBlobs
from tests.core.world import Gate, ManualTurn, Peer, World, msgid, text

DAY = 24 * 3600.0
TEA = "+tea"
DATA = bytes(range(256)) * 600  # more than two pieces


def name(data: bytes) -> bytes:
    return sha256(data).digest()


class GatedBlobs(MemoryBlobs):
    """Blobs whose writes and hashes wait at a gate while ``gates`` holds a list, or fail."""

    gates: list[Gate] | None = None
    broken = ""

    async def _gate(self, what: str) -> None:
        if self.broken == what:
            raise Unavailable(reason="No space left on device")
        if self.gates is not None:
            gate = Gate()
            self.gates.append(gate)
            await gate

    async def write(self, upload: str, offset: int, data: bytes) -> None:
        await self._gate("write")
        await super().write(upload, offset, data)

    async def digest(self, upload: str) -> bytes:
        await self._gate("digest")
        return await super().digest(upload)

    async def keep(self, upload: str, blob: bytes) -> None:
        await self._gate("keep")
        await super().keep(upload, blob)

    async def read(self, blob: bytes, offset: int, size: int) -> bytes | None:
        await self._gate("read")
        return await super().read(blob, offset, size)


def blobs(turn: ManualTurn) -> GatedBlobs:
    return GatedBlobs(turn.now)


class Case(SynchronousTestCase):
    """Alice, who owns +tea, and Bob are in it; Carol is elsewhere."""

    rules = FileRules()
    rate = 0

    def setUp(self) -> None:
        self.world = World(None, blobs, files=self.rules, limits=m.Limits(rate=self.rate))
        self.alice = self.world.member("alice", TEA)
        self.bob = self.world.member("bob", TEA)
        self.carol = self.world.member("carol", "+other")
        assert isinstance(self.world.blobs, GatedBlobs)
        self.blobs = self.world.blobs
        assert self.world.hub.keeper is not None
        self.keeper: Keeper = self.world.hub.keeper

    def tearDown(self) -> None:
        self.assertEqual(self.world.turn.unforeseen, [])

    def ask(self, peer: Peer, *sent: m.ClientMessage) -> Any:
        """The one answer to the last of these."""
        found = [a for a in peer.ask(*sent) if type(a) in (m.Ready, m.Piece, m.Error, m.Sent)]
        self.assertEqual(len(found), len(sent), found)
        return found[-1]

    def refused(self, peer: Peer, code: str, sent: m.ClientMessage) -> m.Error:
        answer = self.ask(peer, sent)
        self.assertEqual(getattr(answer, "code", answer), code)
        self.assertFalse(peer.closed)
        return answer  # type: ignore[no-any-return]  # an Error, as it has a code

    def upload(self, peer: Peer, data: bytes = DATA, room: str = TEA) -> bytes:
        """Give a file to a room, and return its name."""
        held = self.ask(peer, m.Upload(1, room, name(data), len(data))).offset
        while held < len(data):
            piece = data[held : held + m.MAX_PIECE]
            answer = self.ask(peer, m.Chunk(2, name(data), held, piece))
            self.assertEqual(answer, m.Ready(2, held + len(piece)))
            held += len(piece)
        return name(data)

    def download(self, peer: Peer, blob: bytes, room: str = TEA) -> bytes:
        """All of a file."""
        found = b""
        while True:
            piece = self.ask(peer, m.Download(3, room, blob, len(found)))
            self.assertEqual((piece.id, piece.offset), (3, len(found)))
            found += piece.data
            if len(found) == piece.size:
                return found
            self.assertTrue(piece.data)

    def sweep(self) -> None:
        self.world.turn.spawn(self.keeper.sweep(), None)
        self.world.turn.end()

    def kept(self) -> int:
        """How many blobs there are."""
        return len(self.blobs._blobs)

    def recount(self) -> None:
        """What is counted is what there is: a keeper that counts anew comes to the same."""
        fresh = Keeper(self.blobs, self.world.hub.directory, self.world.turn, self.rules)
        self.world.turn.spawn(fresh._count(), None)
        partials = sum(len(held) for held, _ in self.blobs._uploads.values())
        open_ = {p.name: 0 for p in self.keeper._partials.values()}
        for partial in self.keeper._partials.values():
            open_[partial.name] += max(partial.size, LEAST)
        self.assertEqual(self.keeper._counts.total, fresh._counts.total)
        self.assertEqual(
            fresh._counts.total - partials, sum(max(len(b), LEAST) for b in self.blobs._blobs.values())
        )
        expected = {n: fresh._counts.names[n] + open_.get(n, 0) for n in {*fresh._counts.names, *open_}}
        self.assertEqual(dict(self.keeper._counts.names), expected)


class Giving(Case):
    """The ordinary way."""

    def test_there_and_back(self) -> None:
        blob = self.upload(self.alice)
        self.assertEqual(self.download(self.bob, blob), DATA)
        file = File("a.bin", len(DATA), blob.hex())
        self.assertIs(type(self.ask(self.alice, m.Send(4, TEA, msgid(4), "file", body_of(file)))), m.Sent)
        self.recount()

    def test_every_size_at_the_edges(self) -> None:
        for size in (0, 1, m.MAX_PIECE - 1, m.MAX_PIECE, m.MAX_PIECE + 1, 3 * m.MAX_PIECE):
            data = b"x" * size
            self.assertEqual(self.download(self.bob, self.upload(self.alice, data)), data)
        self.recount()

    def test_again_costs_nothing(self) -> None:
        blob = self.upload(self.alice)
        self.assertEqual(self.ask(self.alice, m.Upload(9, TEA, blob, len(DATA))), m.Ready(9, len(DATA)))
        self.assertEqual(self.ask(self.bob, m.Upload(9, TEA, blob, len(DATA))), m.Ready(9, len(DATA)))
        self.recount()

    def test_one_s_own_file_for_another_room(self) -> None:
        blob = self.upload(self.alice)
        self.alice.ask(m.Join(8, "+other"))
        self.refused(self.carol, "no-such-file", m.Download(9, "+other", blob))
        self.assertEqual(self.ask(self.alice, m.Upload(9, "+other", blob, len(DATA))).offset, len(DATA))
        self.assertEqual(self.download(self.carol, blob, "+other"), DATA)

    def test_going_on_in_another_session(self) -> None:
        blob = name(DATA)
        self.ask(self.alice, m.Upload(1, TEA, blob, len(DATA)), m.Chunk(2, blob, 0, DATA[:1000]))
        self.alice.session.lost()
        again = self.world.member("alice", TEA)
        self.assertEqual(self.ask(again, m.Upload(1, TEA, blob, len(DATA))), m.Ready(1, 1000))
        self.upload(again)
        self.assertEqual(self.download(self.bob, blob), DATA)

    def test_going_on_after_a_restart(self) -> None:
        blob = name(DATA)
        self.ask(self.alice, m.Upload(1, TEA, blob, len(DATA)), m.Chunk(2, blob, 0, DATA[:1000]))
        world = World(self.world.log, lambda turn: self.blobs, limits=m.Limits(rate=0))
        alice = world.member("alice", TEA)
        self.assertEqual(self.ask(alice, m.Chunk(1, blob, 1000, b"x")).code, "no-upload")
        self.assertEqual(self.ask(alice, m.Upload(1, TEA, blob, len(DATA))), m.Ready(1, 1000))
        self.upload(alice)
        self.assertEqual(self.download(alice, blob), DATA)

    def test_two_sessions_of_a_name_at_once(self) -> None:
        blob, other = name(DATA), self.world.member("alice", TEA)
        for peer in (self.alice, other):
            self.assertEqual(self.ask(peer, m.Upload(1, TEA, blob, len(DATA))).offset, 0)
        self.assertEqual(self.ask(self.alice, m.Chunk(2, blob, 0, DATA[:9])).offset, 9)
        self.refused(other, "wrong-offset", m.Chunk(2, blob, 0, DATA[:9]))
        self.assertEqual(self.ask(other, m.Chunk(2, blob, 9, DATA[9:18])).offset, 18)
        self.recount()

    def test_a_file_that_is_taken_back(self) -> None:
        blob = self.upload(self.alice)
        file = body_of(File("a", len(DATA), blob.hex()))
        sent = self.ask(self.alice, m.Send(4, TEA, msgid(4), "file", file))
        self.refused(self.bob, "not-allowed", m.Send(5, TEA, msgid(5), "delete", body_of(Delete(sent.seq))))
        self.assertEqual(self.download(self.bob, blob), DATA)
        self.ask(self.alice, m.Send(5, TEA, msgid(5), "delete", body_of(Delete(sent.seq))))
        self.refused(self.bob, "no-such-file", m.Download(6, TEA, blob))
        self.assertEqual(self.kept(), 0)
        self.recount()

    def test_only_ones_own_file_is_taken_back(self) -> None:
        """Who tells of somebody else's file and takes that back takes nothing of theirs; a moderator may."""
        blob = self.upload(self.bob)
        file = body_of(File("a", len(DATA), blob.hex()))
        dave = self.world.member("dave", TEA)
        for number, peer in ((10, self.bob), (20, dave), (30, self.bob)):
            sent = self.ask(peer, m.Send(number, TEA, msgid(number), "file", file))
            if peer is dave:
                taken_back = m.Send(21, TEA, msgid(21), "delete", body_of(Delete(sent.seq)))
                self.assertEqual(type(self.ask(dave, taken_back)), m.Sent)
                self.assertEqual(self.download(self.alice, blob), DATA)
        self.ask(self.alice, m.Send(31, TEA, msgid(31), "delete", body_of(Delete(sent.seq))))
        self.refused(self.bob, "no-such-file", m.Download(6, TEA, blob))
        self.recount()


class Refused(Case):
    """What is not taken, and not given out."""

    rules = FileRules(limit=MIB, per_name=2 * MIB, space=3 * MIB)

    def test_too_large(self) -> None:
        self.refused(self.alice, "too-large", m.Upload(1, TEA, name(b""), MIB + 1))

    def test_not_in_the_room(self) -> None:
        blob = self.upload(self.alice)
        self.refused(self.carol, "not-in-room", m.Upload(1, TEA, blob, 9))
        self.refused(self.carol, "not-in-room", m.Download(1, TEA, blob))

    def test_a_hash_from_a_room_one_is_not_in(self) -> None:
        """Knowing the hash gives no access, and nothing tells whether the server has it."""
        blob, unknown = self.upload(self.alice), name(b"nobody has this")
        told = []
        for asked in (blob, unknown):
            told.append(self.refused(self.carol, "no-such-file", m.Download(1, "+other", asked)).text)
            file = body_of(File("a", len(DATA), asked.hex()))
            told.append(
                self.refused(self.carol, "no-such-file", m.Send(2, "+other", msgid(2), "file", file)).text
            )
            self.assertEqual(self.ask(self.carol, m.Upload(3, "+other", asked, len(DATA))), m.Ready(3, 0))
        self.assertEqual(told[:2], told[2:])
        self.refused(self.carol, "no-such-file", m.Download(1, "+other", blob))
        self.upload(self.carol, room="+other")  # who has the bytes may have them
        self.assertEqual(self.download(self.carol, blob, "+other"), DATA)
        self.assertEqual(self.kept(), 1)

    def test_a_file_entry_without_its_bytes(self) -> None:
        blob = self.upload(self.alice)
        half = name(DATA + b"x")
        self.ask(self.alice, m.Upload(1, TEA, half, len(DATA) + 1), m.Chunk(2, half, 0, DATA[:9]))
        for number, (size, hash_) in enumerate(
            ((len(DATA), name(b"other")), (len(DATA) + 1, half), (len(DATA) + 1, blob), (0, blob))
        ):
            body = body_of(File("a", size, hash_.hex()))
            self.refused(self.alice, "no-such-file", m.Send(9, TEA, msgid(90 + number), "file", body))

    def test_chunks_that_do_not_fit(self) -> None:
        blob = name(DATA)
        self.refused(self.alice, "no-upload", m.Chunk(1, blob, 0, b"x"))
        self.ask(self.alice, m.Upload(1, TEA, blob, 100), m.Chunk(2, blob, 0, DATA[:60]))
        self.refused(self.alice, "wrong-offset", m.Chunk(3, blob, 0, DATA[:60]))
        self.refused(self.alice, "wrong-offset", m.Chunk(3, blob, 59, DATA[59:70]))
        self.refused(self.alice, "wrong-offset", m.Chunk(3, blob, 61, DATA[61:70]))
        self.refused(self.alice, "wrong-offset", m.Chunk(3, blob, 2**53, b"x"))
        self.refused(self.alice, "past-end", m.Chunk(3, blob, 60, DATA[60:101]))
        self.refused(self.bob, "no-upload", m.Chunk(3, blob, 60, DATA[60:61]))
        self.assertEqual(self.ask(self.alice, m.Chunk(4, blob, 60, DATA[60:61])).offset, 61)
        self.recount()

    def test_a_size_that_lies(self) -> None:
        blob = name(DATA)
        self.ask(self.alice, m.Upload(1, TEA, blob, 10))
        self.refused(self.alice, "wrong-hash", m.Chunk(2, blob, 0, DATA[:10]))
        self.refused(self.alice, "no-upload", m.Chunk(2, blob, 0, DATA[:10]))
        self.recount()
        self.ask(self.alice, m.Upload(1, TEA, blob, 10), m.Chunk(2, blob, 0, DATA[:9]))
        self.upload(self.alice)  # with the true size it begins anew
        self.assertEqual(self.download(self.bob, blob), DATA)
        self.assertEqual(self.ask(self.bob, m.Upload(1, TEA, blob, 10)).offset, 0)
        self.recount()

    def test_bytes_that_are_others_than_announced(self) -> None:
        blob = name(DATA)
        self.ask(self.alice, m.Upload(1, TEA, blob, 4))
        self.refused(self.alice, "wrong-hash", m.Chunk(2, blob, 0, b"evil"))
        self.assertEqual((self.kept(), self.blobs._uploads), (0, {}))
        self.recount()

    def test_an_empty_file_that_is_none(self) -> None:
        self.refused(self.alice, "wrong-hash", m.Upload(1, TEA, name(b"x"), 0))
        self.assertEqual(self.kept(), 0)
        self.recount()

    def test_past_the_end_of_a_download(self) -> None:
        blob = self.upload(self.alice)
        self.assertEqual(self.ask(self.bob, m.Download(1, TEA, blob, len(DATA))).data, b"")
        self.refused(self.bob, "past-end", m.Download(1, TEA, blob, len(DATA) + 1))

    def test_the_quota_of_a_name(self) -> None:
        self.upload(self.alice, b"a" * MIB)
        self.upload(self.alice, b"b" * (MIB - LEAST))
        self.upload(self.alice, b"c")
        self.refused(self.alice, "quota-full", m.Upload(1, TEA, name(b"d"), 1))
        self.assertEqual(self.ask(self.alice, m.Upload(1, TEA, name(b"c"), 1)).offset, 1)
        self.upload(self.bob, b"d")
        self.recount()

    def test_two_sessions_race_for_a_quota(self) -> None:
        other = self.world.member("alice", TEA)
        a, b = b"a" * MIB, b"b" * MIB
        self.upload(self.alice, b"c" * MIB)
        self.alice.send(m.Upload(1, TEA, name(a), MIB))
        other.send(m.Upload(1, TEA, name(b), MIB))
        self.world.turn.end()
        told = [*self.alice.news(), *other.news()]
        self.assertEqual([getattr(a, "code", "") for a in told], ["", "quota-full"])

    def test_the_space_of_all(self) -> None:
        self.upload(self.alice, b"a" * MIB)
        self.upload(self.alice, b"b" * MIB)
        self.upload(self.bob, b"c" * (MIB - LEAST))
        self.refused(self.bob, "no-space", m.Upload(1, TEA, name(b"d"), LEAST + 1))
        self.ask(self.bob, m.Upload(1, TEA, name(b"e" * LEAST), LEAST))
        self.carol.ask(m.Upload(1, "+other", name(b"f" * LEAST), LEAST))
        self.ask(self.bob, m.Chunk(2, name(b"e" * LEAST), 0, b"e" * LEAST))
        self.refused(self.carol, "no-space", m.Chunk(2, name(b"f" * LEAST), 0, b"f"))
        self.recount()

    def test_a_thousand_uploads(self) -> None:
        codes = [
            getattr(self.ask(self.alice, m.Upload(1, TEA, name(b"%d" % n), 1)), "code", "")
            for n in range(1000)
        ]
        self.assertEqual(codes, [""] * MAX_OPEN + ["too-many"] * (1000 - MAX_OPEN))
        self.recount()

    def test_muted(self) -> None:
        blob = name(DATA)
        self.ask(self.bob, m.Upload(1, TEA, blob, len(DATA)))
        self.ask(self.alice, m.Mute(2, TEA, msgid(2), "bob"))
        self.refused(self.bob, "muted", m.Upload(1, TEA, blob, len(DATA)))
        self.refused(self.bob, "no-upload", m.Chunk(1, blob, 0, b"x"))

    def test_put_out_while_uploading_and_downloading(self) -> None:
        blob = self.upload(self.alice, b"kept")
        half = name(DATA)
        self.ask(self.bob, m.Upload(1, TEA, half, len(DATA)))
        self.ask(self.alice, m.Kick(2, TEA, msgid(2), "bob"))
        self.bob.news()
        self.refused(self.bob, "not-in-room", m.Download(1, TEA, blob))
        self.refused(self.bob, "no-upload", m.Chunk(1, half, 0, b"x"))

    def test_files_turned_off(self) -> None:
        for world in (World(), World(None, blobs, files=FileRules(limit=0))):
            alice = world.member("alice")
            body = body_of(File("a", 1, name(b"a").hex()))
            for n, sent in enumerate((m.Upload(1, "+lobby", name(b"a"), 1), m.Chunk(1, name(b"a"), 0, b"a"))):
                (error,) = alice.ask(sent)
                self.assertIn(error.code, ("no-files", "no-upload"), n)
            (error,) = alice.ask(m.Send(1, "+lobby", msgid(1), "file", body))
            self.assertIn(error.code, ("no-files", "no-such-file"))

    def test_too_many_rooms_for_one_file(self) -> None:
        record = self.world.hub.directory
        blob = self.upload(self.alice, b"x")

        def crowd(held: Any) -> Any:
            return held.with_links([type(held.links[0])(f"+{n}", "x", 0) for n in range(MAX_LINKS - 1)])

        async def change() -> None:
            await record.change_blob(blob, crowd)

        self.world.turn.spawn(change(), None)
        self.alice.ask(m.Join(1, "+more"))
        self.refused(self.alice, "too-many", m.Upload(1, "+more", blob, 1))


class Meanwhile(Case):
    """What happens while bytes are written or read."""

    def gate(self, then: Callable[[], Any], what: Callable[[], Any]) -> None:
        """Do ``what`` up to the next gate, then ``then``, then let it go on."""
        self.blobs.gates = []
        what()
        self.world.turn.end()
        gates, self.blobs.gates = self.blobs.gates, None
        then()
        for gate in gates:
            self.world.turn.open(gate)
        self.world.turn.end()

    def test_put_out_while_the_last_piece_is_written(self) -> None:
        self.ask(self.bob, m.Upload(1, TEA, name(b"x"), 1))
        self.gate(
            lambda: self.ask(self.alice, m.Kick(9, TEA, msgid(9), "bob")),
            lambda: self.bob.send(m.Chunk(2, name(b"x"), 0, b"x")),
        )
        self.assertEqual([n.code for n in self.bob.news() if type(n) is m.Error], ["no-upload"])
        self.refused(self.alice, "no-such-file", m.Download(1, TEA, name(b"x")))

    def test_put_out_while_a_piece_is_read(self) -> None:
        blob = self.upload(self.alice)
        self.gate(
            lambda: self.ask(self.alice, m.Kick(9, TEA, msgid(9), "bob")),
            lambda: self.bob.send(m.Download(2, TEA, blob)),
        )
        self.assertEqual([n.code for n in self.bob.news() if type(n) is m.Error], ["not-in-room"])

    def test_the_link_is_lost_while_the_last_piece_is_written(self) -> None:
        self.ask(self.bob, m.Upload(1, TEA, name(b"x"), 1))
        self.gate(self.bob.session.lost, lambda: self.bob.send(m.Chunk(2, name(b"x"), 0, b"x")))
        again = self.world.member("bob", TEA)
        self.assertEqual(self.ask(again, m.Upload(1, TEA, name(b"x"), 1)).offset, 1)
        self.assertEqual(self.download(self.alice, name(b"x")), b"x")
        self.recount()

    def test_two_sessions_write_the_same_piece(self) -> None:
        other = self.world.member("alice", TEA)
        for peer in (self.alice, other):
            self.ask(peer, m.Upload(1, TEA, name(b"xy"), 2))
        self.gate(
            lambda: other.send(m.Chunk(2, name(b"xy"), 0, b"x")),
            lambda: self.alice.send(m.Chunk(2, name(b"xy"), 0, b"x")),
        )
        self.assertEqual(self.alice.news()[-1], m.Ready(2, 1))
        self.assertEqual(other.news()[-1].code, "wrong-offset")
        self.recount()

    def test_somebody_else_gives_the_same_bytes_meanwhile(self) -> None:
        for peer in (self.alice, self.bob):
            self.ask(peer, m.Upload(1, TEA, name(b"x"), 1))
        for peer in (self.alice, self.bob):
            self.assertEqual(self.ask(peer, m.Chunk(2, name(b"x"), 0, b"x")).offset, 1)
        self.assertEqual(self.kept(), 1)
        self.recount()

    def test_a_full_disk(self) -> None:
        for broken in ("write", "digest", "keep"):
            data = broken.encode()
            self.ask(self.alice, m.Upload(1, TEA, name(data), len(data)))
            self.blobs.broken = broken
            error = self.refused(self.alice, "storage-unavailable", m.Chunk(2, name(data), 0, data))
            self.assertEqual(error.wait, 2000)
            self.blobs.broken = ""
            self.upload(self.alice, data)
            self.assertEqual(self.download(self.bob, name(data)), data)
            self.recount()

    def test_a_slow_reader_is_not_answered_more_than_it_takes(self) -> None:
        blob = self.upload(self.alice)
        self.bob.congest_at = sum(map(len, self.bob.writes)) + 1
        self.blobs.gates = []
        self.bob.send(*[m.Download(n, TEA, blob) for n in range(500)])
        while self.blobs.gates:  # each piece is read in a turn of its own
            self.world.turn.open(self.blobs.gates.pop(0))
            self.world.turn.end()
        self.assertTrue(self.bob.held)
        self.assertLess(len([n for n in self.bob.news() if type(n) is m.Piece]), 3)
        self.blobs.gates = None
        self.bob.drain()
        self.assertEqual(len([n for n in self.bob.news() if type(n) is m.Piece]), 498)


class Rates(Case):
    """Bytes cost a purse of their own."""

    rate = 20

    def test_downloads_are_slowed_down_and_talk_is_not(self) -> None:
        blob = self.upload(self.alice, DATA[: m.MAX_PIECE])
        answers = self.bob.ask(*[m.Download(n, TEA, blob) for n in range(1000)])
        pieces = [a for a in answers if type(a) is m.Piece]
        most = FILE_BURST * REQUEST_BYTES // m.MAX_PIECE
        self.assertTrue(most // 2 < len(pieces) <= most + 1, len(pieces))
        refused = [a for a in answers if type(a) is m.Error]
        self.assertEqual({a.code for a in refused}, {"rate-limited"})
        self.assertTrue(all(a.wait > 0 for a in refused))
        self.assertIs(type(self.bob.ask(text(5, "hello", TEA))[0]), m.Sent)
        self.world.turn.time += 1
        again = self.bob.ask(*[m.Download(n, TEA, blob) for n in range(1000)])
        pieces = [a for a in again if type(a) is m.Piece]
        self.assertLessEqual(len(pieces), FILE_RATE * REQUEST_BYTES // m.MAX_PIECE + 1)

    def test_uploads_are_slowed_down(self) -> None:
        blob = name(b"never to be whole")
        self.ask(self.bob, m.Upload(1, TEA, blob, 90 * MIB))
        piece = bytes(m.MAX_PIECE)
        answers = self.bob.ask(*[m.Chunk(n, blob, n * m.MAX_PIECE, piece) for n in range(1000)])
        taken = max(a.offset for a in answers if type(a) is m.Ready)
        self.assertLessEqual(taken, FILE_BURST * REQUEST_BYTES + m.MAX_PIECE)
        self.assertGreater(taken, FILE_BURST * REQUEST_BYTES // 2)

    def test_what_is_refused_costs_too(self) -> None:
        answers = self.bob.ask(*[m.Download(n, TEA, name(b"guess %d" % n)) for n in range(3000)])
        codes = {a.code for a in answers}
        self.assertEqual(codes, {"no-such-file", "rate-limited"})


class Time(Case):
    """Expiry, and what was begun and given up."""

    rules = FileRules(days=30)

    def test_files_expire(self) -> None:
        blob = self.upload(self.alice)
        self.world.turn.time += 30 * DAY - 1
        self.sweep()
        self.assertEqual(self.download(self.bob, blob), DATA)
        self.world.turn.time += 2
        self.refused(self.bob, "no-such-file", m.Download(1, TEA, blob))
        self.assertEqual(self.kept(), 1)
        self.sweep()
        self.assertEqual(self.kept(), 0)
        self.recount()
        self.upload(self.bob)
        self.assertEqual(self.download(self.alice, blob), DATA)

    def test_given_again_it_stays_longer(self) -> None:
        blob = self.upload(self.alice)
        self.world.turn.time += 20 * DAY
        self.upload(self.alice)
        self.world.turn.time += 20 * DAY
        self.sweep()
        self.assertEqual(self.download(self.bob, blob), DATA)

    def test_it_stays_for_the_room_that_has_it_longest(self) -> None:
        blob = self.upload(self.alice)
        self.world.turn.time += 20 * DAY
        self.upload(self.carol, room="+other")
        self.world.turn.time += 20 * DAY
        self.sweep()
        self.refused(self.bob, "no-such-file", m.Download(1, TEA, blob))
        self.assertEqual(self.download(self.carol, blob, "+other"), DATA)
        self.recount()

    def test_for_ever(self) -> None:
        self.world = World(None, blobs, files=FileRules(days=0), limits=m.Limits(rate=0))
        alice = self.world.member("alice", TEA)
        blob = self.upload(alice)
        self.world.turn.time += 10_000 * DAY
        self.world.turn.spawn(self.world.hub.keeper.sweep(), None)  # type: ignore[union-attr]  # it has one
        self.assertEqual(self.download(alice, blob), DATA)

    def test_a_clock_that_is_set_forward(self) -> None:
        blob = self.upload(self.alice)
        self.patch(self.world.turn, "wall", lambda: 5e9)
        self.sweep()
        self.assertEqual(self.download(self.bob, blob), DATA)

    def test_uploads_that_were_given_up(self) -> None:
        self.ask(self.alice, m.Upload(1, TEA, name(b"never"), 5))
        half = name(DATA)
        self.ask(self.alice, m.Upload(1, TEA, half, len(DATA)), m.Chunk(2, half, 0, DATA[:9]))
        self.world.turn.time += UNSTARTED + 1
        self.sweep()
        self.assertEqual(len(self.keeper._partials), 1)
        self.world.turn.time += ABANDONED
        self.sweep()
        self.assertEqual((self.keeper._partials, self.blobs._uploads), ({}, {}))
        self.recount()

    def test_uploads_that_were_given_up_before_a_restart(self) -> None:
        half = name(DATA)
        self.ask(self.alice, m.Upload(1, TEA, half, len(DATA)), m.Chunk(2, half, 0, DATA[:9]))
        self.keeper = Keeper(self.blobs, self.world.hub.directory, self.world.turn, self.rules)
        self.sweep()
        self.assertEqual(self.keeper._counts.total, 9)
        self.world.turn.time += ABANDONED + 1
        self.sweep()
        self.assertEqual((self.keeper._counts.total, self.blobs._uploads), (0, {}))

    def test_bytes_that_nothing_is_recorded_of(self) -> None:
        blob = self.upload(self.alice)

        async def crash() -> None:
            await self.blobs.write("orphan", 0, b"x")
            await self.blobs.keep("orphan", name(b"x"))

        self.world.turn.spawn(crash(), None)
        self.assertEqual(self.kept(), 2)
        self.sweep()
        self.assertEqual(list(self.blobs._blobs), [blob])

    def test_bytes_that_are_gone(self) -> None:
        blob = self.upload(self.alice)
        self.blobs._blobs.clear()
        self.refused(self.bob, "no-such-file", m.Download(1, TEA, blob))

    def test_bytes_that_were_lost_on_the_way_are_asked_for_again(self) -> None:
        half = name(DATA)
        self.ask(self.alice, m.Upload(1, TEA, half, len(DATA)), m.Chunk(2, half, 0, DATA[:9]))
        (held, _) = next(iter(self.blobs._uploads.values()))
        held[:] = bytes(len(DATA))  # a power cut: the size is there, the bytes are not
        self.keeper._partials.clear()
        self.keeper._counts.names.clear()
        self.keeper._counts.open.clear()
        self.assertEqual(self.ask(self.alice, m.Upload(1, TEA, half, len(DATA))).offset, 0)
        self.upload(self.alice)

    def test_when_there_are_too_many_the_oldest_that_never_began_goes(self) -> None:
        first = name(b"first")
        self.ask(self.alice, m.Upload(1, TEA, first, 1))
        peers = [self.world.member(f"user{n}", TEA) for n in range(4)]
        import encchat.core.files.keeper as module

        self.patch(module, "MAX_OPEN_ALL", 4)
        self.assertGreater(MAX_OPEN_ALL, 4)
        for n, peer in enumerate(peers):
            self.world.turn.time += 1
            self.assertEqual(self.ask(peer, m.Upload(1, TEA, name(b"%d" % n), 1)).offset, 0)
        self.refused(self.alice, "no-upload", m.Chunk(1, first, 0, b"x"))
        self.recount()

    def test_uploads_that_others_began_and_left_keep_nobody_out(self) -> None:
        import encchat.core.files.keeper as module

        self.patch(module, "MAX_OPEN_ALL", 4)
        for n in range(4):
            peer = self.world.member(f"user{n}", TEA)
            self.ask(peer, m.Upload(1, TEA, name(DATA), len(DATA)), m.Chunk(2, name(DATA), 0, DATA[: n + 1]))
            self.world.turn.time += 1
        self.upload(self.alice)
        self.upload(self.bob, b"another")
        # Who goes on after that has lost nothing.
        back = self.world.named("user0")
        back.ask(m.Join(1, "+user0"))
        self.assertEqual(self.ask(back, m.Upload(1, "+user0", name(DATA), len(DATA))).offset, 1)
        self.recount()
