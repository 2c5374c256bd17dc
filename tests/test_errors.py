"""An error is a sentence for the one who must act, and carries nothing dangerous."""

from __future__ import annotations

import importlib
import pkgutil
import signal
import string
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import encchat
from encchat.errors import (
    ConfigError,
    EncchatError,
    LinkError,
    PeerError,
    RefusedError,
    StorageError,
    UsageError,
)
from tests.hostile import is_unsafe


class Pointed(RefusedError):
    """The {thing} of {owner!r} costs {price:.2f}. In braces: {{not a fact}}."""

    code = "pointed"


class Wordless(Pointed):
    pass


class Sentences(SynchronousTestCase):
    """How the docstring becomes the sentence."""

    def test_facts(self) -> None:
        """The facts fill the braces, numbers as the sentence formats them."""
        error = Pointed(thing="boat", owner="alice", price=2)
        self.assertEqual(str(error), "The boat of 'alice' costs 2.00. In braces: {not a fact}.")
        self.assertEqual(error.facts["owner"], "alice")

    def test_inherited(self) -> None:
        """A class without a sentence of its own has its parent's."""
        self.assertEqual(
            str(Wordless(thing="a", owner="b", price=1)), str(Pointed(thing="a", owner="b", price=1))
        )

    def test_several_lines(self) -> None:
        """However the docstring is broken into lines, people read one."""

        class Long(EncchatError):
            """One sentence
            that goes on.

            And another.
            """

        self.assertEqual(str(Long()), "One sentence that goes on. And another.")

    def test_braces_in_facts(self) -> None:
        """A fact is not a format: braces from outside are shown as they are."""
        for text in ("{", "}", "{reason}", "{0}", "{reason.__class__}", "{{}}", "%s", "{reason!r:>1000000}"):
            self.assertEqual(str(UsageError(reason=text)), text)

    @given(st.text())
    def test_facts_are_cleaned(self, text: str) -> None:
        """No fact steers a terminal, whether it is a string or says it as a string."""

        class Speaking:
            def __str__(self) -> str:
                return text

        for fact in (text, Speaking(), ValueError(text), [text], text.encode("utf-8", "surrogatepass")):
            shown = str(PeerError(reason=fact))
            self.assertFalse(any(map(is_unsafe, shown)), repr(shown))
            self.assertNotIn("\n", shown)

    def test_facts_are_bounded(self) -> None:
        """A megabyte from outside does not become a megabyte of log."""
        self.assertLess(len(str(PeerError(reason="x" * 2**20))), 500)


class Tree(SynchronousTestCase):
    """One tree, split by who must act."""

    def test_exit_codes(self) -> None:
        """The codes that scripts rely on (sysexits.h)."""
        self.assertEqual(
            {kind: kind.exit_code for kind in (UsageError, ConfigError, PeerError, RefusedError, LinkError)},
            {UsageError: 2, ConfigError: 78, PeerError: 76, RefusedError: 77, LinkError: 69},
        )

    def test_every_error(self) -> None:
        """Every error of encchat stands under one branch, unless it says that the fault is our own (and then
        it keeps the root's code and exit code). Each has a sentence that can be filled in, a stable
        word that fits the wire, and an exit code that is one of ours."""
        branches = (UsageError, ConfigError, PeerError, RefusedError, StorageError, LinkError)
        found = set(_descendants(EncchatError))
        self.assertGreaterEqual(found, set(branches))
        for kind in found:
            if not kind.__module__.startswith("encchat."):
                continue
            our_fault = (kind.code, kind.exit_code) == (EncchatError.code, EncchatError.exit_code)
            hangup = kind.exit_code == 128 + signal.SIGHUP  # nobody has to act: nobody is there
            self.assertTrue(issubclass(kind, branches) or our_fault or hangup, kind)
            self.assertRegex(kind.code, r"\A[a-z]+(-[a-z]+)*\Z", kind)
            self.assertLessEqual(len(kind.code), 32)
            self.assertIn(kind.exit_code, {1, 2, 69, 76, 77, 78, 129}, kind)
            self.assertTrue(kind.__doc__, f"{kind} has no sentence")
            for _, name, _, _ in string.Formatter().parse(kind.__doc__ or ""):
                self.assertTrue(name is None or name.isidentifier(), f"{kind}: {name!r} is no fact's name")


def _descendants(kind: type[EncchatError]) -> Iterator[type[EncchatError]]:
    for module in pkgutil.walk_packages(encchat.__path__, "encchat."):
        importlib.import_module(module.name)
    waiting = [kind]
    while waiting:
        for child in waiting.pop().__subclasses__():
            yield child
            waiting.append(child)
