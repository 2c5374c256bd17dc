"""``encchat-client`` in a pipe, with a real service: conversations, exit codes, trouble of every kind."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import sys

from twisted.internet.threads import deferToThread

from tests import SOAK
from tests.process.harness import CLIENT, PATIENCE, SCRIPT, Child, ProcessCase, reactor, reserve
from tests.process.keys import place_identity

LOBBY = "+lobby"
#: The cipher that takes least time, where much is sent and it does not matter how.
QUICK = ("--cipher", "tls:trust=pin")
#: Lines of a large input.
LINES = 3000 if SOAK else 1000


class ClientCase(ProcessCase):
    """A test that runs clients."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("alice", "bob"):  # who may be started by a shell
            place_identity(self.home / "client" / name, name)

    async def finish(self, child: Child, code: int = 0) -> Child:
        """Wait for the end of a client, which must be in order: no traceback, and this exit code."""
        self.assertEqual(await child.end(), code, child.report())
        self.assertNotIn("Traceback", child.report())
        self.assertNotIn("nobody foresaw", child.report())
        return child

    async def run_client(self, *options: str, code: int = 0, name: str = "alice", state: str = "") -> Child:
        """A client without input, to its end."""
        child = self.client(*options, name=name, state=state)
        child.close_stdin()
        return await self.finish(child, code)

    def shell(self, command: str) -> Child:
        """A shell command, in which ``$CLIENT`` stands for the client."""
        child = Child(command)
        self.children.append(child)
        client = shlex.join([sys.executable, *CLIENT]) + f" --state {shlex.quote(str(self.home / 'client'))}"
        environment = self.environment(CLIENT=client)
        reactor.spawnProcess(
            child, "/bin/sh", ["sh", "-c", command.replace("$CLIENT", client)], env=environment
        )
        return child


class Conversations(ClientCase):
    async def test_two_people_and_a_script(self) -> None:
        service = await self.serve("--motd", "Be kind.")
        alice = self.client("--accept-new", "--follow", service.address, name="alice")
        await alice.error_line("in +lobby with alice")
        self.assertIn("encchat-client: Be kind.", alice.err)
        bob = self.client("--accept-new", "--json", service.address, name="bob")
        await bob.line('"caught-up"')
        await alice.error_line("bob joined +lobby")
        alice.say("hello bob", "/who is a line like any other")
        await bob.line("like any other")
        bob.say(
            '{"text": "hello alice", "ref": "r1"}', '{"text": "waves", "kind": "me"}', '{"command": "/who"}'
        )
        await alice.line("* bob waves")
        self.assertEqual(alice.out, ["bob: hello alice", "* bob waves"])
        await bob.line('"members"')
        bob.close_stdin()
        await self.finish(bob)
        events = [json.loads(line) for line in bob.out]
        told = [event["text"] for event in events if event["event"] == "message"]
        self.assertEqual(told, ["hello bob", "/who is a line like any other", "hello alice", "waves"])
        self.assertEqual([e.get("ref") for e in events if e["event"] == "sent"], ["r1", None])
        sent = await self.run_client("--send", "lobby", "over and out", service.address, name="bob")
        self.assertEqual((sent.out, sent.err), ([], []))
        await alice.line("bob: over and out")
        second = self.client(service.address, name="alice")
        await second.error_line("this is one more session")
        second.say("from the second")
        second.close_stdin()
        await self.finish(second)
        await alice.line("alice: from the second")
        alice.signal(signal.SIGINT)
        await self.finish(alice, 130)

    async def test_a_large_input_arrives_whole_and_in_order(self) -> None:
        service = await self.serve("--rate", "0", *QUICK)
        reader = self.client("--accept-new", "--follow", *QUICK, service.address, name="bob")
        await reader.error_line("in +lobby")
        lines = [f"{number} {'x' * (number % 200)}" for number in range(LINES)]
        file = self.home / "input"
        file.write_text("\n".join(lines) + "\n" + "long " * 30_000)
        child = self.shell(f"$CLIENT --name alice --accept-new {' '.join(QUICK)} {service.address} < {file}")
        await self.finish(child)
        await reader.until(lambda: len(reader.out) >= LINES + 3, "all lines")
        said = [line.removeprefix("alice: ") for line in reader.out]
        self.assertEqual(said[:LINES], lines)
        self.assertEqual("".join(said[LINES:]), "long " * 30_000)

    async def test_the_next_run_goes_on_where_the_last_one_ended(self) -> None:
        service = await self.serve()
        await self.run_client("--accept-new", service.address, name="alice")
        await self.run_client("--accept-new", "--send", LOBBY, "missed", service.address, name="bob")
        second = await self.run_client(service.address, name="alice")
        self.assertEqual(second.out, ["bob: missed"])
        third = await self.run_client(service.address, name="alice")
        self.assertEqual(third.out, [])


