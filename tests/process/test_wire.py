"""``--wire`` in every mode of the client, and of the service, with real processes."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tests.process.harness import CLIENT, TWISTD
from tests.process.test_client_pipe import ClientCase
from tests.process.test_client_terminal import TerminalCase
from tests.wiretap.test_files import packets


def messages(path: Path, way: str) -> list[str]:
    """The tags of the messages that a file of ``--wire`` tells of, in one direction."""
    events = map(json.loads, path.read_text("utf-8").splitlines())
    return [event["message"] for event in events if event["event"] == "opened" and event["way"] == way]


class OnATerminal(TerminalCase):
    async def test_above_the_prompt(self) -> None:
        service = await self.serve()
        screen = await self.enter(service, "--wire", "-", columns=110, rows=40)
        screen.enter("hello class")
        await screen.shows("kind text, body hello class")
        await screen.shows("alice: hello class")
        self.assertRegex(screen.scrollback, r"→ \d+ send  id \d+, room \+lobby")
        self.assertRegex(screen.scrollback, r"⇒ \d+ on the network\n +hrsa1 record, 290 bytes")
        self.assertRegex(screen.scrollback, r"-- secure: encchat/1 with rsa")
        screen.press("half a line")
        await screen.shows("half a line")
        await screen.until(
            lambda: "half a line" in screen.lines[-2] + screen.lines[-1], "prompt where it was"
        )
        screen.press("\x03")
        screen.enter("/quit")
        await self.finish(screen)

    async def test_linear(self) -> None:
        service = await self.serve()
        screen = await self.enter(service, "--wire", "-", "--linear", columns=110, rows=40)
        screen.enter("hello class")
        await screen.shows("kind text, body hello class")
        screen.enter("/quit")
        await self.finish(screen)

    async def test_a_file_leaves_the_screen_alone(self) -> None:
        service = await self.serve()
        screen = await self.enter(service, "--wire", "talk.jsonl")
        screen.enter("hello class")
        await screen.shows("alice: hello class")
        self.assertNotIn("on the network", screen.scrollback)
        screen.enter("/quit")
        await self.finish(screen)
        self.assertIn("send", messages(self.home / "talk.jsonl", "out"))


class InAPipe(ClientCase):
    async def test_on_stderr_and_not_in_the_way(self) -> None:
        service = await self.serve()
        child = self.client("--accept-new", "--json", "--wire", "-", service.address, name="alice")
        child.say('{"text": "hello class"}')
        child.close_stdin()
        await self.finish(child)
        for line in child.out:
            json.loads(line)
        self.assertTrue(any("body hello class" in line for line in child.err), child.report())
        self.assertFalse(any("\x1b" in line for line in child.err))

    async def test_files(self) -> None:
        service = await self.serve()
        files = ("--wire", "a.jsonl", "--wire", "a.pcap")
        child = await self.run_client("--accept-new", *files, "--send", "+lobby", "hello", service.address)
        self.assertTrue(any("everything that is said here, in plain text" in line for line in child.err))
        for name in ("a.jsonl", "a.pcap"):
            self.assertEqual(stat.S_IMODE((self.home / name).stat().st_mode), 0o600)
        self.assertEqual(messages(self.home / "a.jsonl", "out")[:3], ["hello", "join", "send"])
        self.assertGreater(len(packets((self.home / "a.pcap").read_bytes())), 10)
        again = await self.run_client(*files, service.address, code=78)
        self.assertIn("a.jsonl is there already", again.err[-1])

    async def test_a_code_that_opens_a_door_is_not_told(self) -> None:
        service = await self.serve()
        child = self.client("--accept-new", "--json", "--wire", "a.jsonl", service.address, name="alice")
        child.say('{"command": "/link"}')
        line = await child.line("link-code")
        child.close_stdin()
        await self.finish(child)
        code = json.loads(line)["code"].replace("-", "")
        told = (self.home / "a.jsonl").read_text()
        self.assertIn('"linked"', told)
        self.assertNotIn(code, told)
        self.assertNotIn(code.encode().hex(), told)


class OfTheService(ClientCase):
    async def test_every_connection(self) -> None:
        service = await self.serve("--wire", str(self.home / "s.jsonl"), "--wire", str(self.home / "s.pcap"))
        self.assertTrue(any("everything that is said here" in line for line in service.out), service.report())
        for name in ("alice", "bob"):
            await self.run_client(
                "--accept-new", "--send", "+lobby", f"I am {name}", service.address, name=name
            )
        await service.stop()
        events = [json.loads(line) for line in (self.home / "s.jsonl").read_text("utf-8").splitlines()]
        self.assertEqual([e["connection"] for e in events if e["event"] == "began"], [1, 2])
        self.assertEqual({e["side"] for e in events if e["event"] == "began"}, {"server"})
        said = [e["fields"]["body"] for e in events if e.get("message") == "send"]
        self.assertEqual(said, ["I am alice", "I am bob"])
        self.assertNotIn(b"I am", (self.home / "s.pcap").read_bytes())
        self.assertEqual(stat.S_IMODE((self.home / "s.jsonl").stat().st_mode), 0o600)

    async def test_a_mistake(self) -> None:
        child = self.spawn([*TWISTD, "encchat", "--wire", "x"])
        self.assertEqual(await child.end(), 2)
        self.assertIn("--wire -", child.err[-1])


class Off(ClientCase):
    async def test_nothing_of_it_is_there(self) -> None:
        """Without --wire no tap is imported, so none can be in the way."""
        service = await self.serve()
        state = str(self.home / "client")
        sending = ("--accept-new", "--send", "+lobby", "x", service.address)
        child = self.spawn(["-X", "importtime", *CLIENT, "--name", "alice", "--state", state, *sending])
        self.assertEqual(await child.end(), 0)
        imported = {line.rpartition("|")[2].strip() for line in child.err}
        self.assertIn("encchat.ciphers.rsa.layer", imported)
        self.assertEqual(
            {name for name in imported if "wiretap" in name or name == "encchat.cli.wire"}, set()
        )
