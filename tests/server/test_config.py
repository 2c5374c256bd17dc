"""Options from flags and from a file."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from encchat.errors import ConfigError, UsageError
from encchat.server.config import DEFAULT_ENDPOINT, Config, load
from tests.core.world import identity


class Listeners(TestCase):
    """The n-th cipher belongs to the n-th port."""

    def test_default(self) -> None:
        self.assertEqual(Config().listeners(), [(DEFAULT_ENDPOINT, "rsa")])

    def test_pairs(self) -> None:
        config = Config(cipher=("rsa", "tls:certs=x"), port=("tcp:1", "tcp:2"))
        self.assertEqual(config.listeners(), [("tcp:1", "rsa"), ("tcp:2", "tls:certs=x")])

    def test_numbers_differ(self) -> None:
        for config in (
            Config(cipher=("rsa", "tls")),
            Config(port=("tcp:1", "tcp:2")),
            Config(cipher=("rsa", "tls"), port=("tcp:1",)),
        ):
            self.assertRaises(UsageError, config.listeners)


class Checks(TestCase):
    """What makes no sense is said in a sentence."""

    def test_fine(self) -> None:
        config = Config()
        self.assertIs(config.check(), config)
        Config(access="members", members="file").check()
        Config(admin=(identity("root").fingerprint, identity("other").fingerprint)).check()

    def test_mistakes(self) -> None:
        for config, word in (
            (Config(access="closed"), "--access"),
            (Config(access="members"), "--members"),
            (Config(members="file"), "--access members"),
            (Config(log="paper"), "--log"),
            (Config(durability="some"), "--durability"),
            (Config(motd="x" * 5000), "--motd"),
            (Config(admin=("SHA256:short",)), "--admin"),
            (Config(rate=-1), "--rate"),
            (Config(burst=0), "--burst"),
            (Config(retain=("-1",)), "--retain -1"),
            (Config(retain_entries=("+ops=many",)), "--retain-entries +ops=many"),
            (Config(max_half_open=0), "--max-half-open"),
            (Config(max_per_address=-1), "--max-per-address"),
            (Config(max_new_names=-1), "--max-new-names"),
            (Config(file_limit=-1), "--file-limit"),
            (Config(file_days=-1), "--file-days"),
            (Config(file_limit=2000), "--file-quota"),
            (Config(file_quota=20_000), "--file-space"),
            (Config(max_connections=2**40), "--max-connections"),
        ):
            self.assertIn(word, str(self.assertRaises(UsageError, config.check)))


class Files(TestCase):
    """TOML, checked key by key."""

    def file(self, text: str | bytes) -> Path:
        path = Path(self.mktemp())
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def test_options(self) -> None:
        path = self.file(
            'cipher = ["rsa", "tls:certs=c"]\nport = "tcp:1"\nmax-half-open = 3\n'
            'announce = true\nmotd = "hi"\n'
            'retain = 30\nretain-entries = ["1000", "+ops=0"]'
        )
        self.assertEqual(
            load(path),
            {
                "cipher": ("rsa", "tls:certs=c"),
                "port": ("tcp:1",),
                "max_half_open": 3,
                "announce": True,
                "motd": "hi",
                "retain": ("30",),
                "retain_entries": ("1000", "+ops=0"),
            },
        )

    def test_mistakes(self) -> None:
        for text, word in (
            ("colour = 'red'", "colour"),
            ("rate = 'fast'", "rate must be a whole number"),
            ("rate = true", "rate must be a whole number"),
            ("motd = 5", "motd must be a text"),
            ("announce = 1", "announce must be true or false"),
            ("port = [1]", "port must be a text or a list"),
            ("cipher = []", "cipher must be a text or a list"),
            ("cipher", "not TOML"),
            (b"\xff\xfe", "not UTF-8"),
            ("#" * 2_000_000, "more than"),
        ):
            self.assertIn(word, str(self.assertRaises(ConfigError, load, self.file(text))))

    def test_missing(self) -> None:
        self.assertIn("cannot be read", str(self.assertRaises(ConfigError, load, Path("/no/such/file"))))
        self.assertIn("cannot be read", str(self.assertRaises(ConfigError, load, Path("/"))))

    def test_members(self) -> None:
        path = self.file("alice\nbob SHA256:" + "A" * 43 + "\n")
        policy = Config(access="members", members=str(path)).policy()
        self.assertEqual(set(policy.members or ()), {"alice", "bob"})
        self.assertIsNone(Config().policy().members)
        self.assertRaises(ConfigError, Config(access="members", members="/no/such/file").policy)
