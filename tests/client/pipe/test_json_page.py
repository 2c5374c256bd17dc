"""docs/json.md and what is printed are the same, field by field; the page is the contract with scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from encchat import contents
from encchat import messages as m
from encchat.ciphers.explaining import Part
from encchat.client import events as e
from encchat.client.pipe import jsonlines
from encchat.core.sealed import events as fx
from encchat.errors import EncchatError
from encchat.wiretap import jsonfile
from encchat.wiretap.seen import Began, Ended, Opened, Seen
from tests.strategies import client_messages, of, server_messages
from tests.wiretap.rig import TIME, WIRE, opened, proved, sealed

PAGE = (Path(__file__).parents[3] / "docs" / "json.md").read_text("utf-8")
#: A field of the page: its name, its type, and whether it may be missing.
FIELD = re.compile(r"`(\w+)` (list of \w+|\w+)( \?)?")
HASH = "ab" * 32
#: All but the news about keys, which no line tells as they are, and which are no structures of msgspec's.
EVENTS: list[type] = [kind for kind in get_args(e.Event) if kind is not e.SealedNews]


def table(name: str) -> dict[str, dict[str, tuple[str, bool]]]:
    """A table of the page: by the first column, its fields."""
    part = PAGE.partition(f"<!-- begin {name} -->")[2].partition(f"<!-- end {name} -->")[0]
    rows = [row.strip("|").split("|") for row in part.strip().splitlines()[2:]]
    found = {}
    for first, fields, _ in rows:
        described = {field: (kind, bool(maybe)) for field, kind, maybe in FIELD.findall(fields)}
        rest = FIELD.sub("", fields).replace("all of *entry*", "").strip(" ,")
        assert not rest, f"the page says something that no test understands: {rest}"
        if "*entry*" in fields:
            described |= table("structures")["entry"]
        found[first.strip(" `*")] = described
    return found


STRUCTURES, OUT, WIRE_OUT = table("structures"), table("events"), table("wire")


class Page(SynchronousTestCase):
    def check(self, value: object, kind: str, where: str) -> None:
        """``value`` is what the page calls ``kind``."""
        if kind.startswith("list of "):
            assert isinstance(value, list), where
            for part in value:
                self.check(part, kind.removeprefix("list of "), where)
        elif kind in STRUCTURES:
            assert isinstance(value, dict), where
            self.check_fields(value, STRUCTURES[kind], where)
        elif kind == "id":
            assert isinstance(value, str), where
            self.assertRegex(value, r"\A([0-9a-f]{2})*\Z", where)
        elif kind in ("number", "time"):
            self.assertIs(type(value), int, where)
        elif kind == "seconds":
            self.assertIn(type(value), (int, float), where)
        elif kind == "flag":
            self.assertIs(type(value), bool, where)
        elif kind == "text":
            self.assertIs(type(value), str, where)
        else:
            self.assertIn(kind, ("any", "part"), where)

    def check_fields(self, found: dict[str, Any], known: dict[str, tuple[str, bool]], where: str) -> None:
        must = {name for name, (_, maybe) in known.items() if not maybe}
        self.assertLessEqual(must, set(found), where)
        self.assertLessEqual(set(found), set(known), where)
        for name, value in found.items():
            self.check(value, known[name][0], f"{where}: {name}")

    def check_line(self, line: bytes, known: dict[str, dict[str, tuple[str, bool]]], *more: str) -> str:
        found = json.loads(line)
        assert line == json.dumps(found, separators=(",", ":")).encode("ascii") + b"\n"
        self.assertEqual(found.pop("v"), 1)
        event = found.pop("event")
        for name in more:
            self.assertIs(type(found.pop(name)), int)
        self.assertIn(event, known, "the page does not tell it")
        self.check_fields(found, known[event], event)
        return str(event)


class Events(Page):
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of([of(kind) for kind in EVENTS]), st.none() | st.text(max_size=5) | st.integers(0, 9))
    def test_every_event(self, event: e.Event, ref: str | int | None) -> None:
        if hasattr(event, "hash"):
            event = replace(event, hash=HASH)
        line = jsonlines.of_event(event, ref)
        if line is not None:
            self.check_line(line, OUT)

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of([st.builds(kind) for kind in get_args(fx.Event)]))
    def test_every_piece_of_news(self, news: fx.Event) -> None:
        line = jsonlines.of_event(e.SealedNews(news))
        if line is not None:
            self.check_line(line, OUT)

    def test_sentences_are_for_oneself(self) -> None:
        """A second machine of one's own is told what it is, and a conversation is called as elsewhere."""
        for me, words in (("alice", "says which devices are yours"), ("bob", "ALICE'S KEY CHANGED")):
            news = fx.IdentityChanged("alice", "SHA256:a", "SHA256:b", "")
            self.assertIn(words, json.loads(jsonlines.of_event(e.SealedNews(news), None, me) or b"")["text"])
        failed = e.RequestFailed(1, "cannot-change", "@alice&bob was not made")
        told = json.loads(jsonlines.of_event(failed, None, "alice") or b"")
        self.assertEqual(told["text"], "@bob was not made")

    def test_the_title_of_a_conversation(self) -> None:
        line = jsonlines.of_event(e.LeftRoom("@alice&bob"))
        assert line is not None
        found = json.loads(jsonlines.with_title(line, "@bob"))
        self.assertEqual((found["room"], found["title"]), ("@alice&bob", "@bob"))

    def test_the_page_tells_nothing_that_does_not_exist(self) -> None:
        source = (
            Path(jsonlines.__file__).read_text() + Path(jsonlines.__file__).with_name("pipe.py").read_text()
        )
        source += Path(jsonlines.__file__).with_name("sealedjson.py").read_text()
        told = set(re.findall(r'line\(\s*"([a-z-]+)"', source))
        self.assertEqual(told, set(OUT))

    @settings(max_examples=80, deadline=None)
    @given(
        st.sampled_from(sorted(contents.CONTENTS)).flatmap(
            lambda kind: st.tuples(st.just(kind), of(contents.CONTENTS[kind]))
        )
    )
    def test_the_kinds_of_entries(self, said: tuple[str, contents.Content]) -> None:
        kind, content = said
        if isinstance(content, contents.File):
            content = replace(content, hash=HASH)
        entry = m.Entry("+ops", 9, TIME, "bob", "", kind, bytes(16), contents.body_of(content))
        line = jsonlines.of_event(e.NewEntry(entry, False, False))
        assert line is not None
        self.check_line(line, OUT)
        found = json.loads(line)
        self.assertIn("shown", found)
        self.assertEqual(found.get("target"), getattr(content, "target", None))
        self.assertEqual("file" in found, kind == "file")

    def test_a_body_that_is_not_of_its_kind(self) -> None:
        for kind in (*contents.CONTENTS, "kick", "poll"):
            entry = m.Entry("+ops", 9, TIME, "bob", "", kind, bytes(16), b"{\xff")
            line = jsonlines.of_event(e.NewEntry(entry, False, False))
            assert line is not None
            self.check_line(line, OUT)


