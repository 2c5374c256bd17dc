"""encchat-admin's words to a running service: what it asks, what it prints, and how it ends."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path
from threading import Thread
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from encchat.cli import control as cli
from encchat.cli.admin import main
from encchat.server import control


class Service:
    """Answers one request on a socket, as it was told to."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.asked: Any = None
        self._answer = answer
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        line, _ = self._listening.accept()
        with line, line.makefile("rb") as asked:
            self.asked = json.loads(asked.readline())
            line.sendall(self._answer)

    def close(self) -> None:
        self._thread.join(10)
        self._listening.close()


class ControlTests(SynchronousTestCase):
    """Each command against a service that says one thing."""

    def setUp(self) -> None:
        place = tempfile.TemporaryDirectory(prefix="encchat")
        self.addCleanup(place.cleanup)
        self.data = Path(place.name)

    def run_with(self, answer: Any, *arguments: str) -> tuple[Result, Any]:
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n"
        service = Service(self.data / cli.FILE, raw)
        done = self.run_alone(*arguments)
        service.close()
        (self.data / cli.FILE).unlink()
        return done, service.asked

    def run_alone(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "--data", str(self.data)])

    def test_the_same_socket(self) -> None:
        self.assertEqual(cli.FILE, control.FILE)

    def test_users(self) -> None:
        user = {
            "name": "bob\x1b[31m",
            "device": "laptop",
            "key": "SHA256:x",
            "cipher": "tls",
            "classic": False,
            "admin": True,
            "since": 1_700_000_000_000,
            "rooms": ["+lobby", "+tea"],
        }
        done, asked = self.run_with({"ok": True, "users": [user]}, "users")
        self.assertEqual(asked, {"do": "users"})
        self.assertEqual(
            done.output,
            "bob (laptop) [admin] over tls since 2023-11-14 22:13Z, SHA256:x: +lobby +tea\n1 sessions.\n",
        )
        done, _ = self.run_with({"ok": True, "users": [user]}, "users", "--json")
        self.assertEqual(json.loads(done.output), [user])

    def test_rooms(self) -> None:
        room = {
            "room": "+tea",
            "access": "private",
            "owners": ["olga"],
            "topic": "Earl\nGrey",
            "members": 3,
            "bans": 1,
            "since": 0,
        }
        done, _ = self.run_with({"ok": True, "rooms": [room]}, "rooms")
        self.assertEqual(done.output, "+tea [private] 3 here, 1 banned, owned by olga: Earl Grey\n1 rooms.\n")

    def test_kick_and_ban(self) -> None:
        done, asked = self.run_with({"ok": True, "closed": 2}, "kick", "bob", "--reason", "go")
        self.assertEqual((done.exit_code, asked), (0, {"do": "kick", "who": "bob", "reason": "go"}))
        self.assertEqual(self.run_with({"ok": True, "closed": 2}, "ban", "bob")[1]["seconds"], 0)
        for written, seconds in (("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("1w", 604_800)):
            done, asked = self.run_with({"ok": True, "closed": 2}, "ban", "bob", "--for", written)
            self.assertEqual((done.exit_code, asked["seconds"]), (0, seconds))
        for written in ("", "0", "0m", "2", "h", "-1h", "1e9d", "2 h", "99999999d", "²h"):
            self.assertEqual(self.run_alone("ban", "bob", "--for", written).exit_code, 2, written)

    def test_unban(self) -> None:
        self.assertEqual(self.run_with({"ok": True, "found": True}, "unban", "bob")[0].exit_code, 0)
        self.assertEqual(self.run_with({"ok": True, "found": False}, "unban", "bob")[0].exit_code, 1)

    def test_rekey(self) -> None:
        done, asked = self.run_with({"ok": True, "closed": 2}, "rekey", "bob", "SHA256:x")
        self.assertEqual(asked, {"do": "rekey", "who": "bob", "key": "SHA256:x"})
        self.assertIn("2 sessions closed", done.output)

    def test_rename_and_announce(self) -> None:
        _, asked = self.run_with({"ok": True}, "rename", "bob", "robert")
        self.assertEqual(asked, {"do": "rename", "who": "bob", "to": "robert"})
        done, asked = self.run_with({"ok": True, "told": 3}, "announce", "down at noon")
        self.assertEqual((done.output, asked["text"]), ("3 sessions were told.\n", "down at noon"))
        self.assertEqual(self.run_alone("announce", " ").exit_code, 2)

    def test_a_refusal(self) -> None:
        done, _ = self.run_with({"ok": False, "code": "x", "text": "Nobody\x1b[31m."}, "kick", "bob")
        self.assertEqual((done.exit_code, done.stderr), (1, "encchat-admin: Nobody.\n"))

    def test_no_service(self) -> None:
        done = self.run_alone("users")
        self.assertEqual(done.exit_code, 69)
        self.assertIn("No service runs on", done.stderr)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.data / cli.FILE))
            left.listen()
        self.assertEqual(self.run_alone("users").exit_code, 69)

    def test_a_service_that_answers_badly(self) -> None:
        for answer in (b"", b"what\n", b"[]\n", b"{}\n", b'{"ok": 1}\n', b'{"ok": true', b"\xff\n"):
            done, _ = self.run_with(answer, "users")
            self.assertEqual(done.exit_code, 69, answer)
            self.assertIn("does not answer", done.stderr)
