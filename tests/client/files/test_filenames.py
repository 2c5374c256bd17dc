"""Names of files from the network: whatever they are, they stay in the directory and show what they are."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from encchat.client.files.filenames import MAX_NAME, candidates, place, safe_name
from tests.hostile import is_unsafe


class Names(TestCase):
    """What becomes of a name."""

    def test_known_tricks(self) -> None:
        for name, safe in (
            ("report.pdf", "report.pdf"),
            ("Jahresbericht 2026 – Entwurf.odt", "Jahresbericht 2026 – Entwurf.odt"),
            ("../../.ssh/authorized_keys", "_.._.ssh_authorized_keys"),
            ("..", "file"),
            ("", "file"),
            ("   ", "file"),
            ("/etc/passwd", "_etc_passwd"),
            ("C:\\boot.ini", "C__boot.ini"),
            (".bashrc", "bashrc"),
            ("-rf", "_rf"),
            ("~root", "_root"),
            ("nul.txt", "_nul.txt"),
            ("CON", "_CON"),
            ("com1.tar.gz", "_com1.tar.gz"),
            ("console.log", "console.log"),
            ("a\nb\x1b[31m.txt", "a b.txt"),
            ("evil\u202efdp.exe", "evilfdp.exe"),
            ("name. . ", "name"),
            ('a*?<>|"b', "a______b"),
            ("\ud800", "file"),
        ):
            self.assertEqual(safe_name(name), safe, repr(name))

    def test_long_names_keep_their_ending(self) -> None:
        self.assertEqual(safe_name("x" * 500 + ".tar"), "x" * (MAX_NAME - 4) + ".tar")
        self.assertEqual(len(safe_name("é" * 500).encode()), MAX_NAME)
        self.assertEqual(safe_name("a." + "b" * 500), "a." + "b" * (MAX_NAME - 2))

    @settings(deadline=None, max_examples=300)
    @given(st.text(max_size=300))
    def test_any_text(self, name: str) -> None:
        safe = safe_name(name)
        self.assertTrue(safe)
        self.assertLessEqual(len(safe.encode()), MAX_NAME)
        self.assertEqual(Path("/d", safe).parent, Path("/d"))
        self.assertNotIn(safe[0], ".-~ ")
        self.assertFalse(any(map(is_unsafe, safe)))
        self.assertEqual(safe_name(safe), safe)

    def test_numbers_where_it_is_taken(self) -> None:
        for name, second in (
            ("report.pdf", "report (1).pdf"),
            ("a.tar.gz", "a.tar (1).gz"),
            ("README", "README (1)"),
        ):
            found = candidates(name)
            self.assertEqual([next(found), next(found)], [name, second])


class Places(TestCase):
    """Where a file goes."""

    def test_where_the_person_wants_it(self) -> None:
        there = Path(self.mktemp())
        there.mkdir()
        self.assertEqual(place(str(there), "../a.txt"), (there, "_a.txt"))
        self.assertEqual(place(f"{there}/b.txt", "a.txt"), (there, "b.txt"))
        self.assertEqual(place(f"{there}/new/", "a.txt"), (there / "new", "a.txt"))

    def test_downloads_or_here(self) -> None:
        downloads = Path(self.mktemp()).absolute()
        with patch("platformdirs.user_downloads_path", return_value=downloads):
            self.assertEqual(place(None, "a.txt"), (Path().absolute(), "a.txt"))
            downloads.mkdir()
            self.assertEqual(place(None, "a.txt"), (downloads, "a.txt"))

    def test_no_home(self) -> None:
        with patch("platformdirs.user_downloads_path", side_effect=RuntimeError):
            self.assertEqual(place(None, "a.txt"), (Path().absolute(), "a.txt"))
