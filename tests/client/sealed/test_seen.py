"""What people see and type in sealed rooms: whole clients with consoles, the real hub between them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from encchat import messages as m
from encchat.client.view.sealnews import room_words
from encchat.core.identity import fingerprint
from encchat.core.sealed import backlog
from encchat.messages import Entry
from tests.client.sealed.viewer import LOBBY, ROOM, SeenCase
from tests.core.sealed.world import identity


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
        self.assertIn("Only an admin of #tea may do that; /who shows them.", self.bob.type("/kick alice"))
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
        self.assertIn("left +lobby", self.alice.type("/go lobby", "/leave"))

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

    def test_no_key_and_not_kept(self) -> None:
        """Too much waits for keys already: it says so, and promises nothing."""
        self.patch(backlog, "MAX_OF_DEVICE", 1)
        self.alice.type("/create #tea bob")
        self.bob.bend = lambda message: () if isinstance(message, m.Mail) else (message,)
        self.alice.type("hello", "hello again")
        self.assertIn("[#tea] -- [no key yet from alice]", self.bob.text)
        self.assertIn(
            "[not shown, said to be of alice: Its key is not here, and too much waits", self.bob.text
        )

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
