"""Who somebody is, as people see and settle it: digits, signs, devices, and the words of all that happens."""

from __future__ import annotations

import json
import re

from encchat.client import events as e
from encchat.client.pipe import jsonlines
from encchat.client.view.sealnews import news_lines, room_words
from encchat.core.identity import fingerprint
from encchat.core.plain import happening_line
from encchat.core.sealed import events as fx
from encchat.core.sealedwords import STANDING_IN
from encchat.messages import Entry
from tests.client.sealed.viewer import ROOM, SeenCase, Viewer
from tests.core.sealed.world import identity
from tests.hostile import is_unsafe


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
        self.alice.type("/create #tea bob", "/go @bob")
        told = self.alice.type("/verify bob yes")
        self.assertIn("bob is verified now: SHA256:", told)
        self.assertNotIn("not changed", told)  # it is whom both rooms mean: there is nothing to renew
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


class Devices(SeenCase):
    def test_let_in_and_taken_back(self) -> None:
        self.alice.type("/create #tea bob", "/link")
        found = re.search(r"--link ([0-9A-Z-]+)", self.alice.text)
        assert found is not None
        code = found[1].replace("-", "")
        other = self.person("alice", "second", key=identity("alice's second"), link_code=code)
        other.link_code = ""
        self.town.later(20)
        self.assertIn("!! a device wants to take part as you: ", self.alice.text, "told without asking")
        self.assertIn("!! this device (", other.text)
        self.assertIn(f"!!     the other:    {fingerprint(self.alice.identity.spki)}", other.text)
        self.assertNotIn("KEY CHANGED", other.text)
        self.assertIn("accepted", other.type("/accept alice"))
        self.assertIn("!! kept here, and sent once another machine", other.type("/msg bob too early"))
        self.assertNotIn("!! kept here", other.type("/msg bob again"), "told once")
        self.assertIn("this one, WAITS until another one lets it in", other.type("/devices"))
        shown = self.alice.type("/devices")
        found = re.search(r"WAITS: only if it is yours, /accept-device (\w+)\n-- +key (\S+)", shown)
        assert found is not None
        self.assertEqual(found[2], fingerprint(other.identity.spki))
        self.assertIn("takes part from now on", self.alice.type(f"/accept-device {found[1][:8]}"))
        self.town.later(20)
        self.assertIn("this device takes part in sealed rooms", other.text)
        self.assertIn("too early", self.bob.text)
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
        (quiet,) = news_lines(fx.SasEnded(b"", "bob", fx.ELSEWHERE), "alice")
        self.assertEqual(
            quiet, (False, "comparing signs with bob goes on at the machine where it was answered")
        )

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
