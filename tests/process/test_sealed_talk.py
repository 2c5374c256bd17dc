"""Sealed rooms with the real programs: people on terminals, scripts, and what the server has of it."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

from tests.ciphers.tls.authority import Authority, write_set
from tests.process.harness import Service
from tests.process.screen import Screen
from tests.process.test_client_terminal import TerminalCase

PASSPHRASE = "correct horse battery"
SECRET = "the yellow submarine leaves at nine"


class SealedCase(TerminalCase):
    async def come(self, service: Service, name: str, *options: str) -> Screen:
        return await self.enter(service, *options, name=name, columns=110, rows=45)

    def digits(self, screen: Screen) -> list[str]:
        """What the last /verify shows."""
        rows = re.findall(r"^--     ((?:\d{5}  ){3}\d{5})$", screen.scrollback, re.MULTILINE)
        return rows[-3:]

    async def tea(self, service: Service) -> tuple[Screen, Screen]:
        """Alice and Bob in a sealed room."""
        bob, alice = await self.come(service, "bob"), await self.come(service, "alice")
        alice.enter("/create #tea bob")
        await alice.shows("alice made this sealed room with bob")
        await alice.shows("#tea>")
        await bob.shows("alice made this sealed room with bob")
        bob.enter("/go #tea")
        await bob.shows("#tea>")
        bob.enter("hello alice")
        await alice.shows("bob: hello alice")
        return alice, bob

    def stored(self) -> bytes:
        """All that the server has on its disk."""
        return b"".join(p.read_bytes() for p in sorted((self.home / "server").rglob("*")) if p.is_file())


class People(SealedCase):
    async def test_two_people(self) -> None:
        service = await self.serve()
        alice, bob = await self.tea(service)
        alice.enter(SECRET)
        await bob.shows(f"alice: {SECRET}")
        await alice.shows(" #tea · sealed, bob not verified · 2 here")
        for screen, other in ((alice, "bob"), (bob, "alice")):
            screen.enter(f"/verify {other}")
            await screen.shows("the same on both sides")
        self.assertEqual(len(self.digits(alice)), 3)
        self.assertEqual(self.digits(alice), self.digits(bob))
        alice.enter("/verify bob yes")
        await alice.shows("bob is verified now: SHA256:")
        await alice.shows(" #tea · sealed, verified · 2 here")
        bob.enter("/topic purple elephants")
        await alice.shows("bob set the topic of #tea to: purple elephants")
        alice.enter("/msg bob psst")
        await bob.shows("[@alice] alice: psst")
        bob.enter("/msg alice")
        await bob.shows("@alice>")
        bob.enter("what is it?")
        await alice.shows("[@bob] bob: what is it?")
        self.assertNotIn("&", alice.scrollback + bob.scrollback)
        await self.file(alice, bob)
        stored = self.stored()
        for told in (SECRET, "purple elephants", "psst", "hello alice", "blueprint", "what is it"):
            self.assertNotIn(told.encode(), stored)
        for screen in (alice, bob):
            screen.enter("/quit")
            await self.finish(screen)
        await service.stop()

    async def file(self, alice: Screen, bob: Screen) -> None:
        path = self.home / "blueprint.bin"
        path.write_bytes(b"a very secret drawing " * 10_000)
        alice.enter(f"/file {path}")
        await bob.shows("blueprint.bin, 214 KiB; /save")
        bob.enter("/go #tea")
        await bob.shows("#tea>")
        bob.enter(f"/save {self.number(bob)} {self.home / 'got.bin'}")
        await bob.shows("saved blueprint.bin (214 KiB) as")
        self.assertEqual((self.home / "got.bin").read_bytes(), path.read_bytes())
        self.assertNotIn(b"a very secret drawing", self.stored())

    def number(self, screen: Screen) -> str:
        found = re.search(r"\[file #(\d+)", screen.scrollback)
        assert found is not None
        return found[1]

    async def test_scripts(self) -> None:
        service = await self.serve()
        alice, bob = await self.tea(service)
        bob.enter("/quit")
        await self.finish(bob)
        sent = self.client("--send", "#tea", SECRET, service.address, name="bob")
        sent.close_stdin()
        self.assertEqual(await sent.end(), 0, sent.report())
        await alice.shows(f"bob: {SECRET}")
        sent = self.client("--send", "@alice", "psst", service.address, name="bob")
        sent.close_stdin()
        self.assertEqual(await sent.end(), 0, sent.report())
        await alice.shows("[@bob] bob: psst")
        script = self.client("--json", "--room", "#tea", service.address, name="bob")
        await script.line('"caught-up"')
        alice.enter("for the script")
        await script.line("for the script")
        script.say(json.dumps({"text": "from the script", "ref": 7}))
        await alice.shows("bob: from the script")
        script.close_stdin()
        self.assertEqual(await script.end(), 0, script.report())
        events = [json.loads(line) for line in script.out]
        told = next(event for event in events if event.get("text") == "for the script")
        self.assertEqual(
            (told["room"], told["seal"]["state"], told["seal"]["trust"]), ("#tea", "opened", "pinned")
        )
        self.assertEqual([event["ref"] for event in events if event["event"] == "sent"], [7])
        alice.enter(f"/file {self.secret_file()}")
        number = await alice.until(lambda: re.findall(r"\[file #(\d+):", alice.scrollback)[-1:], "file")
        got = self.client(
            "--get", "#tea", *number, "--to", str(self.home / "got"), service.address, name="bob"
        )
        got.close_stdin()
        self.assertEqual(await got.end(), 0, got.report())
        self.assertEqual((self.home / "got").read_text(), SECRET)
        await self.begin_in(service, alice)
        refused = self.client("--send", "#nowhere", "x", service.address, name="bob")
        refused.close_stdin()
        self.assertEqual(await refused.end(), 77, refused.report())
        await service.stop()

    async def begin_in(self, service: Service, alice: Screen) -> None:
        """Begin in a sealed room, and in a conversation, with what was said there before."""
        for room, said in (("#tea", "from the script"), ("@alice", "psst")):
            bob = self.screen("--room", room, service.address, name="bob", columns=110, rows=45)
            await bob.shows(f"bob: {said}")
            await bob.shows(f"{room}>")
            bob.enter(f"here again in {room[1:]}")
            await alice.shows(f"bob: here again in {room[1:]}")
            bob.enter("/quit")
            await self.finish(bob)

    def secret_file(self) -> Path:
        path = self.home / "blueprint.txt"
        path.write_text(SECRET)
        return path

    async def test_a_backup(self) -> None:
        service = await self.serve()
        alice, bob = await self.tea(service)
        path = self.home / "keys.backup"
        alice.enter(f"/backup {path}")
        await alice.shows("passphrase for the backup, 10 characters or more>")
        alice.enter(PASSPHRASE)
        await alice.shows("the same passphrase again>")
        alice.enter(PASSPHRASE)
        await alice.shows("for reading sealed rooms are in")
        self.assertNotIn("horse", alice.scrollback)
        self.assertNotIn(b"horse", alice.raw)
        self.assertNotIn(b"horse", path.read_bytes())
        alice.press("\x1b[A")
        alice.press("\x03")
        alice.enter("/quit")
        await self.finish(alice)
        before = path.read_bytes()
        for words, code, told in (
            ("wrong wrong wrong", 77, "The passphrase is not the one of this backup"),
            (PASSPHRASE, 0, "for reading sealed rooms taken"),
        ):
            restored = self.client(
                "--restore", str(path), "--passphrase-fd", "0", service.address, name="alice"
            )
            restored.say(words)
            self.assertEqual(await restored.end(), code, restored.report())
            self.assertIn(told, "\n".join(restored.err))
        self.assertEqual(path.read_bytes(), before)
        await self.in_linear(service)
        bob.signal(signal.SIGTERM)
        await service.stop()

    async def in_linear(self, service: Service) -> None:
        """Where nothing is redrawn, the terminal's echo is off for as long as it is asked."""
        path = self.home / "linear.backup"
        plain = self.screen("--linear", service.address, columns=110, rows=45)
        await plain.shows("in +lobby with")
        plain.enter(f"/backup {path}")
        await plain.shows("passphrase for the backup, 10 characters or more (it is not shown")
        plain.enter(PASSPHRASE)
        await plain.shows("the same passphrase again")
        plain.enter(PASSPHRASE)
        await plain.shows("for reading sealed rooms are in")
        self.assertNotIn(b"horse", plain.raw)
        plain.enter("seen again")
        await plain.until(lambda: plain.text.count("seen again") == 1, "echo")
        plain.enter("/quit")
        await self.finish(plain)


