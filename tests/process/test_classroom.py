"""The classroom script and a real service: in the lobby, both ways, losing nothing."""

from __future__ import annotations

import signal

from encchat import messages as m
from tests.core.world import msgid, text
from tests.process.harness import SCRIPT, Child, ProcessCase, Service
from tests.process.wire_peer import FramePeer, welcome


class Lobby(ProcessCase):
    """A peer that does what the script does, as a third party among ours."""

    service: Service
    alice: FramePeer

    async def meet(self) -> Child:
        """A service, alice in its lobby, and the script, greeted."""
        self.service = await self.serve("--rate", "0")
        self.alice = await welcome(self.service.port, self.home / "alice", "alice")
        self.addCleanup(self.part)
        self.alice.send(m.Join(1, "+lobby"))
        await self.alice.news_of(m.Joined)
        script = self.spawn([*SCRIPT, "2", str(self.service.port)], Child("script"))
        await script.line("Here: alice")
        return script

    async def part(self) -> None:
        self.alice.transport.abortConnection()
        await self.alice.closed()

    async def test_both_ways(self) -> None:
        script = await self.meet()
        guest = next(n for n in self.alice.news if type(n) is m.Presence and n.classic)
        script.say("hello from the script")
        entry = await self.alice.news_of(m.Entry)
        self.assertEqual(
            (entry.sender, entry.device, entry.body), (guest.name, "classic", b"hello from the script")
        )
        self.alice.send(text(1, "Grüß dich 😀"))
        await script.line("alice: Grüß dich 😀")
        script.close_stdin()
        await self.service.line("admitted as alice")

    async def test_two_hundred_lines_at_once(self) -> None:
        script = await self.meet()
        self.alice.send(*[text(n, f"line {n} of the burst") for n in range(200)])
        await script.line("line 199 of the burst")
        shown = [
            line for line in "\n".join(script.out).replace("Partner: ", "").split("\n") if "burst" in line
        ]
        self.assertEqual(shown, [f"alice: line {n} of the burst" for n in range(200)])
        self.assertEqual(script.err, [])

    async def test_a_line_of_a_thousand_characters(self) -> None:
        script = await self.meet()
        words = " ".join(str(n) for n in range(1000))[:993] + "äöü!end"
        self.alice.send(m.Send(1, "+lobby", msgid(1), "text", words.encode()))
        await script.line("!end")
        pieces = [line.removeprefix("Partner: ") for line in script.out if "* " not in line]
        self.assertEqual("".join(pieces), f"alice: {words}")
        self.assertGreater(len(pieces), 8)

    async def test_its_end_is_seen(self) -> None:
        script = await self.meet()
        seen = len(self.alice.news)
        script.signal(signal.SIGKILL)
        left = await self.alice.news_of(m.Presence, seen)
        self.assertFalse(left.here)
