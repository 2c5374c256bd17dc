"""A hostile server and the real consoles: only text reaches the terminal, whatever is said in which field,
also in those of a certificate."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from ipaddress import ip_address

from cryptography import x509

from tests.ciphers.tls.authority import Authority, uri
from tests.hostile import ESC, attacks, is_unsafe
from tests.process.hostile_server import Listening
from tests.process.keys import place_identity
from tests.process.screen import Screen
from tests.process.test_client_terminal import TerminalCase

#: What the terminal console itself sends besides text: CR, LF, BS (one column back), and these.
OWN = re.compile(r"\x1b\[[0-9;]*[ABCDHJKm]|\x1b\[\?(?:1|7|12|25|2004)[hl]|\x1b\[0 q|[\r\n\x08]")


#: What makes a server tell more.
ASKING = ("/rooms", "/who", "/whois bob", "/topic", "/access", "/history 200", "/go", "/search all")


def texts(value: object) -> Iterator[str]:
    """Every text in what a line of JSON says."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(part)


class Hostile(TerminalCase):
    async def listen(self) -> Listening:
        place_identity(self.home / "hostile", "service")
        listening = Listening(self.home / "hostile")
        await listening.start()
        self.addCleanup(listening.stop)
        return listening

    async def attacked(
        self, *options: str, name: str = "alice", brief: bool = False, **environment: str
    ) -> Screen:
        """A client that has been through all of it."""
        listening = await self.listen()
        options = ("--accept-new", *options, listening.address)
        screen = self.screen(*options, name=name, columns=100, rows=30, **environment)
        await screen.told("in +lobby with")
        listening.server.attack(brief=brief)
        if brief:
            await screen.told("bob: that was all")
        else:  # to look through all that was shown each time that more comes would take long
            await screen.shows("bob: that was all")
        for command in ASKING:
            screen.enter(command)
        await screen.until(lambda: "found in +lobby" in screen.scrollback, "answers")
        return screen

    def check(self, screen: Screen, text: str) -> None:
        """That ``text`` has nothing in it that is not text, and the screen shows what it should."""
        bad = {character for character in text if is_unsafe(character)}
        self.assertEqual(bad, set())
        self.assertEqual(screen.title, "")
        self.assertLess(text.count("\u0301"), 50_000)
        self.assertNotRegex(text, "\u0301{9}")
        self.assertIn("bob: that was all", screen.scrollback)

    async def test_terminal(self) -> None:
        screen = await self.attacked()
        await screen.shows("+lobby>")
        screen.enter("/quit")
        await self.finish(screen)
        raw = screen.raw.decode("utf-8", "strict")
        self.assertNotIn("\x1b[66", raw)
        self.assertNotIn("\x07", raw)
        self.check(screen, OWN.sub("", raw))

    async def test_linear(self) -> None:
        screen = await self.attacked("--linear", NO_COLOR="1")
        screen.press("\x04")
        await self.finish(screen)
        self.check(screen, screen.raw.decode("utf-8", "strict").replace("\r\n", "\n"))

    async def test_wire(self) -> None:
        """Beside what is shown anyway, each message as it came, and its bytes."""
        for name, *options in (("alice",), ("bob", "--linear")):
            screen = await self.attacked("--wire", "-", *options, name=name, brief=True)
            screen.press("\x04")
            await self.finish(screen)
            self.check(screen, OWN.sub("", screen.raw.decode("utf-8", "strict")))
            self.assertIn("on the network", screen.scrollback)

    async def test_pipe_and_json(self) -> None:
        for name, *options in (("alice",), ("bob", "--json"), ("carol", "--wire", "-")):
            listening = await self.listen()
            pipe = self.client("--accept-new", "--follow", *options, listening.address, name=name)
            is_json = "--json" in options
            await (pipe.line('"caught-up"') if is_json else pipe.error_line("in +lobby"))
            listening.server.attack()
            await pipe.line("that was all")
            if is_json:
                pipe.say(*(json.dumps({"command": command}) for command in ASKING))
                await pipe.line('"event":"found"')
            pipe.signal(signal.SIGTERM)
            await pipe.end()
            for line in (*pipe.out, *pipe.err):
                self.assertFalse([c for c in line if is_unsafe(c)], line)
            if is_json:
                told = {json.loads(line)["event"] for line in pipe.out}
                self.assertLessEqual({"message", "rooms", "members", "profile", "history", "invited"}, told)
                for line in pipe.out:
                    for text in texts(json.loads(line)):
                        self.assertFalse([c for c in text if is_unsafe(c)], line)

    def test_the_attacks_are_ones(self) -> None:
        """They hold every control character, and fit into every field."""
        said = "".join(attacks())
        self.assertTrue(set(map(chr, (*range(0x20), *range(0x7F, 0xA0)))) <= set(said))
        self.assertLessEqual(max(map(len, attacks())), 24)


