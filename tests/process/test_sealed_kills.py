"""Sealed conversations between real clients over a real service, with each cipher: from the first line,
across kills of either side. Then the service's files and memory are searched for what was said."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.ciphers.tls.authority import Authority, write_set
from tests.process.harness import Child, ProcessCase, Service

#: What must be found nowhere on the server.
SECRET = "the treasure is under the old oak"
ROOM, TALK = "#diggers", "@alice&bob"


class Json:
    """A client that speaks JSON."""

    def __init__(self, child: Child) -> None:
        self.child = child

    @property
    def told(self) -> list[dict[str, Any]]:
        """All that it has told."""
        return [json.loads(line) for line in self.child.out]

    def do(self, **what: Any) -> None:
        """Give it a line."""
        self.child.say(json.dumps(what))

    async def until(self, **facts: Any) -> dict[str, Any]:
        """Wait for something with these facts."""

        def found() -> dict[str, Any] | None:
            return next((x for x in self.told if all(x.get(key) == facts[key] for key in facts)), None)

        result: dict[str, Any] = await self.child.until(found, str(facts))
        return result

    async def hears(self, text: str) -> dict[str, Any]:
        """Wait for a message."""
        return await self.until(event="message", text=text)

    @property
    def texts(self) -> list[str]:
        """What was said in sealed rooms, as it was shown."""
        return [x["text"] for x in self.told if x["event"] == "message" and x["kind"] == "text"]


class Sealed(ProcessCase):
    """Two people; subclasses say over which cipher."""

    cipher = ""

    async def serve_here(self, port: int | None = None) -> Service:
        """The service."""
        return await self.serve("--cipher", self.cipher, "--rate", "0", port=port)

    async def come(self, service: Service, name: str, *, again: bool = False) -> Json:
        """A client of somebody, who can be written to."""
        options = ("--json", "--follow", "--accept-new", "--cipher", self.cipher, "--room", "+lobby")
        person = Json(self.client(*options, service.address, name=name))
        await person.until(event="caught-up", room="+lobby")
        if not again:
            await person.until(event="device-ready", listed=True)
        return person

    async def talk(self) -> None:
        """A conversation, and a room."""
        service = await self.serve_here()
        alice, bob = await self.come(service, "alice"), await self.come(service, "bob")
        alice.do(command=f"/msg bob {SECRET}")
        await bob.until(event="invited", room=TALK)
        bob.do(command="/msg alice which oak?")
        heard = await bob.hears(SECRET)
        self.assertEqual((heard["room"], heard["from"]), (TALK, "alice"))
        await alice.hears("which oak?")

        service.signal(signal.SIGKILL)
        await service.end()
        alice.do(text="said without a server", room=TALK)
        service = await self.serve_here(service.port)
        await bob.hears("said without a server")

        alice.child.signal(signal.SIGKILL)
        await alice.child.end()
        bob.do(text="said while alice was away", room=TALK)
        await bob.hears("said while alice was away")
        alice = await self.come(service, "alice", again=True)
        alice.do(command="/msg bob i am back")
        await alice.hears("said while alice was away")
        await bob.hears("i am back")
        said = ["said without a server", "said while alice was away", "i am back"]
        self.assertEqual(bob.texts[2:], said)
        self.assertEqual(sorted(bob.texts[:2]), [SECRET, "which oak?"])

        alice.do(command=f"/create {ROOM} bob")
        await alice.until(event="joined", room=ROOM)
        alice.do(text=SECRET, room=ROOM)
        bob.do(command=f"/join {ROOM}")
        await bob.until(event="joined", room=ROOM)
        alice.do(text="seventeen badgers", room=ROOM)
        await bob.hears("seventeen badgers")
        for one in (alice, bob):
            one.do(command="/quit")
            self.assertEqual(await one.child.end(), 0, one.child.report())
        said += [SECRET, "which oak?", "seventeen badgers"]
        self.assertEqual(found_in_memory(service.pid, *said), [])
        self.assertEqual(found_in_files(self.home / "server", *said), [])
        service.signal(signal.SIGKILL)
        await service.end()
        self.assertEqual(found_in_files(self.home / "server", *said), [])


def found_in_files(directory: Path, *texts: str) -> list[str]:
    """Which of the texts stand in some file, among them databases and their journals."""
    paths = [path for path in directory.rglob("*") if path.is_file()]
    assert any(path.name.endswith(".sqlite") for path in paths), paths
    return [text for text in texts for path in paths if text.encode() in path.read_bytes()]


def found_in_memory(pid: int, *texts: str) -> list[str]:
    """Which of the texts stand in the memory of a process. (That they would be found is seen by looking for
    what the process must have: the path of its program.)"""
    wanted = {text: text.encode() for text in (*texts, sys.executable)}
    found = set()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            where, rights = line.split()[:2]
            if "r" not in rights or line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            start, end = (int(part, 16) for part in where.split("-"))
            try:
                memory.seek(start)
                data = memory.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue
            found.update(text for text, raw in wanted.items() if raw in data)
    assert sys.executable in found, "the memory was not read"
    return sorted(found - {sys.executable})


class OverRsa(Sealed):
    cipher = "rsa"

    async def test_rsa(self) -> None:
        await self.talk()


class OverPinnedTls(Sealed):
    cipher = "tls:trust=pin"

    async def test_pins(self) -> None:
        await self.talk()


class OverCertifiedTls(Sealed):
    def setUp(self) -> None:
        super().setUp()
        write_set(self.home / "certs", Authority(), "alice", "bob")
        self.cipher = f"tls:certs={self.home / 'certs'}"

    async def test_certificates(self) -> None:
        await self.talk()