class Trust(ClientCase):
    async def test_from_a_stranger_to_an_impostor(self) -> None:
        service = await self.serve()
        port, address, key = service.port, service.address, service.listener()["fingerprint"]
        stranger = await self.run_client(address, code=77)
        (words,) = stranger.err
        self.assertIn(key, words)
        self.assertEqual(stranger.out, [])
        # The command that it names is the one that works.
        command = re.search(r"connect with: encchat-client (.*)$", words)
        assert command is not None
        again = self.spawn([*CLIENT, *shlex.split(command[1])])
        again.close_stdin()
        await self.finish(again)
        await service.stop()
        impostor = await self.serve(data="another", port=port)
        refused = await self.run_client("--accept-new", address, code=77)
        (words,) = refused.err
        self.assertIn(key, words)
        self.assertIn(impostor.listener()["fingerprint"], words)
        refused = await self.run_client("--pin", key, address, code=77)
        self.assertIn("which --pin demands", refused.err[0])
        await self.run_client("--pin", impostor.listener()["fingerprint"], address)
        # The name belongs to the key that has claimed it.
        refused = await self.run_client("--accept-new", address, state="elsewhere", code=77)
        self.assertIn("belongs to another key", refused.err[0])


class ExitCodes(ClientCase):
    async def test_one_sentence_each(self) -> None:
        port = reserve(self)
        (self.home / "file").write_text("")
        for code, word, state, option in (
            (2, "--bogus", "", "--bogus"),
            (69, "Connection refused", "", f"127.0.0.1:{port}"),
            (78, "--state", "file", f"127.0.0.1:{port}"),
        ):
            child = await self.run_client(option, state=state, code=code)
            self.assertEqual(len(child.err), 1, child.report())
            self.assertTrue(child.err[0].startswith("encchat-client: "), child.report())
            self.assertIn(word, child.err[0])

    async def test_somebody_else_there(self) -> None:
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        child = self.client(f"127.0.0.1:{server.getsockname()[1]}", name="alice")
        server.settimeout(PATIENCE)
        connection, _ = await deferToThread(server.accept)
        self.addCleanup(connection.close)
        connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        await self.finish(child, 76)
        self.assertEqual(len(child.err), 1, child.report())

    async def test_what_was_not_sent_and_who_was_stopped(self) -> None:
        service = await self.serve()
        child = self.client("--accept-new", service.address, name="alice")
        child.transport.write(b"fine\n\xff\xfe\n")
        child.close_stdin()
        await self.finish(child, 1)
        self.assertIn("encchat-client: line 2: The line is not UTF-8 text and was not sent.", child.err)
        child = self.client("--accept-new", "--follow", service.address, name="alice")
        await child.error_line("in +lobby")
        child.signal(signal.SIGTERM)
        await self.finish(child, 143)

    async def test_streams_that_are_closed_or_full(self) -> None:
        service = await self.serve()
        name = f"--name alice --accept-new {service.address}"
        await self.finish(self.shell(f"$CLIENT {name} <&- >&- 2>&-"), 0)
        await self.run_client("--accept-new", "--send", LOBBY, "hello", service.address, name="bob")
        history = f"$CLIENT {name} --history 5 --follow </dev/null"
        await self.finish(self.shell(f"{history} >/dev/full"), 1)
        closed = await self.finish(self.shell(f"({history}; echo $? >&2) | true"))
        self.assertEqual(closed.err[-1], "1")
        await self.finish(self.shell("$CLIENT --version >/dev/full"), 1)
        await self.finish(self.shell("$CLIENT --help >&-"), 0)


