"""Moderation and a second device, with a real service and real clients that are told what to do in JSON."""

from __future__ import annotations

import json
from typing import Any

from tests.process.harness import Child, ProcessCase, Service

OPS = "+ops"


def events(child: Child) -> list[dict[str, Any]]:
    """What a client has told so far."""
    return [json.loads(line) for line in child.out]


class ModerationCase(ProcessCase):
    async def enter(self, service: Service, name: str, *options: str, state: str = "") -> Child:
        """A client in the room, told what to do by ``do``."""
        child = self.client(
            "--json",
            "--accept-new",
            "--follow",
            "--room",
            OPS,
            *options,
            service.address,
            name=name,
            state=state,
        )
        await self.told(child, "caught-up", room=OPS)
        return child

    async def told(self, child: Child, event: str, **fields: object) -> dict[str, Any]:
        """Wait until a client tells of an event with these fields."""
        wanted = {"event": event, **fields}.items()
        found: dict[str, Any] = await child.until(
            lambda: next((told for told in events(child) if wanted <= _flat(told)), None), f"{event} {fields}"
        )
        return found

    def do(self, child: Child, *commands: str) -> None:
        """Have a client carry out commands."""
        child.say(*(json.dumps({"command": command}) for command in commands))

    async def finish(self, child: Child, code: int = 0) -> None:
        """Wait for the end of a client, which must be in order."""
        self.assertEqual(await child.end(), code, child.report())
        self.assertNotIn("Traceback", child.report())


def _flat(told: dict[str, Any]) -> Any:
    return {name: value for name, value in told.items() if not isinstance(value, list | dict)}.items()


class Rooms(ModerationCase):
    async def test_the_banned_stay_out_until_the_ban_is_lifted(self) -> None:
        service = await self.serve()
        alice = await self.enter(service, "alice")
        bob = await self.enter(service, "bob")
        mallory = await self.enter(service, "mallory")
        self.do(mallory, "/ban alice")
        refused = await self.told(mallory, "error", code="not-allowed")
        self.assertIn("Only an owner or a moderator may do that", refused["text"])
        self.do(alice, "/op bob", "/access")
        await self.told(bob, "message", kind="role", shown="alice made bob a moderator")
        about = await self.told(alice, "about", room=OPS)
        self.assertEqual(
            about["roles"], [{"name": "alice", "role": "owner"}, {"name": "bob", "role": "moderator"}]
        )
        self.do(bob, "/ban mallory 2h spam")
        await self.told(bob, "done", act="ban", room=OPS)
        await self.told(alice, "message", kind="ban", shown="bob banned mallory for 2 hours: spam")
        put_out = await self.told(mallory, "put-out", code="banned")
        self.assertIn("spam", put_out["text"])
        await self.finish(mallory, 77)
        again = self.client("--room", OPS, service.address, name="mallory")
        again.close_stdin()
        await self.finish(again, 77)
        self.assertIn("You are banned from +ops", again.report())
        self.do(alice, "/unban mallory")
        await self.told(bob, "message", kind="unban")
        mallory = await self.enter(service, "mallory")
        await self.told(mallory, "message", shown="bob banned mallory for 2 hours: spam")

    async def test_muted_and_private(self) -> None:
        service = await self.serve()
        alice = await self.enter(service, "alice")
        bob = await self.enter(service, "bob")
        self.do(alice, "/mute bob 10m", "/access private")
        await self.told(bob, "message", kind="mute", shown="alice muted bob for 10 minutes")
        bob.say('{"text": "but"}')
        await self.told(bob, "not-sent", code="muted")
        carol = self.client("--accept-new", "--room", OPS, service.address, name="carol")
        carol.close_stdin()
        await self.finish(carol, 77)
        self.assertIn("+ops is private", carol.report())
        waiting = self.client("--json", "--follow", service.address, name="carol")
        await self.told(waiting, "caught-up", room="+lobby")
        self.do(alice, "/invite carol")
        await self.told(waiting, "invited", room=OPS, name="alice")
        self.do(waiting, "/join +ops")
        await self.told(waiting, "joined", room=OPS)

    async def test_commands_at_the_end_of_the_input_are_answered(self) -> None:
        service = await self.serve()
        child = self.client("--json", "--accept-new", "--room", OPS, service.address, name="alice")
        self.do(child, "/kick nobody-there", "/access topic moderators", "/link")
        child.close_stdin()
        await self.finish(child)
        await self.told(child, "error", code="no-such-name")
        await self.told(child, "done", act="access")
        await self.told(child, "link-code", name="alice", seconds=600)


class Devices(ModerationCase):
    async def test_a_code_adds_a_key_once(self) -> None:
        service = await self.serve()
        first = await self.enter(service, "alice")
        without = self.client("--accept-new", "--room", OPS, service.address, name="alice", state="phone")
        without.close_stdin()
        await self.finish(without, 77)
        self.do(first, "/link")
        code = (await self.told(first, "link-code"))["code"]
        second = await self.enter(service, "alice", "--link", code.lower().replace("-", " "), state="phone")
        second.say('{"text": "from the second device"}')
        await self.told(first, "message", text="from the second device")
        used = self.client("--accept-new", "--link", code, service.address, name="alice", state="other")
        used.close_stdin()
        await self.finish(used, 77)
        self.assertIn("The code is wrong, was used before, or is too old", used.report())
        mistyped = self.client("--link", "123", service.address, name="alice", state="other")
        await self.finish(mistyped, 2)
        self.assertIn("is not a link code", mistyped.report())
        self.do(first, "/devices")
        (key,) = (await self.told(first, "profile", name="alice"))["keys"]
        self.do(first, f"/unlink {key}")
        await self.told(first, "unlinked")
        await self.told(second, "link", state="closing")
        await self.finish(second, 77)
