"""The client as scripts use it: a log shipper across a restart, parts of a room, heads that stop reading.

The examples of docs/json.md run here, as they stand on the page.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.client.pipe.test_json_page import OUT, Page
from tests.process.harness import CLIENT, ROOT, Child, reactor
from tests.process.keys import place_identity
from tests.process.test_client_pipe import QUICK, ClientCase

OPS = "+ops"


class Shipper(ClientCase):
    async def test_a_log_that_grows_across_a_restart(self) -> None:
        """tail -f log | encchat-client: each line once and in order, though the server is killed in the
        middle."""
        service = await self.serve("--rate", "0")
        port, log = service.port, self.home / "app.log"
        log.write_text("line 0\n")
        reader = self.client("--accept-new", "--room", OPS, "--follow", service.address, name="bob")
        await reader.error_line(f"in {OPS}")
        tail = subprocess.Popen(["tail", "-n", "+1", "-f", str(log)], stdout=subprocess.PIPE)  # noqa: ASYNC220 -- it only starts, and needs no reactor
        self.addCleanup(tail.wait)
        self.addCleanup(tail.terminate)
        assert tail.stdout is not None
        options = ("--accept-new", "--room", OPS, "--state", str(self.home / "client"), service.address)
        shipper = self.spawn(
            [*CLIENT, "--name", "alice", *options], Child("shipper"), stdin=tail.stdout.fileno()
        )
        tail.stdout.close()
        written = 1

        def write(count: int) -> None:
            nonlocal written
            with log.open("a") as file:
                for _ in range(count):
                    file.write(f"line {written}\n")
                    written += 1

        await reader.line("alice: line 0")
        write(100)
        await reader.line("alice: line 100")
        service.signal(signal.SIGKILL)
        await service.end()
        write(200)
        await shipper.error_line("Trying again")
        service = await self.serve("--rate", "0", port=port)
        write(100)
        await reader.line("alice: line 400")
        self.assertEqual(reader.out, [f"alice: line {number}" for number in range(401)])
        stored = await self.run_client(
            "--accept-new", "--room", OPS, "--tail", "1000", service.address, name="carol"
        )
        self.assertEqual(stored.out, reader.out, "and so they are stored")


class Extracts(ClientCase):
    async def test_parts_of_a_room(self) -> None:
        service = await self.serve()
        await self.finish(
            self.shell(f"printf 'one\\ntwo\\nthree\\n' | $CLIENT --name alice --accept-new {service.address}")
        )
        for options, expected in (
            (("--tail", "2"), ["alice: two", "alice: three"]),
            (("--since", "1h"), ["alice: one", "alice: two", "alice: three"]),
            (("--until", "1h"), []),
            (("--since", "2020-01-01", "--until", "2020-01-02"), []),
        ):
            child = await self.run_client("--accept-new", *options, service.address, name="bob")
            self.assertEqual(child.out, expected, options)
        # It left no trace: the next run in a pipe shows what it would have shown.
        child = await self.run_client("--history", "3", service.address, name="bob")
        self.assertEqual(len(child.out), 3)

    async def test_mistakes(self) -> None:
        for options, words in (
            (("--since", "soon"), "--since 'soon' is no time"),
            (("--since", "1h", "--until", "2h"), "nothing between them"),
            (("--tail", "3", "--since", "1h"), "both say where to begin"),
            (("--tail", "3", "--send", "+lobby", "x"), "only read"),
            (("--wire", "localhost:9999"), "write --wire - to see it"),
        ):
            child = await self.run_client(*options, code=2)
            self.assertEqual(len(child.err), 1, child.report())
            self.assertIn(words, child.err[0])

    async def test_a_head_that_stops_reading(self) -> None:
        """Quietly: nothing on stderr but what is always said there, and no signal."""
        service = await self.serve("--rate", "0", *QUICK)
        # More than a pipe holds, so that it is still writing when nobody reads any more.
        (self.home / "input").write_text("".join(f"{number:01000}\n" for number in range(400)))
        cipher = " ".join(QUICK)
        sending = f"$CLIENT --name alice --accept-new {cipher} {service.address} < {self.home / 'input'}"
        await self.finish(self.shell(sending))
        command = f"$CLIENT --name bob --accept-new {cipher} --tail 400 {service.address}; echo code $? >&2"
        child = await self.finish(self.shell(f"({command}) | head -1"))
        self.assertEqual(child.out, ["alice: " + "0" * 1000])
        self.assertEqual(child.err[-1], "code 1")
        said = [line for line in child.err[:-1] if "connected as" not in line and "in +lobby" not in line]
        self.assertEqual(said, [])


class Lines(ClientCase):
    async def test_what_a_line_may_be(self) -> None:
        """Line ends of Windows, empty lines, NUL and escape sequences, bytes that are no text, one that is
        far too long, and a last one without an end."""
        service = await self.serve("--rate", "0", *QUICK)
        (self.home / "input").write_bytes(
            b"one\r\ntwo\r\n\r\n\nnul\0inside\nbad \xff\xfe\nesc \x1b[31mred\n" + b"z" * 70_000 + b"\nlast"
        )
        sending = (
            f"$CLIENT --name alice --accept-new {' '.join(QUICK)} {service.address} < {self.home / 'input'}"
        )
        sent = await self.finish(self.shell(sending), 1)
        self.assertIn("encchat-client: line 6: The line is not UTF-8 text and was not sent.", sent.err)
        self.assertEqual(sum("line 8 is too long for one message" in line for line in sent.err), 1)
        read = await self.run_client("--accept-new", "--tail", "99", *QUICK, service.address, name="bob")
        said = [line.removeprefix("alice: ") for line in read.out]
        self.assertEqual(said[:4], ["one", "two", "nulinside", "esc red"])
        self.assertEqual("".join(said[4:-1]), "z" * 70_000)
        self.assertEqual(said[-1], "last")

    async def test_the_last_ones_and_then_all_that_follow(self) -> None:
        service = await self.serve(*QUICK)
        sending = ("--accept-new", *QUICK, "--send", "+lobby")
        for text in ("one", "two", "three"):
            await self.run_client(*sending, text, service.address)
        reader = self.client("--accept-new", *QUICK, "--tail", "2", "--follow", service.address, name="bob")
        reader.close_stdin()
        await reader.line("alice: three")
        await self.run_client(*sending, "four", service.address)
        await reader.line("alice: four")
        self.assertEqual(reader.out, ["alice: two", "alice: three", "alice: four"])
        reader.signal(signal.SIGINT)
        await self.finish(reader, 130)


class Told(ClientCase, Page):
    """What the real program prints with --json is what docs/json.md says, field by field."""

    async def test_a_conversation(self) -> None:
        service = await self.serve("--rate", "0", *QUICK, "--motd", "Be kind.")
        (self.home / "plan").write_text("plan")
        options = ("--accept-new", "--json", *QUICK, service.address)
        alice, bob = self.client(*options, name="alice"), self.client(*options, name="bob")
        for child in (alice, bob):
            await child.line('"caught-up"')
        asked = {
            "/who": "members",
            "/rooms": "rooms",
            "/whois bob": "profile",
            "/access": "about",
            "/history 5": "history",
            "/search hello": "found",
            "/link": "link-code",
            "/topic tea": "sent",
            "/kick bob": "done",
            "/join +ops": "joined",
            "/whois nobody": "error",
            f"/file {self.home / 'plan'}": "file-given",
            "/save 99": "file-failed",
            "/go": "notice",
            "/part +ops": "left",
        }
        alice.say('{"command": "/join +team", "ref": 0}')
        await alice.line('"room":"+team"')
        bob.say('{"command": "/join +team"}')
        await bob.line('"joined","room":"+team"')
        alice.say('{"text": "hello bob", "room": "+team", "ref": "t"}')
        for number, (command, event) in enumerate(asked.items()):
            before = len(alice.out)
            alice.say(json.dumps({"command": command, "room": "+team", "ref": number}))
            line = await alice.line(f'"event":"{event}"', before)
            if event not in ("joined", "left", "notice", "file-given", "file-failed"):
                self.assertEqual(json.loads(line).get("ref"), number, line)
        await bob.line('"put-out","room":"+team"')
        bob.say('{"text": "x", "room": "+team"}', "nonsense", '{"text": "waves", "kind": "me"}')
        await bob.line('"line":3')
        await alice.line('"kind":"me"')
        told: set[str] = set()
        for child in (alice, bob):
            child.close_stdin()
            await child.end()
            told |= {self.check_line(line.encode() + b"\n", OUT) for line in child.out}
        self.assertLessEqual({*asked.values(), "admitted", "message", "presence", "put-out"}, told)


class Examples(ClientCase):
    """What docs/json.md shows, as it stands there."""

    async def test_they_work(self) -> None:
        service = await self.serve()
        place_identity(self.home / "client" / "ci", "carol")
        programs = self.home / "bin"
        programs.mkdir()
        program = programs / "encchat-client"
        client = shlex.join([sys.executable, *CLIENT, "--state", str(self.home / "client"), "--accept-new"])
        program.write_text(f'#!/bin/sh\nexec {client} "$@" {service.address}\n')
        program.chmod(0o755)
        (self.home / "app.log").write_text("started\nan error\nanother error\n")
        said = [await self.example(block, programs) for block in examples()]
        self.assertEqual(
            said,
            [
                ["stored"],
                [],
                ["alice: the build is green", "ci: started", "ci: an error", "ci: another error", "2"],
                ["alice: the build is green"],
                ["('alice', 1)", "('ci', 3)"],
                None,
            ],
        )

    async def example(self, block: str, programs: Path) -> list[str] | None:
        """Run it, and return what it printed; None: objects, which were all that is told of."""
        # A log that somebody else writes would be followed for ever; that is Shipper's test.
        command = block.replace("tail -n +1 -f ", "tail -n +1 ")
        child = Child(command)
        self.children.append(child)
        environment = self.environment(ENCCHAT_NAME="alice", PATH=f"{programs}:{os.environ['PATH']}")
        reactor.spawnProcess(
            child,
            "/bin/sh",
            ["sh", "-c", command],
            env=environment,
            path=str(self.home),
            childFDs={0: "w", 1: "r", 2: "r"},
        )
        child.close_stdin()
        await self.finish(child)
        if not child.out or not child.out[0].startswith("{"):
            return child.out
        (sent,) = (event for event in map(json.loads, child.out) if event["event"] == "sent")
        self.assertEqual(sent["msgid"], "0" * 30 + "aa")
        return None


def examples() -> list[str]:
    """The indented blocks of the page's examples."""
    page = (ROOT / "docs" / "json.md").read_text("utf-8")
    part = page.partition("<!-- begin examples -->")[2].partition("<!-- end examples -->")[0]
    found: list[str] = []
    for paragraph in part.split("\n\n"):
        if paragraph.startswith("    "):
            found.append("\n".join(line.removeprefix("    ") for line in paragraph.splitlines()))
    return found