class Changed(SealedCase):
    async def test_another_key(self) -> None:
        """Bob lost his key, and comes back with a certificate for his name, which the server believes, and
        not Alice's client, as it does not know that authority."""
        certs = f"tls:certs={self.home / 'certs'}"
        write_set(self.home / "certs", Authority(), "bob")
        port = ("--port", "tcp:0:interface=127.0.0.1")
        service = await self.serve("--cipher", "rsa", *port, "--cipher", certs, *port, listeners=2)
        alice, bob = await self.tea(service)
        bob.enter("/quit")
        await self.finish(bob)
        shutil.rmtree(self.home / "client" / "bob")
        address = f"127.0.0.1:{service.listener(1)['port']}"
        bob = self.screen("--accept-new", "--cipher", certs, address, name="bob", columns=110, rows=45)
        await bob.shows("in +lobby with")
        alice.enter("/verify bob")
        await alice.shows("!! BOB'S KEY CHANGED.")
        await alice.shows(" #tea · sealed, BOB'S KEY CHANGED")
        alice.enter("are you there?")
        await alice.shows("!! not sent to #tea yet, as another key claims to be bob's.")
        await alice.shows("!! after /accept bob, or once bob was put out: /kick bob")
        self.assertNotIn("alice: are you there?", re.sub(r".*queued\)", "", alice.scrollback))
        alice.enter("/verify bob yes")
        await alice.shows("Compare first")
        alice.enter("/accept bob")
        await alice.shows("-- the key of bob was SHA256:")
        await alice.shows("-- accepted. It was not compared")
        await alice.shows(" #tea · sealed, bob not verified")
        await alice.until(
            lambda: re.search(r"^\d\d:\d\d alice: are you there\?$", alice.scrollback, re.MULTILINE),
            "message",
        )
