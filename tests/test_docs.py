"""The generated pages are those that the code would write now, and their example is true."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from encchat.messages import CLIENT_MESSAGES, SERVER_MESSAGES, Entry
from encchat.wire import decode_entry

DOCS = Path(__file__).resolve().parent.parent / "docs"


def generator() -> ModuleType:
    """docs/generate.py, which is a script and in no package."""
    spec = spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Pages(SynchronousTestCase):
    """docs/generate.py, and what it wrote."""

    def setUp(self) -> None:
        """Load it, over pages of its own."""
        self.generate = generator()
        self.place = Path(self.mktemp())
        self.place.mkdir()

    def test_fresh(self) -> None:
        """No page is stale. (If this fails: make docs.)"""
        self.assertEqual(self.generate.stale_pages(write=False), [])

    def test_every_message_is_described(self) -> None:
        """Each message has a line with all its fields."""
        page = (DOCS / "protocol.md").read_text(encoding="utf-8")
        for message in (*CLIENT_MESSAGES, *SERVER_MESSAGES):
            line = re.search(rf"^\| `{message.__name__.lower()}` \|.*$", page, re.MULTILINE)
            assert line is not None, message
            for field in message.__struct_fields__:
                self.assertIn(f"`{field}`", line[0])

    def test_stale(self) -> None:
        """A page that somebody changed by hand, or not at all, is found and mended."""
        self.pretend("a <!-- begin x -->\nold\n<!-- end x --> z")
        self.assertEqual(self.run_main("--check"), (1, "docs/page.md is stale: run make docs\n"))
        self.assertEqual(self.run_main(), (0, "docs/page.md written\n"))
        self.assertEqual(self.page.read_text(), "a <!-- begin x -->\nnew\n<!-- end x --> z")
        self.assertEqual(self.run_main("--check"), (0, ""))

    def test_marks_missing(self) -> None:
        """A page that lost its marks is an error, not a page without a part."""
        for text in ("", "<!-- begin x -->\n", "<!-- end x -->", "<!-- end x --><!-- begin x -->\n"):
            self.pretend(text)
            self.assertRaises(ValueError, self.run_main, "--check")

    def test_usage(self) -> None:
        """Any other argument is a mistake."""
        self.assertEqual(self.run_main("--chekc")[0], 2)

    def pretend(self, text: str) -> None:
        """Let there be one page, with this text."""
        self.page = self.place / "page.md"
        self.page.write_text(text)
        self.patch(self.generate, "DOCS", self.place)
        self.patch(self.generate, "PAGES", {"page.md": {"x": lambda: iter(["new"])}})

    def run_main(self, *arguments: str) -> tuple[int, str]:
        """Run the script; what it returns and what it says."""
        with redirect_stderr(io.StringIO()) as said:
            return self.generate.main(arguments), said.getvalue()


class WorkedExample(SynchronousTestCase):
    """The example of the hash chain in docs/protocol.md, computed from the page alone."""

    def test_chain(self) -> None:
        """Whoever implements the chain by hand gets what the page says."""
        page = (DOCS / "protocol.md").read_text(encoding="utf-8")
        _, _, example = page.partition("<!-- begin chain -->")
        example, _, _ = example.partition("<!-- end chain -->")
        chains = [bytes.fromhex(text) for text in re.findall(r"chain\(\d\) = ([0-9a-f]{64})", example)]
        frames = [
            bytes.fromhex(text)
            for text in re.findall(r"^entry .*\n((?:  [0-9a-f ]+\n)+)", example, re.MULTILINE)
        ]
        self.assertEqual((len(chains), len(frames)), (3, 2))
        self.assertEqual(chains[0], bytes(32))
        for number, frame in enumerate(frames):
            self.assertEqual(sha256(chains[number] + frame).digest(), chains[number + 1])
            entry = decode_entry(frame)
            self.assertIsInstance(entry, Entry)
            self.assertEqual(entry.seq, number + 1)
