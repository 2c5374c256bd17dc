"""The operator's commands against a real service: while it runs, after it was killed, and when it is gone."""

from __future__ import annotations

import json
import signal
import tempfile
from pathlib import Path
from typing import Any

from tests.process.harness import ADMIN, Child, Service
from tests.process.keys import place_identity
from tests.process.test_moderation import ModerationCase


class Operators(ModerationCase):
    """One service in a directory whose name is short, as a socket's must be."""

    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory(prefix="encchat")
        self.addCleanup(place.cleanup)
        self.data = Path(place.name) / "data"
        place_identity(self.data, "service")

    async def admin(self, *arguments: str, code: int = 0) -> Child:
        """A run of encchat-admin, to its end."""
        child = self.spawn(
            [*ADMIN, *arguments, "--data", str(self.data)], Child(f"encchat-admin {arguments}")
        )
        child.close_stdin()
        await self.finish(child, code)
        return child

    async def users(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads("".join((await self.admin("users", "--json")).out))
        return found

    async def begin(self, *options: str) -> Service:
        return await self.serve(*options, data=str(self.data))

    async def test_who_is_in_is_banned_and_comes_again(self) -> None:
        service = await self.begin()
        alice = await self.enter(service, "alice")
        bob = await self.enter(service, "bob")
        self.assertEqual(
            [(u["name"], u["rooms"]) for u in await self.users()], [("alice", ["+ops"]), ("bob", ["+ops"])]
        )
        await self.admin("announce", "down at noon")
        await self.told(alice, "announced", text="down at noon")
        self.assertIn("+ops 2 here, 0 banned, owned by alice", (await self.admin("rooms")).out[0])
        said = await self.admin("ban", "bob", "--for", "1h", "--reason", "spam")
        self.assertEqual(said.out, ["Banned; 1 sessions closed."])
        self.assertEqual(await bob.end(), 77, bob.report())
        await self.told(alice, "presence", name="bob", here=False)

        service.signal(signal.SIGKILL)  # it leaves its socket behind
        await service.end()
        gone = await self.admin("users", code=69)
        self.assertIn("No service runs on", gone.err[0])
        service = await self.begin("--port", f"tcp:{service.port}:interface=127.0.0.1")
        again = self.client("--room", "+ops", service.address, name="bob")
        again.close_stdin()
        await self.finish(again, 77)
        self.assertIn("You are banned from this server", again.report())
        self.assertEqual((await self.admin("unban", "bob")).out, ["Not banned any more."])
        await self.admin("unban", "bob", code=1)
        await self.enter(service, "bob")
        await service.stop()

        lines = [json.loads(line) for line in (self.data / "audit.log").read_text().splitlines()]
        told = [(line["what"], line["who"]) for line in lines]
        for deed in (
            ("admit", "alice"),
            ("ban", "the operator"),
            ("refuse", "bob"),
            ("unban", "the operator"),
        ):
            self.assertIn(deed, told)
        self.assertNotIn("spam", (self.data / "audit.log").read_text())
        self.assertFalse((self.data / "control").exists())

    async def test_an_admin_by_key(self) -> None:
        first = await self.begin()
        alice = await self.enter(first, "alice")
        (user,) = await self.users()
        await first.stop()
        alice.signal(signal.SIGTERM)
        await alice.end()
        service = await self.begin("--admin", user["key"])
        bob = await self.enter(service, "bob")
        self.do(bob, "/join +bobs")
        await self.told(bob, "caught-up", room="+bobs")
        alice = await self.enter(service, "alice")
        self.assertEqual([u["admin"] for u in await self.users()], [True, False])
        self.do(alice, "/join +bobs")
        await self.told(alice, "caught-up", room="+bobs")
        refused = await self.admin("ban", "alice", code=1)
        self.assertIn("is an admin of this server", refused.err[0])
        self.do(bob, "/mute alice")
        await self.told(bob, "error", code="not-allowed")