class Certificates(TerminalCase):
    """Certificates whose every name attacks: the subject, the issuer, hosts and URIs of subjectAltName."""

    #: A title, a cursor, a clipboard, what reorders, hides and piles up; as long as a name may be.
    EVIL = f"{ESC}]0;own\x07{ESC}[66H\x9b2J{ESC}]52;c;QQ\x07\u202e\u200b\r\x00e" + "\u0301" * 12
    #: The same in ASCII, which is all that a subjectAltName holds.
    ASCII = f"{ESC}]0;own\x07{ESC}[66;66H{ESC}]52;c;QQ\x07\r\x00e"

    def certificates(
        self,
        directory: str,
        *hosts: x509.GeneralName,
        user: str = "encchat:alice",
        by: Authority | None = None,
    ) -> tuple[str, Authority]:
        """An authority, a server and alice in a directory; returns the cipher that uses it, and the authority
        (``by``, if there is one already)."""
        authority, where = by or Authority(self.EVIL), self.home / directory
        where.mkdir(mode=0o700)
        (where / "ca.pem").write_bytes(authority.pem)
        here = x509.IPAddress(ip_address("127.0.0.1"))
        authority.server(here, *hosts, name=self.EVIL).write(where, "server")
        authority.user(name=self.EVIL, names=[uri(user)]).write(where, "alice")
        return f"tls:certs={where}", authority

    def check(self, *lines: str) -> None:
        for line in lines:
            self.assertFalse([c for c in line if is_unsafe(c)], line)
            self.assertNotRegex(line, "\u0301{9}")

    async def test_on_the_screen_and_in_the_log(self) -> None:
        cipher, _ = self.certificates("certs")
        service = await self.serve("--cipher", cipher)
        for name, *options in (("alice",), ("alice", "--linear")):
            screen = self.screen("--cipher", cipher, "--wire", "-", *options, service.address, name=name)
            await screen.told("in +lobby with")
            await screen.told("certified by")
            screen.enter("/quit")
            await self.finish(screen)
            self.check(OWN.sub("", screen.raw.decode("utf-8")))
            self.assertEqual(screen.title, "")
        await service.stop()
        self.check(*service.out, *service.err)

    async def test_in_refusals(self) -> None:
        evil_hosts = x509.DNSName(f"a{self.ASCII}.b"), uri(f"x:{self.ASCII}")
        others, _ = self.certificates("others")
        good, authority = self.certificates("good")
        elsewhere, _ = self.certificates("elsewhere", *evil_hosts, by=authority)
        nobody, _ = self.certificates("nobody", user=f"encchat:{self.ASCII}", by=authority)
        stranger, _ = self.certificates("stranger")
        (self.home / "stranger" / "ca.pem").write_bytes(authority.pem)
        for serving, asking, code, word in (
            (good, others, 77, "who is not in"),
            (elsewhere, good, 77, "certificate is for a"),
            (good, nobody, 78, "names no user"),
            (good, stranger, 77, "does not accept the authority"),
        ):
            service = await self.serve("--cipher", serving)
            child = self.client("--cipher", asking, service.address, name="alice")
            child.close_stdin()
            self.assertEqual(await child.end(), code, child.report())
            self.assertIn(word, "\n".join(child.err))
            self.check(*child.out, *child.err)
            await service.stop()
            self.check(*service.out, *service.err)
        self.assertTrue(any("who is not in" in line for line in service.out), service.report())
