"""The real service: what it says at start, how it ends, what it makes of wrong options."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat

from tests.process.harness import ROOT, TWISTD, Child, ProcessCase

FORKS = str(ROOT / "tests" / "process" / "forks.py")


class Starting(ProcessCase):
    """Start-up and the end."""

    async def test_says_where_it_listens_and_ends_cleanly(self) -> None:
        service = await self.serve("--motd", "Be kind.")
        line = await service.line("listening on")
        self.assertIn(f"listening on 127.0.0.1:{service.port} with rsa, SHA256:", line)
        self.assertIn(f"--port tcp:{service.port} opens it to the network", line)
        self.assertRegex(service.listener()["fingerprint"], r"\ASHA256:[A-Za-z0-9+/]{43}\Z")
        await service.stop()
        self.assertEqual(service.err, [])

    async def test_keeps_its_key_to_itself_and_for_ever(self) -> None:
        first = await self.serve(data="fresh")
        fingerprint = first.listener()["fingerprint"]
        await first.stop()
        second = await self.serve(data="fresh")
        self.assertEqual(second.listener()["fingerprint"], fingerprint)
        data = self.home / "fresh"
        self.assertEqual(stat.S_IMODE(data.stat().st_mode), 0o700)
        for file in data.rglob("*.pem"):
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600, file)

    async def test_hangup_reads_the_members_again(self) -> None:
        members = self.home / "members"
        members.write_text("alice\n")
        service = await self.serve("--access", "members", "--members", str(members))
        service.signal(signal.SIGHUP)
        await service.line("configuration read again")
        members.write_text("a b c d\n")
        service.signal(signal.SIGHUP)
        self.assertIn("line 1", await service.line("the members stay as they were"))

    async def test_two_ciphers_side_by_side(self) -> None:
        service = await self.serve(
            *("--cipher", "rsa", "--port", "tcp:0:interface=127.0.0.1"),
            *("--cipher", "tls:trust=pin", "--port", "tcp:0:interface=127.0.0.1"),
            listeners=2,
        )
        self.assertEqual([service.listener(n)["cipher"] for n in (0, 1)], ["rsa", "tls"])
        self.assertNotEqual(service.listener(0)["fingerprint"], service.listener(1)["fingerprint"])

    async def test_says_what_its_log_may_lose(self) -> None:
        relaxed = await self.serve("--durability", "relaxed")
        await relaxed.line("a power cut may take the last seconds")
        await relaxed.stop()
        passing = await self.serve("--log", "memory")
        await passing.line("when the service ends they are gone")

    async def test_a_file_of_options(self) -> None:
        config = self.home / "encchat.toml"
        config.write_text('port = "tcp:0:interface=127.0.0.1"\nannounce = true\ndata = "elsewhere"\n')
        service = await self.serve("--config", str(config))
        self.assertTrue((self.home / "server").is_dir(), "flags win over the file")
        self.assertFalse((self.home / "elsewhere").exists())
        await service.stop()


class Mistakes(ProcessCase):
    """One sentence that says what to do, exit code 2 or 78, no traceback."""

    def twistd(self, *options: str) -> Child:
        return self.spawn([*TWISTD, "encchat", *options])

    async def check(self, code: int, word: str, *options: str) -> None:
        child = self.twistd("--data", str(self.home / "data"), *options)
        self.told(code, word, await child.end(), child.err)

    def told(self, wanted: int, word: str, code: int, said: list[str]) -> None:
        self.assertEqual(code, wanted, said)
        self.assertEqual(len(said), 1, said)
        self.assertTrue(said[0].startswith("encchat: "), said)
        self.assertIn(word, said[0])

    async def check_all(self, wanted: int, *cases: tuple[str, ...]) -> None:
        """The same for several, which takes little longer than for one."""
        child = self.spawn([FORKS], Child("forks"))
        start = ["--pidfile=", "-n", "encchat", "--data", str(self.home / "data")]
        child.say(json.dumps([[*start, *options] for _, *options in cases]))
        child.close_stdin()
        self.assertEqual(await child.end(), 0, child.report())
        for (word, *_), line in zip(cases, child.out, strict=True):
            self.told(wanted, word, *json.loads(line))

    async def test_usage(self) -> None:
        await self.check(2, "--bogus", "--bogus")
        await self.check_all(
            2,
            ("nope", "--cipher", "nope"),
            ("colour", "--cipher", "rsa:colour=red"),
            ("tcp:x", "--port", "tcp:x"),
            ("its own --port", "--cipher", "rsa", "--cipher", "rsa"),
            ("whole number", "--rate", "fast"),
        )

    async def test_configuration(self) -> None:
        wrong = self.home / "wrong.toml"
        wrong.write_text("port = [")
        await self.check_all(
            78,
            ("/no/such/file", "--config", "/no/such/file"),
            ("not TOML", "--config", str(wrong)),
            ("/no/such/file", "--access", "members", "--members", "/no/such/file"),
            ("--data", "--data", "/proc/nowhere"),
        )

    async def test_a_port_in_use(self) -> None:
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        await self.check(78, "in use", "--port", f"tcp:{port}:interface=127.0.0.1")

    async def test_a_key_that_others_can_read(self) -> None:
        service = await self.serve(data="data")
        await service.stop()
        (key,) = (self.home / "data").rglob("rsa-identity.pem")
        os.chmod(key, 0o644)
        await self.check(78, "chmod", "--port", "tcp:0:interface=127.0.0.1")

    async def test_help(self) -> None:
        child = self.twistd("--help-ciphers")
        self.assertEqual(await child.end(), 0)
        self.assertTrue(any(line.startswith("rsa: ") for line in child.out))
        child = self.twistd("--help")
        self.assertEqual(await child.end(), 0)
        for option in ("--cipher", "--port", "--data", "--motd", "--access", "--members", "--config"):
            self.assertTrue(any(option in line for line in child.out), option)

    def test_the_checkout_is_what_runs(self) -> None:
        import encchat

        self.assertEqual(os.path.dirname(os.path.dirname(encchat.__file__)), str(ROOT))
