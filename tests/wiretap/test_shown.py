"""What people and programs are told: in words, on the screen, as JSON lines."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.ciphers.explaining import Part
from encchat.wire import encode
from encchat.wiretap import jsonfile, screen
from encchat.wiretap.seen import Began, Ended, Opened, Seen
from encchat.wiretap.words import HIDDEN, MAX_ELEMENTS, fields_of, sentence
from tests.hostile import hostile_text, is_unsafe
from tests.strategies import client_messages, server_messages
from tests.wiretap.rig import CODE, TIME, WIRE, opened, proved, sealed

EVIL = "\x1b]52;c;QUFB\x07\x1b[2J\u202eab\x9b5m\rc\x00"
ENTRY = encode(m.Entry("+lobby", 7, TIME, "bob", "", "text", b"m" * 16, b"inside"))


def shown(seen: Seen) -> str:
    return "\n".join("".join(text for _, text in line) for line in screen.lines(seen))


def told(seen: Seen) -> dict[str, object]:
    line = jsonfile.line(seen)
    assert line.endswith(b"\n")
    assert line.isascii()
    found: dict[str, object] = json.loads(line)
    return found


class Words(SynchronousTestCase):
    def test_fields(self) -> None:
        fields = fields_of(m.Send(3, "+lobby", bytes(range(16)), "text", "grüß dich".encode()))
        self.assertEqual(
            {name: value for name, value in fields.items() if value is not None},
            {"id": 3, "room": "+lobby", "msgid": bytes(range(16)).hex(), "kind": "text", "body": "grüß dich"},
        )
        self.assertEqual(
            sentence(fields), "id 3, room +lobby, msgid 0001020304050607…, kind text, body grüß dich"
        )

    def test_bytes_that_are_no_text(self) -> None:
        fields = fields_of(m.Send(3, "+lobby", bytes(16), "sealed", b"\xff\xfe" * 200))
        self.assertEqual(fields["body"], "fffe" * 32 + "… (400 bytes)")
        self.assertEqual(fields["msgid"], "00" * 16)

    def test_a_page_is_opened_too(self) -> None:
        page = m.Page(1, "+lobby", m.Position(), (ENTRY,) * (MAX_ELEMENTS + 5), False)
        entries = fields_of(page)["entries"]
        assert isinstance(entries, list)
        self.assertEqual(entries[0]["body"], "inside")  # type: ignore[index, call-overload]  # it is a dict
        self.assertEqual(entries[-1], "and 5 more")
        self.assertEqual(
            fields_of(m.Page(1, "+lobby", m.Position(), (b"junk",), False))["entries"], ["6a756e6b"]
        )

    def test_what_is_empty_is_left_out_of_a_sentence(self) -> None:
        self.assertEqual(sentence(fields_of(m.Join(1, "+x"))), "id 1, room +x, history 0")
        self.assertEqual(sentence({"here": True, "list": [1, {"a": False}]}), "here yes, list [1; (a=no)]")


class Secrets(SynchronousTestCase):
    """A link code lets a device in for some minutes: it is nowhere in what is shown or written."""

    def test_blanked(self) -> None:
        for message in (m.Hello((1,), "alice", link=CODE), m.Linked(1, CODE, 600)):
            self.assertIn(HIDDEN, shown(opened(message)))
            for text in (shown(opened(message)), jsonfile.line(opened(message)).decode()):
                self.assertNotIn(CODE, text)
                self.assertNotIn(CODE.encode().hex(), text)
                self.assertNotIn(CODE.encode().hex(" "), text)

    def test_a_hello_without_a_code_hides_nothing(self) -> None:
        self.assertNotIn(HIDDEN, shown(opened(m.Hello((1,), "alice"))))
        self.assertEqual(told(opened(m.Hello((1,), "alice")))["bytes"], encode(m.Hello((1,), "alice")).hex())


class Shown(SynchronousTestCase):
    def test_a_message_and_its_bytes(self) -> None:
        text = shown(opened(m.Send(3, "+lobby", b"i" * 16, "text", b"hello class")))
        self.assertTrue(text.startswith("→ 1 send  id 3, room +lobby"), text)
        self.assertIn("73 65 6e 64 03 a6 2b 6c 6f 62  ...3..send..+lob", text)

    def test_the_network(self) -> None:
        text = shown(
            sealed(b"\x17\x03\x03" + bytes(300), Part("TLS protected record", 303, {"hides": 281}), out=False)
        )
        self.assertTrue(text.startswith("⇐ 2 on the network"), text)
        self.assertIn("TLS protected record, 303 bytes: hides 281", text)
        self.assertIn("sealed    303 bytes  17 03 03 00", text)
        self.assertIn("… 239 bytes more", text)
        self.assertIn("and 8 more parts", shown(sealed(b"x" * 20, *[Part("x", 1)] * 20)))

    def test_the_rest(self) -> None:
        self.assertEqual(
            shown(Began(WIRE, TIME)), "-- connection: 127.0.0.1:40000 → 127.0.0.1:9999, cipher rsa"
        )
        self.assertEqual(shown(proved()), "-- secure: encchat/1 with rsa, a test")
        self.assertEqual(shown(proved(None)), "-- secure: lines of text with rsa, a test")
        self.assertEqual(shown(Ended(WIRE, TIME, "cut")), "-- connection ended: cut")
        self.assertIn("line  hello", shown(Opened(WIRE, TIME, 1, True, b"hello\n")))
        self.assertIn(
            "unreadable: no frame", shown(Opened(WIRE, TIME, 1, True, b"hello\n", None, "no frame"))
        )

    @settings(max_examples=60, deadline=None)
    @given(st.one_of(client_messages, server_messages))
    def test_every_message(self, message: m.Message) -> None:
        """All can be shown, in few and short lines, and told."""
        text = shown(opened(message))
        self.assertLess(len(text.splitlines()), screen.LINES + 3)
        self.assertLess(max(map(len, text.splitlines())), screen.WORDS + 20)
        found = told(opened(message))
        self.assertEqual(found["message"], type(message).__struct_config__.tag)
        self.assertEqual(found["size"], len(encode(message)))

    @settings(max_examples=60, deadline=None)
    @given(hostile_text)
    def test_nothing_steers_a_terminal(self, text: str) -> None:
        line = text.encode("utf-8", "replace")
        text = line.decode("utf-8")
        for seen in (
            opened(m.Send(1, text[:64], b"i" * 16, "text", line)),
            opened(m.Welcome(text[:64], 1, m.Limits(), text, 1, bytes(16))),
            Opened(WIRE, TIME, 1, False, line + b"\n"),
            Opened(WIRE, TIME, 1, False, line, None, text),
            sealed(line, Part("a record", 1, {"server_name": text})),
            Ended(WIRE, TIME, text),
        ):
            self.assertFalse(any(map(is_unsafe, shown(seen).replace("\n", ""))), shown(seen))
            values = json.dumps(told(seen), ensure_ascii=False)
            self.assertFalse(any(map(is_unsafe, values)), values)

    def test_that_it_is_one(self) -> None:
        """The sample of the tests above does what it should."""
        self.assertTrue(any(map(is_unsafe, EVIL)))
        self.assertFalse(any(map(is_unsafe, shown(opened(m.Notice(EVIL))).replace("\n", ""))))


class Colours(SynchronousTestCase):
    def test_pieces(self) -> None:
        self.assertEqual(screen._piece("ansigreen", "x", plain=False), "\x1b[32mx\x1b[0m")
        self.assertEqual(screen._piece("ansigreen", "x", plain=True), "x")
        self.assertEqual(screen._piece("", "x", plain=False), "x")

    def test_when(self) -> None:
        import io
        import sys

        for environment, terminal, coloured in (
            ({"TERM": "xterm"}, True, True),
            ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
            ({"TERM": "dumb"}, True, False),
            ({}, True, False),
            ({"TERM": "xterm"}, False, False),
        ):
            self.patch(screen, "_is_terminal", lambda terminal=terminal: terminal)
            stream = io.StringIO()
            self.patch(sys, "__stderr__", stream)
            screen.Screen(screen.on_stderr(environment)).saw(Ended(WIRE, TIME, "cut"))
            self.assertEqual("\x1b[" in stream.getvalue(), coloured, environment)
            self.assertIn("connection ended", stream.getvalue())

    def test_nobody_there(self) -> None:
        import sys

        self.patch(sys, "__stderr__", None)
        screen.on_stderr({})([[("", "x")]])


class Told(SynchronousTestCase):
    def test_bounds(self) -> None:
        found = told(sealed(b"x" * (jsonfile.MAX_BYTES + 1)))
        self.assertEqual(found["size"], jsonfile.MAX_BYTES + 1)
        self.assertEqual(len(str(found["bytes"])), 2 * jsonfile.MAX_BYTES)