class Input(SynchronousTestCase):
    def test_the_fields(self) -> None:
        part = PAGE.partition("## What goes into --json")[2].partition("\n## ")[0]
        self.assertEqual(
            set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)), set(jsonlines.Input.__struct_fields__)
        )


class Wire(Page):
    @settings(max_examples=60, deadline=None)
    @given(st.one_of(client_messages, server_messages))
    def test_messages(self, message: m.Message) -> None:
        self.check_line(jsonfile.line(opened(message)), WIRE_OUT, "time", "connection")

    def test_the_rest(self) -> None:
        seen: list[Seen] = [
            Began(WIRE, TIME),
            proved(),
            proved(None),
            sealed(b"abc", Part("a record", 3, {"number": 1, "name": "x"})),
            opened(m.Pong()),
            Opened(WIRE, TIME, 1, True, b"hello\n"),
            Opened(WIRE, TIME, 1, False, b"\xff", None, "no frame"),
            Ended(WIRE, TIME, "cut"),
        ]
        told = {self.check_line(jsonfile.line(x), WIRE_OUT, "time", "connection") for x in seen}
        self.assertEqual(told, set(WIRE_OUT))


class ExitCodes(SynchronousTestCase):
    def test_every_error_has_one_that_the_page_tells(self) -> None:
        part = PAGE.partition("### Exit codes")[2].partition("\n## ")[0]
        told = {
            int(code)
            for row in re.findall(r"^\| ([0-9, ]+) \|", part, re.MULTILINE)
            for code in row.split(",")
        }

        def tree(kind: type[EncchatError]) -> list[type[EncchatError]]:
            return [kind, *(deeper for below in kind.__subclasses__() for deeper in tree(below))]

        self.assertLessEqual({kind.exit_code for kind in tree(EncchatError)}, told)
