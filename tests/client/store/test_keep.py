"""/keep: how much of what was seen stays on this machine."""

from __future__ import annotations

from tests.client.screen.test_console import LOBBY, ConsoleTestCase


class Keep(ConsoleTestCase):
    def test_asked_and_set(self) -> None:
        self.start(history=0)
        self.assertIn("the last 50,000 messages of each room", self.type("/keep"))
        self.assertIn("the last 1,000 messages", self.type("/keep 1,000"))
        self.assertIn("the last 1 message of each", self.type("/keep 1"))
        self.assertIn("no messages are kept", self.type("/keep 0"))
        self.world.server.say(LOBBY, "secret")
        self.world.settle()
        self.assertEqual(self.world.chat.local_history(LOBBY).entries, ())
        self.assertEqual(self.world.chat.setting("history"), "0")

    def test_what_makes_no_sense(self) -> None:
        self.start(history=0)
        for wrong in ("-1", "many", "1000001", "9" * 30, "٣"):
            self.assertIn("Write /keep", self.type(f"/keep {wrong}"))
