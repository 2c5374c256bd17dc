"""The client at the end of docs/protocol.md is true: it is run as it stands there, against a real service."""

from __future__ import annotations

import re

from tests.ciphers.tls.authority import Authority, write_set
from tests.process.harness import ROOT, Child, ProcessCase

PAGE = ROOT / "docs" / "protocol.md"


class Page(ProcessCase):
    def talk(self, name: str, text: str) -> Child:
        """The program of the page, running."""
        return self.spawn(["talk.py", "localhost", self.port, "certs", name, text], Child(f"talk.py {name}"))

    async def test_the_client_of_fifty_lines(self) -> None:
        (program,) = re.findall(r"^```python\n# talk\.py\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
        self.assertLess(program.count("\n"), 55)
        (self.home / "talk.py").write_text(program)
        write_set(self.home / "certs", Authority(), "alice", "bob")
        service = await self.serve("--cipher", f"tls:certs={self.home / 'certs'}")
        self.port = str(service.port)
        for name, text, told in (
            ("alice", "hello", ["#1 'alice': 'hello'", "stored as #1"]),
            ("bob", "\x1b[2J", ["#1 'alice': 'hello'", "#2 'bob': '\\x1b[2J'", "stored as #2"]),
        ):
            child = self.talk(name, text)
            self.assertEqual(await child.end(), 0, child.report())
            self.assertEqual((child.out, child.err), (told, []))