class Outages(ClientCase):
    async def test_a_service_that_is_killed_and_comes_back(self) -> None:
        service = await self.serve("--rate", "0")
        port = service.port
        alice = self.client("--accept-new", service.address, name="alice")
        bob = self.client("--accept-new", "--follow", service.address, name="bob")
        await alice.error_line("in +lobby")
        await bob.error_line("in +lobby")
        alice.say("before")
        await bob.line("alice: before")
        service.signal(signal.SIGKILL)
        await service.end()
        await alice.error_line("Trying again")
        alice.say(*(f"meanwhile {number}" for number in range(50)))
        alice.close_stdin()
        await self.serve("--rate", "0", port=port)
        await self.finish(alice)
        await bob.line("meanwhile 49")
        self.assertEqual(bob.out, ["alice: before", *(f"alice: meanwhile {n}" for n in range(50))])

    async def test_a_service_that_begins_a_new_log(self) -> None:
        service = await self.serve()
        port = service.port
        await self.run_client("--accept-new", "--history", "0", service.address, name="alice")
        await service.stop()
        for file in (self.home / "server").glob("*.sqlite*"):
            file.unlink()
        service = await self.serve(port=port)
        child = await self.run_client(service.address, name="alice", code=76)
        self.assertTrue(any("--accept-log" in line for line in child.err), child.report())
        await self.run_client("--accept-log", service.address, name="alice")
        await self.run_client(service.address, name="alice")

    async def test_a_conversation_with_nobody(self) -> None:
        """It ends, and says why, where it waited for ever."""
        service = await self.serve("--cipher", "tls:trust=pin")
        how = ("--cipher", "tls:trust=pin", "--accept-new", service.address)
        for errand in (
            ("--send", "@nobody", "hello"),
            ("--room", "@nobody"),
            ("--room", "@nobody", "--json"),
        ):
            child = await self.run_client(*errand, *how, name="alice", code=77)
            self.assertIn("You cannot be in @nobody: @nobody was not made", child.err[-1])

    async def test_a_service_that_keeps_its_log_in_memory(self) -> None:
        service = await self.serve("--log", "memory")
        port = service.port
        await self.run_client("--accept-new", "--history", "0", service.address, name="alice")
        await service.stop()
        service = await self.serve("--log", "memory", port=port)
        child = await self.run_client(service.address, name="alice")
        self.assertTrue(any("has begun a new one" in line for line in child.err), child.report())


class Imports(ClientCase):
    async def test_asking_for_the_version_imports_nothing_heavy(self) -> None:
        child = self.spawn(["-X", "importtime", *CLIENT, "--version"])
        self.assertEqual(await child.end(), 0)
        self.assertRegex(child.out[0], r"\Aencchat-client \d+\.\d+")
        imported = {line.rpartition("|")[2].strip() for line in child.err}
        self.assertIn("click", imported)
        heavy = {"twisted", "cryptography", "msgspec", "prompt_toolkit", "platformdirs", "asyncio", "sqlite3"}
        self.assertEqual(imported & heavy, set())

    async def test_help(self) -> None:
        child = await self.run_client("--help")
        for option in (
            "--cipher",
            "--name",
            "--room",
            "--state",
            "--pin",
            "--accept-new",
            "--json",
            "--send",
        ):
            self.assertTrue(any(option in line for line in child.out), option)


class Classic(ClientCase):
    """The classroom script's stand-in, without a service."""

    def script(self, *arguments: str) -> Child:
        return self.spawn([*SCRIPT, *arguments])

    async def talk(self, client: Child, script: Child) -> None:
        await client.error_line("nobody has proved who they are")
        client.say("hello script", "x" * 300)
        await script.line("Partner: hello script")
        script.say("hello there")
        await client.line("classic: hello there")
        await script.until(lambda: "".join(script.out).count("x") >= 300, "the long line")
        client.say("last words")
        client.close_stdin()
        await self.finish(client)
        await script.line("Partner: last words")

    async def test_calling_the_script(self) -> None:
        script = self.script("1", "0")
        port = json.loads(await script.line("port"))["port"]
        await self.talk(self.client("--classic", f"127.0.0.1:{port}"), script)

    async def test_waiting_for_the_script(self) -> None:
        client = self.client("--classic", "--listen", "0")
        waiting = await client.error_line("waiting for the script at 127.0.0.1:")
        await self.talk(client, self.script("2", waiting.rpartition(":")[2]))

    async def test_the_script_leaves(self) -> None:
        script = self.script("1", "0")
        port = json.loads(await script.line("port"))["port"]
        client = self.client("--classic", f"127.0.0.1:{port}")
        await client.error_line("nobody has proved")
        script.signal(signal.SIGKILL)
        await self.finish(client)
        self.assertIn("encchat-client: the other side has left", client.err)
