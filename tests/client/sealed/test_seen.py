"""What people see and type in sealed rooms: whole clients with consoles, the real hub between them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client import events as e
from encchat.client import files, jsonlines
from encchat.client.backing import CannotRestore, NoPassphrase, Restoring, read_backup, read_passphrase
from encchat.client.pipe import Manner, Pipe, Withheld
from encchat.client.sealnews import news_lines, room_words
from encchat.client.sending import Sending
from encchat.client.shown import NobodyToAsk, Shown
from encchat.core.identity import fingerprint
from encchat.core.plain import happening_line
from encchat.core.sealed import events as fx
from encchat.core.sealed.backup import BackupUnreadable, WrongPassphrase
from encchat.core.sealedwords import STANDING_IN
from encchat.messages import Entry
from tests.client.sealed.town import Person, Town
from tests.client.test_console import Screen
from tests.client.world import FakeReader, FakeWriter
from tests.core.sealed.world import identity
from tests.hostile import is_unsafe

LOBBY = "+lobby"
ROOM = "#tea"


class Viewer(Person):
    """Somebody at a console."""

    def start(self) -> None:
        super().start()
        self.screen = Screen(self.town.clock, self.chat, LOBBY, None)
        self.screen.connected = True
        self.chat._console = self.screen
        self.screen.happened(self.listener.events)
        self.done = Deferred.fromCoroutine(self.screen.run())
        self.done.addErrback(lambda failure: None)
        self.town.settle()

    def type(self, *lines: str) -> str:
        """Type lines; what they made appear."""
        before = len(self.screen.lines)
        for line in lines:
            self.screen.typed(line)
            self.town.later(2)
        return "\n".join(self.screen.lines[before:])

    @property
    def text(self) -> str:
        return self.screen.text


class SeenCase(TestCase):
    def setUp(self) -> None:
        self.patch(files, "deferToThread", maybeDeferred)
        self.here = Path(self.mktemp()).absolute()
        self.town = Town()
        self.alice, self.bob = self.person("alice"), self.person("bob")

    def person(self, name: str, directory: str = "", **more: Any) -> Viewer:
        viewer = Viewer(self.town, self.here / (directory or name), name, **more)
        self.addCleanup(self.leave, viewer)
        self.town.later(2)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        if viewer.sealed.available or viewer.chat.session.admitted:
            viewer.end()


class Rooms(SeenCase):
    def test_made_talked_in_and_left(self) -> None:
        shown = self.alice.type("/create #Tea bob")
        self.assertEqual(self.alice.screen.room, ROOM)
        self.assertIn("alice made this sealed room with bob", shown)
        self.assertEqual(self.bob.screen.room, LOBBY, "nobody is taken anywhere")
        self.assertIn("in #tea with", self.bob.text)
        self.bob.type("/go #tea", "hello alice")
        self.assertRegex(self.alice.text, r"\n\d\d:\d\d bob: hello alice")
        self.assertIn("bob set the topic of #tea to: green", self.bob.type("/topic green"))
        self.assertIn("the topic of #tea is: green", self.alice.type("/topic"))
        who = self.alice.type("/who")
        self.assertRegex(who, r"alice \(you, admin, here now\)")
        self.assertIn("bob (not verified, here now)", who)
        self.assertIn("Write /leave yes", self.bob.type("/leave"))
        self.assertIn("bob left for good", self.bob.type("/leave yes") + self.alice.text)
        self.assertNotIn("bob", self.alice.type("/who"))

    def test_who_is_in(self) -> None:
        carol = self.person("carol")
        self.alice.type("/create #tea bob")
        self.assertIn("alice let carol in", self.alice.type("/invite carol"))
        self.assertIn("alice made bob an admin", self.alice.type("/op bob"))
        self.assertIn("alice took from bob the right", self.alice.type("/deop bob"))
        self.assertIn("alice put carol out", self.alice.type("/kick carol"))
        self.bob.type("/go #tea")
        self.assertIn("does not hold: bob may not make it", self.bob.type("/kick alice"))
        self.assertEqual(carol.screen.room, LOBBY)

    def test_what_does_not_exist_teaches(self) -> None:
        self.alice.type("/create #tea bob")
        for command in (
            "/ban bob",
            "/mute bob",
            "/unmute bob",
            "/unban bob",
            "/access private",
            "/owner bob",
        ):
            self.assertIn("in a sealed room", self.alice.type(command))
        self.assertIn("begin with '#'", self.alice.type("/create tea"))
        self.assertIn("Write /invite NAME", self.alice.type("/invite"))
        for command in ("kick", "op", "deop"):
            self.assertIn("takes one name", self.alice.type(f"/{command} carol for what she said to bob"))
        self.assertIn("bob", self.alice.type("/who"))
        self.assertIn("/part", self.alice.type("/go lobby", "/leave"))

    def test_history_and_search(self) -> None:
        self.alice.type("/create #tea bob", "one spoon", "two spoons")
        self.assertIn("#tea has nothing older", self.alice.type("/history"))
        self.assertIn("1 found in #tea", self.alice.type("/search two spoons"))
        self.assertIn("alice: two spoons", self.alice.type("/context 3"))


class Conversations(SeenCase):
    def test_with_a_text_one_stays_and_without_one_goes(self) -> None:
        shown = self.alice.type("/msg bob hi")
        self.assertEqual(self.alice.screen.room, LOBBY)
        self.assertIn("[@bob] alice: hi", shown)
        self.assertRegex(self.bob.text, r"\[@alice\] alice: hi")
        self.assertNotIn("&", self.alice.text + self.bob.text)
        self.alice.type("/msg bob")
        self.assertEqual(self.alice.screen.room, "@alice&bob")
        self.bob.type("/msg alice", "hello")
        self.assertEqual(self.bob.screen.room, "@alice&bob")
        self.assertRegex(self.alice.text, r"\n\d\d:\d\d bob: hello")
        self.assertIn("2: @bob, sealed, bob not verified (here)", self.alice.type("/go"))
        self.alice.type("/go lobby", "/go @bob")
        self.assertEqual(self.alice.screen.room, "@alice&bob")
        self.alice.type("/go lobby", "/join @bob")
        self.assertEqual(self.alice.screen.room, "@alice&bob")
        self.assertIn("conversation of two", self.alice.type("/invite carol"))
        self.assertIn("left @bob", self.alice.type("/part"))
        self.assertNotIn("&", self.alice.text + self.bob.text)

    def test_joined_by_name(self) -> None:
        self.alice.type("/join @bob")
        self.assertEqual(self.alice.screen.room, "@alice&bob")
        self.alice.type("/part", "/join @bob", "hi")
        self.assertIn("[@alice] alice: hi", self.bob.text)

    def test_with_nobody(self) -> None:
        self.assertIn("!!", self.alice.type("/msg alice hi"))
        self.assertIn("Write /msg", self.alice.type("/msg"))
        self.assertIn("nobody", self.alice.type("/msg nobody hi"))


class Verifying(SeenCase):
    def digits(self, viewer: Viewer, name: str) -> str:
        shown = viewer.type(f"/verify {name}")
        return " ".join(
            " ".join(line.split()[1:]) for line in shown.split("\n") if line.startswith("--     ")
        )

    def test_the_digits_are_the_same_and_confirmed(self) -> None:
        self.alice.type("/msg bob")
        self.assertIn("Compare first", self.alice.type("/verified bob"))
        mine, theirs = self.digits(self.alice, "bob"), self.digits(self.bob, "alice")
        self.assertRegex(mine, r"\A(\d{5} ){11}\d{5}\Z")
        self.assertEqual(mine, theirs)
        self.assertEqual(room_words(self.alice.chat, "@alice&bob"), "sealed, bob not verified")
        self.assertIn("bob is verified now: SHA256:", self.alice.type("/verify bob yes"))
        self.assertEqual(room_words(self.alice.chat, "@alice&bob"), "sealed, verified")

    def test_somebody_whom_nobody_met(self) -> None:
        self.assertRegex(self.digits(self.alice, "bob"), r"\A(\d{5} ){11}\d{5}\Z")

    def test_signs(self) -> None:
        self.alice.type("/msg bob hi")
        self.alice.type("/verify bob emoji")
        self.assertIn("alice would like to compare seven signs", self.bob.text)
        self.bob.type("/verify alice emoji")

        def signs(viewer: Viewer) -> list[str]:
            at = next(n for n, x in enumerate(viewer.screen.lines) if "seven signs, in this order" in x)
            return viewer.screen.lines[at + 1 : at + 3]

        self.assertEqual(signs(self.alice), signs(self.bob))
        self.alice.type("/verify bob same")
        self.assertIn("alice is verified now", self.bob.type("/verify alice same"))
        self.assertIn("bob is verified now", self.alice.text)
        self.assertIn("nothing to compare", self.alice.type("/verify bob same"))

    def test_signs_that_differ(self) -> None:
        self.alice.type("/msg bob hi", "/verify bob emoji")
        self.bob.type("/verify alice emoji")
        self.assertIn("came to nothing", self.bob.type("/verify alice different"))
        self.assertIn("came to nothing", self.alice.text)


class Trouble(SeenCase):
    """What must not be overlooked, and what must not be mistaken for something else."""

    def test_another_key(self) -> None:
        self.alice.type("/msg bob", "hi")
        self.bob.end()
        # An authority, whom alice did not choose, says that bob has another key.
        other = self.person("bob", "elsewhere", key=identity("mallory"), vouched="bob")
        self.town.later(700)
        shown = self.alice.type("are you there?")
        self.assertIn("!! BOB'S KEY CHANGED", self.alice.text)
        self.assertEqual(room_words(self.alice.chat, "@alice&bob"), "sealed, BOB'S KEY CHANGED")
        before, now = (fingerprint(viewer.identity.spki) for viewer in (self.bob, other))
        self.assertIn(f"!!     before: {before}\n!!     now:    {now}", self.alice.text)
        self.assertIn("!! not sent to @bob yet", self.alice.text)
        self.assertNotIn("are you there?", shown + other.text)
        shown = self.alice.type("/accept bob")
        self.assertIn(f"-- the key of bob was {before}\n-- the key of bob is  {now}", shown)
        self.assertIn("alice: are you there?", other.text)
        other.type("/msg alice yes, I am")
        self.assertIn("bob: yes, I am", self.alice.text)
        self.assertNotIn("alice: hi", other.text)
        self.assertIn("nothing to accept", self.alice.type("/accept bob"))

    def test_no_key_yet_and_late(self) -> None:
        self.alice.type("/create #tea bob")
        self.bob.bend = lambda message: () if isinstance(message, m.Mail) else (message,)
        self.alice.type("hello")
        self.assertIn("[#tea] -- [no key yet from alice]", self.bob.text)
        self.assertEqual(room_words(self.bob.chat, ROOM), "sealed, alice not verified, 1 without key")
        self.alice.type("[no key yet from bob]")
        self.assertRegex(self.alice.text, r"\d alice: \[no key yet from bob\]")
        self.bob.bend = lambda message: (message,)
        self.bob.cut()
        self.town.later(30)
        self.assertRegex(self.bob.text, r"#2 \[#tea\] alice: hello")
        entry = self.bob.screen.memory.entry(ROOM, 2)
        assert entry is not None
        self.assertEqual(entry.kind, "text")

    def test_a_failed_one(self) -> None:
        self.alice.type("/create #tea bob")

        def bent(message: Any) -> Any:
            if isinstance(message, Entry) and message.kind == "sealed":
                body = message.body
                message = replace(message, body=body[:-60] + bytes([body[-60] ^ 1]) + body[-59:])
            return (message,)

        self.bob.bend = bent
        self.alice.type("hello")
        self.assertIn("[#tea] -- [not shown, said to be of alice: ", self.bob.text)
        self.assertNotIn("alice: hello", self.bob.text)


class Words(SeenCase):
    """All that can happen to keys, devices and identities, in every console, from hostile mouths."""

    def news(self) -> list[fx.Event]:
        bad = "\x1b[2Jbob\n!! alice: \u202eevil\x07" + "x" * 5000
        key, id = "SHA256:" + bad, b"t" * 16
        return [
            fx.IdentityMet(bad, key, "vouched"),
            fx.IdentityMet(bad, key, bad),
            fx.IdentityChanged(bad, key, key, bad),
            fx.DeviceChanged(bad, bad, True),
            fx.DeviceChanged(bad, bad, False),
            fx.KeysRejected(bad, bad, bad),
            fx.OwnDeviceWaits(bad, key),
            fx.DeviceReady(bad, True),
            fx.DeviceReady(bad, False),
            fx.MailRejected(bad, bad, bad),
            fx.SendBlocked(bad, (bad,) * 50),
            fx.SendBlocked(bad, ()),
            fx.Unreachable(bad, (bad,) * 50),
            fx.RolledBack(bad, 3),
            fx.Forked(bad, 3, bad),
            fx.RosterRejected(bad, 3, 0, bad, bad),
            fx.SasAsked(id, bad, bad),
            fx.SasShown(id, bad, (1,) * 7, (bad,) * 7, (bad,) * 7),
            fx.SasEnded(id, bad, bad),
            fx.SasEnded(id, bad, "mac"),
            fx.Verified(bad, key),
        ]

    def test_every_piece_of_news(self) -> None:
        for news in self.news():
            before = len(self.alice.screen.lines)
            self.alice.screen.happened([e.SealedNews(news)])
            shown = self.alice.screen.lines[before:]
            self.assertTrue(shown or isinstance(news, fx.DeviceChanged), news)
            for line in shown:
                self.assertRegex(line, r"\A(--|!!) ")
                self.assertFalse([c for c in line if is_unsafe(c) or c == "\n"], news)
                self.assertLess(len(line), 3000)
            told = jsonlines.of_event(e.SealedNews(news))
            if not isinstance(news, fx.RosterRejected):
                assert told is not None
                json.loads(told)

    def test_what_is_loud(self) -> None:
        for news, words in (
            (fx.Forked(ROOM, 3, "bob"), "THE SERVER SHOWS #tea DIFFERENTLY to bob"),
            (fx.RolledBack("@alice&bob", 3), "OLD COPY: @bob"),
            (fx.SasEnded(b"", "bob", "commitment"), "somebody may be between you"),
            (fx.OwnDeviceWaits("ab12", "SHA256:x"), "/accept-device ab12"),
            (fx.KeysRejected("bob", "", "no"), "do not hold"),
        ):
            lines = news_lines(news, "alice")
            self.assertTrue(lines[0][0])
            self.assertIn(words, " ".join(text for _, text in lines))

    def test_what_stands_in_looks_like_nothing_that_is_said(self) -> None:
        for kind in STANDING_IN:
            for body in (
                b"",
                b"\xff\x1b[2J",
                b'{"by": "\\u001b[2J", "added": ["x", "\\u202e"]}',
                b"[" * 10_000,
            ):
                entry = Entry(ROOM, 2, 0, "bob\x1b[2J\n", "", kind, bytes(16), body)
                (line,) = self.alice.screen.entries.lines(entry)
                shown = "".join(text for _, text in line)
                self.assertRegex(shown, r"\A\d\d:\d\d \[#tea\] -- ")
                self.assertFalse([c for c in shown if is_unsafe(c)])
        for text in ("-- [no key yet from bob]", "!! BOB'S KEY CHANGED", "12:34 -- alice put bob out"):
            for kind in ("text", "me"):
                entry = Entry(ROOM, 2, 0, "bob", "", kind, bytes(16), f"x\n{text}".encode())
                for line in self.alice.screen.entries.lines(entry):
                    self.assertNotRegex("".join(t for _, t in line), r"\A(\d\d:\d\d (\[#tea\] )?)?(--|!!)")

    def test_rosters(self) -> None:
        for facts, words in (
            ({"by": "bob", "epoch": 1, "added": ["bob", "carol"]}, "bob made this sealed room with carol"),
            (
                {"by": "bob", "epoch": 2, "added": ["dan"], "removed": ["eve"]},
                "bob let dan in and put eve out",
            ),
            ({"by": "bob", "epoch": 2, "removed": ["bob"]}, "bob left for good"),
            ({"by": "bob", "epoch": 2, "promoted": ["a", "b"]}, "bob made a, b admins"),
            ({"by": "bob", "epoch": 2}, "bob renewed who is in the room"),
            ({"by": "bob", "epoch": 2, "added": [f"n{n}" for n in range(500)]}, "n19 and 480 more in"),
        ):
            entry = Entry(ROOM, 2, 0, "bob", "", "roster", bytes(16), json.dumps(facts).encode())
            self.assertTrue(happening_line(entry).endswith(words), happening_line(entry))


class Backups(SeenCase):
    def test_written_once_under_what_was_typed_twice(self) -> None:
        self.alice.type("/create #tea bob", "one")
        path = self.here / "keys"
        self.assertIn("Write /backup FILE", self.alice.type("/backup"))
        self.alice.type(f"/backup {path}")
        self.assertIn("passphrase", self.alice.screen.question)
        self.assertIn("at least 10 characters", self.alice.type("short"))
        self.assertIn("differ", self.alice.type(f"/backup {path}", "long enough 1", "long enough 2"))
        self.assertIn("no backup was written", self.alice.type(f"/backup {path}", ""))
        self.assertFalse(path.exists())
        shown = self.alice.type(f"/backup {path}", "long enough 1", "long enough 1")
        self.assertIn(f"sealed rooms are in {path}", shown)
        self.assertNotIn("long enough", self.alice.text)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertIn("something already", self.alice.type(f"/backup {path}"))
        self.assertNotIn("long enough", self.bob.text)
        self.assertRaises(WrongPassphrase, read_backup, str(path), lambda: "long enough 2")
        contents = read_backup(str(path), lambda: "long enough 1")
        told: list[str] = []
        other = self.person("alice", "anew", key=self.alice.identity)
        restoring = Restoring(other.chat, contents, told.append)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(restoring.run())), 0)
        self.assertIn("for reading sealed rooms taken", told[0])

    def test_what_is_none(self) -> None:
        path = self.here / "none"
        self.assertRaises(CannotRestore, read_backup, str(path), self.fail)
        path.write_bytes(b"something else")
        self.assertRaises(BackupUnreadable, read_backup, str(path), self.fail)
        self.assertIn(
            "!!", self.alice.type(f"/backup {self.here / 'no' / 'keys'}", "long enough", "long enough")
        )

    def test_nobody_to_ask(self) -> None:
        console = Shown(self.alice.chat, LOBBY)
        self.assertRaises(NobodyToAsk, console.ask_secret, "?")
        reading, writing = os.pipe()
        os.write(writing, b"long enough\nmore")
        os.close(writing)
        console.secret_fd = reading
        self.assertEqual(self.successResultOf(console.ask_secret("?")), "long enough")
        self.assertEqual(self.successResultOf(console.ask_secret("again?")), "long enough")
        self.assertRaises(NoPassphrase, read_passphrase, reading)
        os.close(reading)
        self.assertRaises(NoPassphrase, read_passphrase, reading)


class Scripts(SeenCase):
    """What does one thing, or reads a pipe, where a person would have to decide."""

    def setUp(self) -> None:
        super().setUp()
        self.alice.type("/create #tea bob", "hi")
        self.alice.end()
        self.bob.end()
        self.person("bob", "elsewhere", key=identity("mallory"), vouched="bob")
        self.town.later(700)
        self.alice.by_itself = False
        Person.start(self.alice)
        self.status: list[str] = []

    def run_(self, console: Any) -> Deferred[int]:
        self.alice.chat._console = console
        work: Deferred[int] = Deferred.fromCoroutine(console.run())
        self.town.later(30)
        return work

    def pipe(self, *, json: bool) -> tuple[Pipe, FakeReader]:
        reader = FakeReader()
        manner = Manner(ROOM, json=json)
        return Pipe(
            self.town.clock,
            self.alice.chat,
            manner,
            reader,  # type: ignore[arg-type]  # a stub
            FakeWriter,  # type: ignore[arg-type]  # a stub
            self.status.append,
        ), reader

    def test_one_message(self) -> None:
        console = Sending(self.town.clock, self.alice.chat, ROOM, "hello", self.status.append)
        error = self.failureResultOf(self.run_(console), Withheld).value
        self.assertIn("not sent to #tea yet", str(error))
        self.assertEqual(error.exit_code, 77)
        self.assertIn("BOB'S KEY CHANGED", "\n".join(self.status))

    def test_lines(self) -> None:
        pipe, reader = self.pipe(json=False)
        reader.feed(b"hello\n", b"")
        self.failureResultOf(self.run_(pipe), Withheld)
        self.assertIn("BOB'S KEY CHANGED", "\n".join(self.status))
        self.assertNotIn("hello", pipe._writer.data.decode())  # type: ignore[attr-defined]  # a stub's

    def test_objects_and_a_command_that_frees_it(self) -> None:
        pipe, reader = self.pipe(json=True)
        reader.feed(b'{"text": "hello", "ref": 1}\n')
        work = self.run_(pipe)
        told = [json.loads(line) for line in pipe._writer.lines]  # type: ignore[attr-defined]  # a stub's
        (blocked,) = [line for line in told if line["event"] == "send-blocked"]
        self.assertEqual((blocked["room"], blocked["names"]), (ROOM, ["bob"]))
        reader.feed(b'{"command": "/accept bob"}\n', b"")
        self.town.later(60)
        self.assertEqual(self.successResultOf(work), 0)
        told = [json.loads(line) for line in pipe._writer.lines]  # type: ignore[attr-defined]  # a stub's
        self.assertEqual([line["ref"] for line in told if line["event"] == "sent"], [1])


class Devices(SeenCase):
    def test_let_in_and_taken_back(self) -> None:
        self.alice.type("/create #tea bob", "/link")
        found = re.search(r"--link ([0-9A-Z-]+)", self.alice.text)
        assert found is not None
        code = found[1].replace("-", "")
        other = self.person("alice", "second", key=identity("alice's second"), link_code=code)
        other.link_code = ""
        self.town.later(20)
        self.assertIn("!! this device (", other.text)
        self.assertIn(f"!!     the other:    {fingerprint(self.alice.identity.spki)}", other.text)
        self.assertNotIn("KEY CHANGED", other.text)
        self.assertIn("accepted", other.type("/accept alice"))
        self.assertIn("this one, WAITS until another one lets it in", other.type("/devices"))
        self.assertIn("!! a device wants to take part as you: ", self.alice.type("/devices"))
        shown = self.alice.type("/devices")
        found = re.search(r"WAITS: only if it is yours, /accept-device (\w+)\n-- +key (\S+)", shown)
        assert found is not None
        self.assertEqual(found[2], fingerprint(other.identity.spki))
        self.assertIn("takes part from now on", self.alice.type(f"/accept-device {found[1][:8]}"))
        self.town.later(70)
        self.assertIn("this device takes part in sealed rooms", other.text)
        self.alice.type("for both")
        self.bob.type("/go #tea", "for all")
        self.assertIn("bob: for all", other.text)
        self.assertIn("out for ever", self.alice.type(f"/revoke {found[1][:8]}"))
        self.town.later(70)
        self.alice.type("it is gone")
        self.bob.type("for one")
        self.assertIn("bob: for one", self.alice.text)
        self.assertNotIn("bob: for one", other.text)

    def test_a_second_one(self) -> None:
        self.assertIn("this one", self.alice.type("/devices"))
        self.assertIn("!!", self.alice.type("/accept-device abcdef"))
        self.assertIn("Write /accept-device ID", self.alice.type("/accept-device"))
        self.assertIn("!!", self.alice.type("/revoke abcdef"))
