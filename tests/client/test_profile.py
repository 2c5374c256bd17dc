"""Where a profile is, and for whom."""

import os
import stat
from pathlib import Path
from unittest import skipIf
from unittest.mock import patch

import platformdirs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from encchat.client import profile
from encchat.client.profile import (
    BadNameOption,
    BadPlace,
    NoHome,
    NoLoginName,
    choose_name,
    default_place,
    directory_name,
    open_profile,
)
from encchat.core.names import Name, parse_name
from encchat.errors import ConfigError

alice = parse_name("alice")


class ChoosingAName(TestCase):
    def test_the_option_goes_first(self) -> None:
        self.assertEqual(choose_name("bob", {"ENCCHAT_NAME": "carol"}).shown, "bob")

    def test_then_the_environment(self) -> None:
        self.assertEqual(choose_name(None, {"ENCCHAT_NAME": "carol"}).shown, "carol")

    def test_then_the_login_name(self) -> None:
        with patch.object(profile.getpass, "getuser", return_value="dave"):
            self.assertEqual(choose_name(None, {}).shown, "dave")

    def test_a_bad_option_is_a_usage_error(self) -> None:
        for bad in ("", "a\nb", "a b", "\x1b[31m", "x" * 33):
            error = self.assertRaises(BadNameOption, choose_name, bad, {})
            self.assertEqual(error.exit_code, 2)
            self.assertIn("--name", str(error))

    def test_a_login_name_that_cannot_be_one(self) -> None:
        with patch.object(profile.getpass, "getuser", return_value="CORP\\dave"):
            error = self.assertRaises(NoLoginName, choose_name, None, {})
        self.assertIn("--name", str(error))

    def test_no_login_name(self) -> None:
        for failure in (OSError(), KeyError("uid"), ImportError()):
            with patch.object(profile.getpass, "getuser", side_effect=failure):
                self.assertRaises(NoLoginName, choose_name, None, {})


class Directories(TestCase):
    def test_plain_names_stay_readable(self) -> None:
        self.assertEqual(directory_name(alice), "alice")
        self.assertEqual(directory_name(parse_name("Al.i-c_e9")), "al.i-c_e9")

    def test_other_names_are_quoted(self) -> None:
        self.assertEqual(directory_name(Name("é", "é")), "%c3%a9")
        self.assertEqual(directory_name(Name("..", "..")), "%2e.")

    def test_long_ones_are_hashed(self) -> None:
        self.assertEqual(len(directory_name(Name("字" * 32, "字" * 32))), 65)

    @settings(max_examples=200, deadline=None)
    @given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
    def test_any_name_has_a_safe_directory_of_its_own(self, one: str, other: str) -> None:
        try:
            first, second = (directory_name(Name(text, text)) for text in (one, other))
        except UnicodeEncodeError:  # a lone surrogate, which no name has
            return
        self.assertRegex(first, r"\A[a-z0-9%_-][a-z0-9._%-]{0,120}\Z")
        self.assertEqual(first == second, one == other)


class Opening(TestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()

    def test_a_new_one_is_for_its_owner_alone(self) -> None:
        old = os.umask(0)
        try:
            directory = open_profile(alice, self.state)
        finally:
            os.umask(old)
        self.assertEqual(directory, self.state / "alice")
        self.assertEqual(stat.S_IMODE(directory.stat().st_mode), 0o700)

    def test_again(self) -> None:
        self.assertEqual(open_profile(alice, self.state), open_profile(alice, self.state))

    def test_an_open_one_is_closed_to_others(self) -> None:
        directory = open_profile(alice, self.state)
        directory.chmod(0o755)
        open_profile(alice, self.state)
        self.assertEqual(stat.S_IMODE(directory.stat().st_mode), 0o700)

    def test_a_file_in_the_way(self) -> None:
        self.state.write_text("")
        error = self.assertRaises(BadPlace, open_profile, alice, self.state)
        self.assertIsInstance(error, ConfigError)
        self.assertIn("--state", str(error))

    def test_a_path_that_cannot_be(self) -> None:
        self.assertRaises(BadPlace, open_profile, alice, Path("a\0b"))

    def test_another_users(self) -> None:
        open_profile(alice, self.state)
        with patch.object(profile.os, "geteuid", return_value=os.geteuid() + 1):
            error = self.assertRaises(BadPlace, open_profile, alice, self.state)
        self.assertIn("another user", str(error))

    def test_one_that_cannot_be_written(self) -> None:
        with patch.object(profile.os, "access", return_value=False):
            self.assertRaises(BadPlace, open_profile, alice, self.state)

    @skipIf(os.geteuid() == 0, "root may write anywhere")
    def test_a_read_only_place(self) -> None:
        self.state.mkdir(mode=0o500)
        self.assertRaises(BadPlace, open_profile, alice, self.state)

    def test_the_default_is_where_xdg_says(self) -> None:
        with patch.dict(os.environ, {"XDG_DATA_HOME": str(self.state)}):
            self.assertEqual(open_profile(alice, None), self.state / "encchat" / "client" / "alice")

    def test_no_home(self) -> None:
        with patch.object(platformdirs, "user_data_path", return_value=Path("~/.local/share/encchat")):
            self.assertRaises(NoHome, default_place)
        with patch.object(platformdirs, "user_data_path", side_effect=RuntimeError()):
            self.assertRaises(NoHome, default_place)
