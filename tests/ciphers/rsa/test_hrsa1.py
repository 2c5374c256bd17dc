"""The hrsa1 machines: byte for byte the published vectors, and what the layer around them relies on."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from encchat.ciphers.rsa import machine, schedule
from encchat.ciphers.rsa.events import Established, PeerClosed, Work
from encchat.ciphers.rsa.failures import HandshakeFailed, RecordRefused, Truncated
from encchat.ciphers.rsa.hrsa1 import CLIENT, SERVER, ClientMachine, ServerMachine
from encchat.ciphers.rsa.machine import State
from encchat.ciphers.rsa.opening import build_hello, build_s1
from encchat.ciphers.rsa.primitives import fingerprint_of, modulus
from encchat.core.identity import PeerIdentity, is_fingerprint
from tests.ciphers.rsa import rig
from tests.ciphers.rsa.rig import C1, C2, MESSAGE, RECORDS, S1, S2, VECTORS, Driven

FINGERPRINT_S = fingerprint_of(rig.I_S.public_key())
FINGERPRINT_C = fingerprint_of(rig.I_C.public_key())


class Vectors(TestCase):
    """Fixed keys, secrets and seeds lead to the published bytes."""

    def test_fingerprints(self) -> None:
        for ours, theirs in ((FINGERPRINT_S, "fp_id_S"), (FINGERPRINT_C, "fp_id_C")):
            self.assertTrue(is_fingerprint(ours))
            self.assertEqual(b64decode(ours.removeprefix("SHA256:") + "=").hex(), VECTORS[theirs])

    def test_moduli(self) -> None:
        self.assertEqual(modulus(rig.E_S.public_key()), rig.octets("rec_S_modulus"))
        self.assertEqual(modulus(rig.E_C.public_key()), rig.octets("rec_C_modulus"))

    def test_transcript(self) -> None:
        hello, kex_c = C1[:-384], C1[-384:]
        th1 = schedule.first_transcript(S1, hello)
        th2 = schedule.second_transcript(th1, kex_c)
        th3 = schedule.third_transcript(th2, S2[:256], S2[256:640])
        self.assertEqual([th.hex() for th in (th1, th2, th3)], [VECTORS[f"TH{n}"] for n in (1, 2, 3)])

    def test_keys(self) -> None:
        ours = rig.schedule()
        self.assertEqual(ours._prk.hex(), VECTORS["PRK"])
        self.assertEqual(len(VECTORS["keys"]), 5)
        for name, key in VECTORS["keys"].items():
            self.assertEqual(ours.derive(name.encode("ascii")).hex(), key)

    def test_proofs(self) -> None:
        self.assertEqual(rig.schedule().server_proof(), rig.octets("FIN_S"))
        self.assertEqual(rig.schedule().client_proof(), rig.octets("FIN_C"))

    def test_openings(self) -> None:
        offered = ("encchat/2", "encchat/1")
        self.assertEqual(build_s1(offered, rig.I_S.public_key(), rig.KEYS.classic), S1)
        hello = build_hello("encchat/1", rig.I_C.public_key(), rig.E_C.public_key())
        self.assertEqual(hello, C1[:-384])

    def test_the_client_says_the_published_bytes(self) -> None:
        seeds = [rig.seed(name) for name in ("seed r0", "seed r1.0", "seed r1.1", "seed r2")]
        client = Driven(rig.fixed_client(*seeds))
        self.assertEqual(client.machine.take_output(), b"")
        self.assertEqual(client.feed(S1), C1)
        self.assertEqual(client.feed(S2), C2)
        client.machine.send(MESSAGE)
        self.assertEqual(client.machine.take_output(), RECORDS[0])
        client.machine.send(b"x" * 200)
        self.assertEqual(client.machine.take_output(), RECORDS[1])
        client.machine.close()
        self.assertEqual(client.machine.take_output(), RECORDS[2])

    def test_the_server_says_the_published_bytes(self) -> None:
        server = Driven(rig.fixed_server())
        self.assertEqual(server.machine.take_output(), S1)
        self.assertEqual(server.feed(C1), S2)
        self.assertEqual(server.feed(C2 + b"".join(RECORDS)), b"")
        self.assertEqual(
            server.log,
            [
                ("established", ("encchat/1", FINGERPRINT_C)),
                ("data", MESSAGE + b"x" * 200),
                ("closed", None),
            ],
        )

    def test_both_ends_log_the_same_transcript(self) -> None:
        client, server = Driven(rig.fixed_client()), Driven(rig.fixed_server())
        rig.shake(client, server)
        self.assertEqual(client.machine.th3_prefix, VECTORS["TH3"][:16])
        self.assertEqual(server.machine.th3_prefix, VECTORS["TH3"][:16])


class Talking(TestCase):
    """Two ends that mean well."""

    def test_each_end_learns_who_the_other_is(self) -> None:
        client, server = rig.open_pair()
        self.assertEqual(client.log, [("established", ("encchat/1", FINGERPRINT_S))])
        self.assertEqual(server.log, [("established", ("encchat/1", FINGERPRINT_C))])
        for end, own, peer in (
            (client, FINGERPRINT_C, FINGERPRINT_S),
            (server, FINGERPRINT_S, FINGERPRINT_C),
        ):
            self.assertEqual(end.machine.own_fingerprint, own)
            self.assertEqual(end.machine.peer_fingerprint, peer)
            self.assertEqual(end.machine.protocol, "encchat/1")
            self.assertEqual(end.machine.stage, "records")
            self.assertEqual(len(end.machine.th3_prefix), 16)

    def test_the_identity_that_is_told(self) -> None:
        server = rig.fixed_server()
        server.start()
        (work,) = server.receive(C1)
        server.work_done(cast(Work, work).job())
        (event,) = server.receive(C2)
        assert isinstance(event, Established)
        self.assertEqual(
            event.identity, PeerIdentity(FINGERPRINT_C, None, "rsa", event.identity.summary, True)
        )
        self.assertIn("hrsa1", event.identity.summary)
        self.assertIn(FINGERPRINT_C, event.identity.summary)

    def test_two_handshakes_share_no_byte_that_matters(self) -> None:
        first, second = rig.open_pair(), rig.open_pair()
        self.assertNotEqual(first[0].machine.th3_prefix, second[0].machine.th3_prefix)

    def test_data_both_ways(self) -> None:
        client, server = rig.open_pair()
        client.machine.send(b"hello")
        server.machine.send(b"welcome")
        client.feed(server.feed(client.machine.take_output()))
        self.assertEqual((server.data, client.data), (b"hello", b"welcome"))

    def test_the_client_may_send_right_behind_its_proof(self) -> None:
        client, server = rig.new_pair()
        c1 = client.feed(server.machine.take_output())
        s2 = server.feed(c1)
        client._follow(client.machine.receive(s2))
        client.machine.send(b"early bird")
        server.feed(client.machine.take_output())
        self.assertEqual([what for what, _ in server.log], ["established", "data"])
        self.assertEqual(server.data, b"early bird")

    def test_what_is_sent_together_travels_together(self) -> None:
        client, server = rig.open_pair()
        for _ in range(19):
            client.machine.send(b"ten bytes.")
        together = client.machine.take_output()  # 191 bytes with the type: two blocks
        self.assertEqual(len(together), 2 + 2 * 256 + 32)
        server.feed(together)
        self.assertEqual(server.data, b"ten bytes." * 19)
        self.assertEqual(client.machine.take_output(), b"")

    def test_an_empty_record_tells_nothing(self) -> None:
        client, server = rig.open_pair()
        sealer = cast(Any, client.machine)._sealer
        server.feed(sealer._seal(0x17, b""))
        self.assertEqual([what for what, _ in server.log], ["established"])

    def test_close_comes_after_what_was_sent_and_ends_it(self) -> None:
        client, server = rig.open_pair()
        client.machine.send(b"last words")
        client.machine.close()
        client.machine.send(b"not heard")
        client.machine.close()
        server.feed(client.machine.take_output())
        self.assertEqual(server.log[1:], [("data", b"last words"), ("closed", None)])
        self.assertEqual(client.machine.take_output(), b"")
        server.end()
        self.assertEqual(server.machine.stage, "closed")

    def test_an_end_may_answer_after_the_other_has_closed(self) -> None:
        client, server = rig.open_pair()
        client.machine.close()
        server.feed(client.machine.take_output())
        server.machine.send(b"bye")
        client.feed(server.machine.take_output())
        self.assertEqual(client.data, b"bye")

    def test_the_first_protocol_that_both_speak(self) -> None:
        server = Driven(ServerMachine(rig.KEYS, ("encchat/3", "encchat/2", "encchat/1")))
        client = Driven(ClientMachine(rig.I_C, rig.E_C, rig.accept, ("encchat/9", "encchat/2", "encchat/3")))
        rig.shake(client, server)
        self.assertEqual((client.machine.protocol, server.machine.protocol), ("encchat/2", "encchat/2"))


class Driving(TestCase):
    """What the layer may rely on, and what it must not do."""

    def test_the_tables_start_at_new_and_end_closed(self) -> None:
        for table in (SERVER, CLIENT):
            reached = {State.NEW}
            for (state, _), following in table.items():
                self.assertIn(state, reached)
                reached.add(following)
            self.assertIn(State.PEER_CLOSED, reached)

    def test_calls_out_of_turn_are_bugs(self) -> None:
        for end in (rig.fixed_client(), rig.fixed_server()):
            self.assertRaises(RuntimeError, end.receive, b"x")
            self.assertRaises(RuntimeError, end.eof)
            self.assertRaises(RuntimeError, end.send, b"x")
            self.assertRaises(RuntimeError, end.work_done, None)
            end.start()
            self.assertRaises(RuntimeError, end.start)
            self.assertRaises(RuntimeError, end.work_done, None)
            self.assertRaises(RuntimeError, end.send, b"x")

    def test_close_during_the_handshake_says_nothing(self) -> None:
        client = rig.fixed_client()
        client.start()
        client.close()
        self.assertEqual(client.take_output(), b"")

    def test_no_private_key_is_used_outside_of_work(self) -> None:
        server = rig.fixed_server()
        server.start()
        server.take_output()
        events = server.receive(C1)
        self.assertEqual([type(event) for event in events], [Work])
        self.assertEqual(server.take_output(), b"")
        self.assertEqual(server.stage, "KEX")

    def test_while_work_is_out_records_wait(self) -> None:
        client, server = rig.open_pair()
        client.machine.send(b"one")
        (work,) = server.machine.receive(client.machine.take_output())
        self.assertEqual(server.machine.backlog, 0)
        client.machine.send(b"two")
        second = client.machine.take_output()
        self.assertEqual(server.machine.receive(second[:100]), [])
        self.assertEqual(server.machine.receive(second[100:]), [])
        self.assertEqual(server.machine.backlog, len(second))
        server._follow(server.machine.work_done(cast(Work, work).job()))
        self.assertEqual(server.data, b"onetwo")
        self.assertEqual(server.machine.backlog, 0)

    def test_one_work_takes_many_records_but_not_all(self) -> None:
        client, server = rig.open_pair()
        records = []
        for _ in range(70):
            client.machine.send(b"x")
            records.append(client.machine.take_output())
        before = server.jobs
        server.feed(b"".join(records))
        self.assertEqual(server.data, b"x" * 70)
        self.assertEqual(server.jobs - before, 2)

    def test_a_flood_that_no_layer_held_back_is_refused(self) -> None:
        self.patch(machine, "MAX_BACKLOG", 1000)
        client, server = rig.open_pair()
        client.machine.send(b"one")
        work = server.note(server.machine.receive(client.machine.take_output()))
        server.machine.receive(bytes(900))
        self.assertRaises(RecordRefused, server.machine.receive, bytes(101))
        assert work is not None
        self.assertRaises(RecordRefused, server.machine.work_done, work.job())

    def test_a_record_that_is_not_whole_shows(self) -> None:
        client, server = rig.open_pair()
        self.assertIsNone(server.machine.incomplete)
        client.machine.send(b"one")
        record = client.machine.take_output()
        server.feed(record[:1])
        self.assertEqual(server.machine.incomplete, 0)
        (work,) = server.machine.receive(record[1:])
        self.assertIsNone(server.machine.incomplete)
        server._follow(server.machine.work_done(cast(Work, work).job()))
        self.assertIsNone(server.machine.incomplete)
        client.machine.send(b"two")
        server.feed(client.machine.take_output()[:-1])
        self.assertEqual(server.machine.incomplete, 1)

    def test_after_a_failure_there_is_nothing_but_the_failure(self) -> None:
        _, server = rig.open_pair()
        server.machine.send(b"pending")
        self.assertRaises(RecordRefused, server.feed, b"\0\0")
        self.assertRaises(RecordRefused, server.feed, b"")
        self.assertRaises(RecordRefused, server.end)
        server.machine.send(b"nobody hears this")
        server.machine.close()
        self.assertEqual(server.machine.take_output(), b"")
        self.assertEqual(server.machine.stage, "record 0 size")

    def test_a_failure_comes_after_what_came_before_it(self) -> None:
        client, server = rig.open_pair()
        client.machine.send(b"good")
        self.assertRaises(RecordRefused, server.feed, client.machine.take_output() + b"\0\0")
        self.assertEqual(server.data, b"good")

    def test_a_failure_right_behind_the_handshake_comes_after_it(self) -> None:
        server = Driven(rig.fixed_server())
        server.feed(C1)
        self.assertRaises(RecordRefused, server.feed, C2 + b"\0\0")
        self.assertTrue(server.established)

    def test_the_end_is_told_after_the_work_that_is_out(self) -> None:
        client, server = rig.open_pair()
        client.machine.send(b"good")
        client.machine.close()
        (work,) = server.machine.receive(client.machine.take_output())
        self.assertEqual(server.machine.eof(), [])
        self.assertIsNone(server.note(server.machine.work_done(cast(Work, work).job())))
        self.assertEqual(server.log[1:], [("data", b"good"), ("closed", None)])

    def test_a_cut_stream_is_told_after_the_work_that_is_out(self) -> None:
        client, server = rig.open_pair()
        client.machine.send(b"good")
        (work,) = server.machine.receive(client.machine.take_output())
        self.assertEqual(server.machine.eof(), [])
        events = server.machine.work_done(cast(Work, work).job())
        last = server.note(events)
        self.assertEqual(server.data, b"good")
        assert last is not None
        self.assertRaises(Truncated, server.machine.work_done, last.job())

    def test_no_secret_shows(self) -> None:
        client, server = rig.open_pair()
        shown = " ".join(
            repr(thing) + str(thing)
            for thing in (
                rig.KEYS,
                client.machine,
                server.machine,
                rig.schedule(),
                cast(Any, client.machine)._sealer,
                cast(Any, server.machine)._opener,
            )
        )
        self.assertNotIn("RSAP", shown)
        self.assertNotIn(VECTORS["PRK"], shown)
        self.assertNotIn("b'", shown)


#: One whole session, which has always the same bytes: what each end is told, flight by flight.
SENT_BY_CLIENT = [b"a" * 500, b"b", b"c" * 190]
SENT_BY_SERVER = [b"d" * 189, b"e" * 191]


def _flights() -> tuple[list[bytes], list[bytes]]:
    encrypt = rig.unseeded()
    client = Driven(ClientMachine(rig.I_C, rig.E_C, rig.accept, entropy=bytes, encrypt=encrypt))
    server = Driven(ServerMachine(rig.KEYS, entropy=bytes, encrypt=encrypt))
    s1 = server.machine.take_output()
    c1 = client.feed(s1)
    s2 = server.feed(c1)
    c2 = client.feed(s2)
    server.feed(c2)
    for end, sent in ((client, SENT_BY_CLIENT), (server, SENT_BY_SERVER)):
        for data in sent:
            end.machine.send(data)
            if end is client:
                c2 += client.machine.take_output()
        end.machine.close()
    return [c1, c2 + client.machine.take_output()], [s1, s2, server.machine.take_output()]


TO_SERVER, TO_CLIENT = _flights()

CUTS = st.lists(st.integers(0, 1 << 20), max_size=12)


class Cuts(TestCase):
    """However the stream is cut, and whenever the work is done, what happens is the same."""

    def run_in_pieces(self, end: Driven, flights: list[bytes], data: st.DataObject) -> None:
        work: Work | None = None
        for flight in flights:
            for piece in rig.cut(flight, data.draw(CUTS)):
                events = end.machine.receive(piece)
                assert work is None or not events, "events while work is out"
                work = work or end.note(events)
                in_handshake = not end.established
                while work is not None and (in_handshake or data.draw(st.booleans())):
                    work = end.note(end.machine.work_done(work.job()))
                    in_handshake = not end.established
            while work is not None:
                work = end.note(end.machine.work_done(work.job()))

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_towards_the_server(self, data: st.DataObject) -> None:
        server = Driven(ServerMachine(rig.KEYS, entropy=bytes, encrypt=rig.unseeded()))
        self.run_in_pieces(server, TO_SERVER, data)
        whole = b"".join(SENT_BY_CLIENT)
        wanted = [("established", ("encchat/1", FINGERPRINT_C)), ("data", whole), ("closed", None)]
        self.assertEqual(server.log, wanted)
        self.assertEqual(server.machine.take_output(), TO_CLIENT[0] + TO_CLIENT[1])

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_towards_the_client(self, data: st.DataObject) -> None:
        machine = ClientMachine(rig.I_C, rig.E_C, rig.accept, entropy=bytes, encrypt=rig.unseeded())
        client = Driven(machine)
        self.run_in_pieces(client, TO_CLIENT, data)
        whole = b"".join(SENT_BY_SERVER)
        wanted = [("established", ("encchat/1", FINGERPRINT_S)), ("data", whole), ("closed", None)]
        self.assertEqual(client.log, wanted)
        said = client.machine.take_output()
        self.assertEqual(said, TO_SERVER[0] + TO_SERVER[1][:32])

    def test_byte_by_byte(self) -> None:
        server = Driven(ServerMachine(rig.KEYS, entropy=bytes, encrypt=rig.unseeded()))
        for flight in TO_SERVER:
            for place in range(len(flight)):
                server.feed(flight[place : place + 1])
        self.assertEqual([what for what, _ in server.log], ["established", "data", "closed"])


class Early(TestCase):
    """Nobody may say more than it is his turn to."""

    def test_bytes_behind_s1(self) -> None:
        client = Driven(rig.fixed_client())
        self.assertRaises(HandshakeFailed, client.feed, S1 + b"x")
        self.assertEqual(client.machine.take_output(), b"")

    def test_bytes_behind_c1(self) -> None:
        self.assertRaises(HandshakeFailed, Driven(rig.fixed_server()).feed, C1 + b"x")

    def test_bytes_while_c1_is_read(self) -> None:
        server = rig.fixed_server()
        server.start()
        server.receive(C1)
        self.assertRaises(HandshakeFailed, server.receive, b"x")

    def test_bytes_behind_s2(self) -> None:
        client = Driven(rig.fixed_client())
        client.feed(S1)
        self.assertRaises(HandshakeFailed, client.feed, S2 + b"x")

    def test_bytes_behind_the_close(self) -> None:
        for more in (RECORDS[0], b"x"):
            server = Driven(rig.fixed_server())
            server.feed(C1)
            self.assertRaises(RecordRefused, server.feed, C2 + b"".join(RECORDS) + more)
            self.assertEqual(server.log[-1], ("closed", None))

    def test_a_good_record_behind_the_close(self) -> None:
        client, server = rig.open_pair()
        sealer = cast(Any, client.machine)._sealer
        stream = sealer._seal(0x15, b"\0") + sealer._seal(0x17, b"more")
        self.assertRaises(RecordRefused, server.feed, stream)
        self.assertEqual(server.log[1:], [("closed", None)])

    def test_bytes_long_after_the_close(self) -> None:
        server = Driven(rig.fixed_server())
        server.feed(C1)
        server.feed(C2 + b"".join(RECORDS))
        self.assertRaises(RecordRefused, server.feed, b"x")

    def test_a_close_is_told_once(self) -> None:
        client, server = rig.open_pair()
        client.machine.close()
        (work,) = server.machine.receive(client.machine.take_output())
        self.assertEqual(server.machine.work_done(cast(Work, work).job()), [PeerClosed()])
