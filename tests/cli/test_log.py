"""``encchat-admin log``, ``backup`` and ``restore``: logs that are whole, damaged, of others, and in use."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
from contextlib import closing
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from unittest.mock import patch

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from encchat.cli.admin import main
from encchat.contents import File, Reply, body_of
from encchat.core.interfaces import Draft
from encchat.logs.partials import partial_beside
from encchat.logs.schema import UPGRADES, open_writer
from encchat.logs.sqlite import SqliteLog
from encchat.logs.verify import verify
from tests.contracts.log import draft
from tests.logs.rig import Rig, open_log

#: A program that is killed while it writes a backup.
KILLED = """
import os, signal, sys
from pathlib import Path
from encchat.logs.partials import partial_beside
with partial_beside(Path(sys.argv[1]) / "copy"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
#: What a person may not do to whoever looks at an export.
EVIL = "<script>alert('&')</script> \x1b[31mred\u202e\x9b2J\x07 \u2028end"


class LogCase(SynchronousTestCase):
    """A data directory with a log in it, and the command."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp()).absolute()
        self.path = self.data / "log.sqlite"
        self.rig = Rig()

    def open(self) -> SqliteLog:
        return open_log(self, self.path, self.rig)

    def fill(self, *drafts: Draft) -> None:
        log = self.open()
        self.rig.wait(log.append(drafts))
        self.rig.wait(log.close())

    def invoke(self, *arguments: str | Path, data: bool = True) -> Result:
        more = ["--data", str(self.data)] if data else []
        return CliRunner().invoke(main, [*map(str, arguments), *more])

    def done(self, *arguments: str | Path) -> str:
        done = self.invoke(*arguments)
        self.assertEqual((done.exit_code, done.stderr), (0, ""), done.output)
        return done.stdout

    def refused(self, code: int, word: str, *arguments: str | Path) -> None:
        done = self.invoke(*arguments)
        self.assertEqual(done.exit_code, code, done.output)
        self.assertIn(word, done.stderr)
        if code != 2:
            self.assertTrue(done.stderr.startswith("encchat-admin: "), done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        self.assertNotIn("Traceback", done.output)

    def damage(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            (frames,) = connection.execute("SELECT frames FROM blocks WHERE id = 1").fetchone()
            connection.execute("UPDATE blocks SET frames = ? WHERE id = 1", (frames.replace(b"one", b"won"),))
            connection.commit()


class Whole(LogCase):
    """A log with entries in two rooms."""

    def setUp(self) -> None:
        super().setUp()
        self.fill(
            draft(1, body=b"one"), draft(2, body=EVIL.encode()), draft(3, room="+other", body=b"\xff\xfe")
        )

    def test_verify(self) -> None:
        self.assertEqual(self.done("log", "verify"), "All is well: 3 entries in 2 rooms.\n")

    def test_verify_tells_what_is_wrong(self) -> None:
        self.damage()
        done = self.invoke("log", "verify")
        self.assertEqual(done.exit_code, 1)
        self.assertIn("was changed", done.stdout)
        self.assertIn("restore FILE", done.stdout)
        content = bytearray(self.path.read_bytes())
        content[8192 + 8 : 8192 + 100] = bytes(92)
        self.path.write_bytes(content)
        self.assertEqual(self.invoke("log", "verify").exit_code, 1)

    def test_stats(self) -> None:
        said = self.done("log", "stats")
        self.assertIn("3 entries in 2 rooms", said)
        found = json.loads(self.done("log", "stats", "--json"))
        self.assertEqual([(r["room"], r["head"], r["kept"]) for r in found["rooms"]][1], ("+other", 1, 1))
        self.assertGreater(found["rooms"][0]["bytes"], 100)

    def test_json_has_everything(self) -> None:
        said = self.done("log", "export")
        self.assertTrue(said.isascii())
        self.assertEqual([c for c in said if not c.isprintable()], ["\n"] * 3)
        first, second, third = map(json.loads, said.splitlines())
        self.assertEqual(first["body"], "one")
        self.assertEqual(second["body"], EVIL)
        self.assertEqual((second["seq"], second["msgid"]), (2, draft(2).msgid.hex()))
        self.assertEqual(third["body_base64"], "//4=")

    def test_text_is_clean(self) -> None:
        said = self.done("log", "export", "--format", "text", "--room", "+lobby")
        self.assertEqual([c for c in said if not c.isprintable()], ["\n"] * 3)
        self.assertIn(" #1 Alice: one\n", said)
        self.assertNotIn("+other", said)

    def test_acts_are_told_as_clients_tell_them(self) -> None:
        bodies: list[tuple[str, bytes]] = [
            ("ban", b'{"name": "bob", "seconds": 7200, "reason": "spam"}'),
            ("reply", body_of(Reply(1, "a <late> answer"))),
            ("file", body_of(File("notes.pdf", 2048, "0" * 64))),
            ("sealed", bytes(40)),
            ("text", b"two\nBob: lines"),
        ]
        self.fill(
            *(draft(n, room="+acts", kind=kind, body=body) for n, (kind, body) in enumerate(bodies, 50))
        )
        said = self.done("log", "export", "--format", "text", "--room", "+acts").splitlines()
        for line, words in zip(
            said[1:],
            (
                "* Alice banned bob for 2 hours: spam",
                "* Alice: (to #1) a <late> answer",
                "* Alice offers the file notes.pdf (2 KiB)",
                "* Alice, sealed: (40 bytes, sealed)",
                "#5 Alice: two",
                "#5 | Bob: lines",
            ),
            strict=True,
        ):
            self.assertTrue(line.endswith(words), line)
        html = self.done("log", "export", "--format", "html", "--room", "+acts")
        self.assertIn(' #2</time><span class="act">* Alice: (to #1) a &lt;late&gt; answer</span>', html)

    def test_the_search_index(self) -> None:
        log = self.open()
        self.rig.wait(log.append([draft(n, body=b"tea" + b"." * 900) for n in range(60, 80)]))
        self.rig.wait(log.index())
        self.refused(78, "in use by another server", "log", "reindex")
        self.rig.wait(log.close())
        self.assertIn("All is well", self.done("log", "verify"))
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("INSERT INTO search (rowid, words) VALUES (1, 'coffee')")
        done = self.invoke("log", "verify")
        self.assertEqual(done.exit_code, 1)
        self.assertIn("the search index has", done.stdout)
        self.assertIn("encchat-admin log reindex", done.stdout)
        self.assertIn("made anew", self.done("log", "reindex"))
        self.assertIn("All is well", self.done("log", "verify"))
        log = self.open()
        self.rig.wait(log.index())
        self.assertEqual(self.rig.wait(log.verify()), [])

    def test_html_is_inert(self) -> None:
        said = self.done("log", "export", "--format", "html")
        tags: set[str] = set()
        words: list[str] = []

        class Parser(HTMLParser):
            def handle_starttag(self, tag: str, attrs: object) -> None:
                tags.add(tag)

            def handle_data(self, data: str) -> None:
                words.append(data)

        Parser().feed(said)
        self.assertLessEqual(
            tags, {"html", "head", "meta", "title", "style", "body", "h2", "p", "time", "b", "i", "span"}
        )
        self.assertIn("<script>alert('&')</script>", "".join(words))
        self.assertIn("default-src 'none'", said)
        self.assertEqual([c for c in said if not c.isprintable() and c != "\n"], [])

    def test_output_is_private_new_and_whole(self) -> None:
        target = self.data / "page.html"
        self.assertEqual(self.done("log", "export", "--format", "html", "--output", target), "")
        self.assertEqual(stat.S_IMODE(target.stat().st_mode), 0o600)
        self.assertTrue(target.read_text().endswith("</html>\n"))
        self.refused(78, "cannot be written", "log", "export", "--output", target)
        self.refused(78, "cannot be written", "log", "export", "--output", self.data / "no" / "file")

    def test_output_that_was_cut_off_has_no_name(self) -> None:
        target = self.data / "cut.txt"
        before = sorted(os.listdir(self.data))

        def die(*_: object) -> None:
            self.assertFalse(target.exists())
            raise OSError(28, "No space left on device")

        with patch("encchat.cli.log.finish", die):
            self.refused(78, "No space left", "log", "export", "--output", target)
        left = sorted(name for name in os.listdir(self.data) if not name.endswith(("-wal", "-shm")))
        self.assertEqual(left, before)

    def test_unknown_room(self) -> None:
        self.refused(2, "+nowhere", "log", "export", "--room", "+nowhere")
        self.assertEqual(self.invoke("log", "export", "--format", "docx").exit_code, 2)

    def test_beside_a_service(self) -> None:
        log = self.open()
        self.rig.wait(log.append([draft(4, body=b"four")]))
        self.assertIn("four", self.done("log", "export"))
        self.assertEqual(self.done("log", "verify"), "All is well: 4 entries in 2 rooms.\n")
        copy, alone = self.data / "copy", self.data / "alone"
        self.done("backup", copy)
        self.done("backup", "--without-files", alone)
        self.rig.wait(log.append([draft(5)]))
        self.assertEqual(list(verify(alone)), [])
        # One that runs is not replaced under its feet.
        self.refused(78, "in use by another server", "restore", copy)
        self.rig.wait(log.close())

    def test_backup_and_restore(self) -> None:
        copy = self.data / "copy"
        self.done("backup", copy)
        self.assertEqual(stat.S_IMODE(copy.stat().st_mode), 0o600)
        self.refused(1, "there is a file of this name", "backup", copy)
        self.fill(draft(4))
        said = self.done("restore", copy)
        self.assertIn("log.sqlite.before-restore-1", said)
        log = self.open()
        self.assertEqual(self.rig.wait(log.head("+lobby")).seq, 2)
        # What is sent again after that is stored, and what was there before is known.
        again = self.rig.wait(log.append([draft(1, body=b"one"), draft(4)]))
        self.assertEqual([(stored.seq, stored.duplicate) for stored in again], [(1, True), (3, False)])
        self.rig.wait(log.close())
        self.assertEqual(list(verify(self.path)), [])
        # The log that was replaced is whole, and a second restore keeps another.
        self.assertEqual(list(verify(self.data / "log.sqlite.before-restore-1")), [])
        self.assertIn("before-restore-2", self.done("restore", copy))

    def test_restore_hands_out_no_key_again(self) -> None:
        """One that was not handed out when the backup was made may have been since."""
        log = self.open()
        self.rig.wait(log.keys.add("alice device", [b"key 1", b"key 2"]))
        copy = self.data / "copy.sqlite"
        self.rig.wait(log.backup(copy))
        self.assertEqual(list(self.rig.wait(log.keys.take(["alice device"]))), [b"key 1"])
        self.rig.wait(log.close())
        self.done("restore", copy)
        log = self.open()
        self.assertEqual(self.rig.wait(log.keys.add("alice device", [b"key 1", b"key 3"])), 1)
        self.assertEqual(list(self.rig.wait(log.keys.take(["alice device"]))), [b"key 3"])

    def test_restore_in_place_of_what_was_killed(self) -> None:
        copy = self.data / "copy"
        self.done("backup", copy)
        # As a killed service leaves it: entries only in the write-ahead log.
        log = self.open()
        self.rig.wait(log.append([draft(4)]))
        left = {f.name: f.read_bytes() for f in self.data.iterdir() if f.name.startswith("log.sqlite")}
        self.rig.wait(log.close())
        for name, content in left.items():
            (self.data / name).write_bytes(content)
            (self.data / name).chmod(0o600)
        self.done("restore", copy)
        self.assertEqual(self.done("log", "verify"), "All is well: 3 entries in 2 rooms.\n")
        self.assertEqual(list(verify(self.data / "log.sqlite.before-restore-1")), [])

    def test_restore_in_place_of_what_is_damaged(self) -> None:
        copy = self.data / "copy"
        self.done("backup", copy)
        self.path.write_bytes(b"not a database at all")
        (self.data / "log.sqlite-wal").write_bytes(b"nor this")
        for file in self.data.glob("log.sqlite*"):
            file.chmod(0o600)
        self.done("restore", copy)
        self.assertEqual(self.done("log", "verify"), "All is well: 3 entries in 2 rooms.\n")
        self.assertEqual((self.data / "log.sqlite.before-restore-1").read_bytes(), b"not a database at all")

    def test_restore_a_backup_of_an_earlier_version(self) -> None:
        old = self.data / "old" / "log.sqlite"
        old.parent.mkdir(mode=0o700)
        with patch("encchat.logs.index.prepare"), closing(open_writer(old, "full", UPGRADES[:1])):
            pass
        self.done("restore", old)
        self.refused(78, "an earlier version", "log", "stats")
        self.rig.wait(self.open().close())
        self.assertIn("0 entries", self.done("log", "stats"))

    def test_restore_into_an_empty_place(self) -> None:
        copy = self.data / "copy"
        self.done("backup", copy)
        self.data = self.data / "elsewhere"
        self.assertNotIn("that was there", self.done("restore", copy))
        self.assertEqual(self.done("log", "verify"), "All is well: 3 entries in 2 rooms.\n")

    def test_restore_refuses_what_is_not_whole(self) -> None:
        copy = self.data / "copy"
        self.damage()
        self.done("backup", copy)
        before = self.path.read_bytes()
        self.refused(78, "no backup that can be used", "restore", copy)
        (self.data / "text").write_text("dear diary" * 10)
        self.refused(78, "not a database", "restore", self.data / "text")
        self.refused(78, "nothing cannot be read: there is no such file.\n", "restore", self.data / "nothing")
        self.assertEqual(self.path.read_bytes(), before)


class Files(LogCase):
    """A log, and files that people gave to rooms."""

    def setUp(self) -> None:
        super().setUp()
        self.fill(draft(1, body=b"one"))
        self.names = [self.give(content) for content in (b"a file", b"", b"x" * 3_000_000)]
        self.copy = self.data.with_name(self.data.name + ".tar")

    def give(self, content: bytes) -> str:
        """A file whose bytes are there and recorded."""
        name = sha256(content).hexdigest()
        log = self.open()
        self.rig.wait(log.put("blob", name, b"a record", 0))
        self.rig.wait(log.close())
        place = self.data / "blobs" / name[:2] / name
        for made in (place.parent.parent, place.parent):
            made.mkdir(mode=0o700, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o600)
        return name

    def left(self) -> list[str]:
        """What is in the data directory, but for what whoever reads a log has beside it."""
        return sorted(name for name in os.listdir(self.data) if not name.endswith(("-wal", "-shm")))

    def files(self, directory: str = "blobs") -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.data / directory).glob("*/*")}

    def test_there_and_back(self) -> None:
        before = self.files()
        (self.data / "uploads").mkdir()
        (self.data / "uploads" / "half").write_bytes(b"not whole")
        self.assertIn("3 files in it", self.done("backup", self.copy))
        self.assertEqual(stat.S_IMODE(self.copy.stat().st_mode), 0o600)
        with tarfile.open(self.copy) as archive:
            self.assertEqual(
                archive.getnames(), ["log.sqlite", *(f"blobs/{name}" for name in sorted(self.names))]
            )
        later = self.give(b"came later")
        (self.data / "blobs" / self.names[0][:2] / self.names[0]).unlink()
        self.assertIn("3 files are back", self.done("restore", self.copy))
        self.assertEqual(self.files(), before)
        for path in (self.data / "blobs").rglob("*"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0)
        # What was there is there still; and what is in both takes its place once.
        kept = self.files("blobs.before-restore-1")
        self.assertEqual(kept[later], b"came later")
        large = Path("blobs", self.names[2][:2], self.names[2])
        self.assertEqual((self.data / large).stat().st_nlink, 2)
        self.done("restore", self.copy)
        self.assertTrue((self.data / "blobs.before-restore-2").is_dir())

    def test_into_an_empty_place(self) -> None:
        before = self.files()
        self.done("backup", self.copy)
        self.data = self.data / "elsewhere"
        self.path = self.data / "log.sqlite"
        self.done("restore", self.copy)
        self.assertEqual(self.files(), before)
        self.assertEqual(self.left(), ["blobs", "lock", "log.sqlite"])

    def test_without_files(self) -> None:
        self.assertIn("no files in it", self.done("backup", "--without-files", self.copy))
        self.assertEqual(list(verify(self.copy)), [])
        before = self.files()
        self.assertIn("no files in that backup", self.done("restore", self.copy))
        self.assertEqual(self.files(), before)

    def test_what_has_suffered_is_told_and_what_is_gone_is_left_out(self) -> None:
        for name, content in zip(self.names, (b"a fyle", None, b""), strict=True):
            path = self.data / "blobs" / name[:2] / name
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
        done = self.invoke("backup", self.copy)
        self.assertEqual((done.exit_code, "0 files in it" in done.stdout), (1, True))
        self.assertEqual(done.stderr.count("has suffered on the disk"), 2)
        self.done("restore", self.copy)
        self.assertEqual(self.files(), {})

    def test_a_backup_that_has_suffered_changes_nothing(self) -> None:
        self.done("backup", self.copy)
        whole = self.copy.read_bytes()
        before, files = self.path.read_bytes(), self.files()
        at = whole.index(b"x" * 1000)
        shutil.rmtree(self.data / "blobs" / self.names[2][:2])
        del files[self.names[2]]
        for content, word in (
            (whole[:at] + b"y" + whole[at + 1 :], "has suffered"),
            (whole[: at + 5000], "no backup that can be used"),
            (whole[:600], "no backup that can be used"),
        ):
            self.copy.write_bytes(content)
            self.refused(78, word, "restore", self.copy)
            self.assertEqual((self.path.read_bytes(), self.files()), (before, files))
            self.assertEqual(self.left(), ["blobs", "lock", "log.sqlite"])

    def test_an_archive_of_somebody_else(self) -> None:
        """Nothing of it gets anywhere."""
        self.done("backup", self.copy)
        before = self.path.read_bytes()
        name = sha256(b"evil").hexdigest()
        for change in (
            {"name": "../evil"},
            {"name": f"blobs/../{name}"},
            {"name": "/etc/evil"},
            {"name": f"blobs/{name}", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
            {"name": f"blobs/{name}", "type": tarfile.LNKTYPE, "linkname": "log.sqlite"},
            {"name": f"blobs/{name}", "type": tarfile.FIFOTYPE},
            {"name": f"blobs/{name}x"},
            {"name": "log.sqlite"},
        ):
            evil = self.copy.with_name("evil.tar")
            shutil.copy(self.copy, evil)
            with tarfile.open(evil, "a") as archive:
                member = tarfile.TarInfo()
                member.size = 4 if "type" not in change else 0
                for key, value in change.items():
                    setattr(member, key, value)
                archive.addfile(member, io.BytesIO(b"evil"))
            self.refused(78, "no backup that can be used", "restore", evil)
            self.assertEqual(self.path.read_bytes(), before)
            self.assertEqual(self.left(), ["blobs", "lock", "log.sqlite"])
        with tarfile.open(self.copy, "w") as archive:
            archive.addfile(tarfile.TarInfo("something"))
        self.refused(78, "does not begin with a log", "restore", self.copy)

    def test_a_full_disk(self) -> None:
        """At any moment of it: nothing is left, and nothing was changed."""
        full = OSError(28, "No space left on device")
        before = sorted(os.listdir(self.data.parent))
        for where in ("copy_into", "_add", "finish", "partial_beside"):
            with patch(f"encchat.logs.archive.{where}", side_effect=full):
                self.refused(1, "No space left on device", "backup", self.copy)
            self.assertEqual(sorted(os.listdir(self.data.parent)), before)
        self.done("backup", self.copy)
        log, files = self.path.read_bytes(), self.files()
        (self.data / "blobs" / self.names[2][:2] / self.names[2]).unlink()
        del files[self.names[2]]
        for where in ("encchat.logs.archive._copy", "encchat.logs.offline.copy"):
            with patch(where, side_effect=full):
                self.refused(78, "No space left on device", "restore", self.copy)
            self.assertEqual((self.path.read_bytes(), self.files()), (log, files))
            self.assertEqual(self.left(), ["blobs", "lock", "log.sqlite"])
        self.done("restore", self.copy)

    def test_what_a_kill_has_left_is_cleared(self) -> None:
        """By the next backup to that place, and by the next start; but not what somebody writes now."""
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(self.data)], capture_output=True, text=True, check=False
        )
        self.assertEqual((killed.returncode, killed.stderr), (-9, ""))
        self.assertEqual(len(self.partials()), 1)
        with partial_beside(self.data / "other") as mine:
            self.assertEqual(self.partials(), [mine])
            self.done("backup", self.data / "copy")
            self.assertEqual(self.partials(), [mine])
        subprocess.run([sys.executable, "-c", KILLED, str(self.data)], capture_output=True, check=False)
        self.assertEqual(len(self.partials()), 1)
        self.rig.wait(self.open().close())
        self.assertEqual(self.partials(), [])

    def partials(self) -> list[Path]:
        return list(self.data.glob(".encchat-*.partial"))


class Unusable(LogCase):
    """Each command says in one sentence what is wrong with the log."""

    def every(self, word: str) -> None:
        for command in (
            ("log", "verify"),
            ("log", "stats"),
            ("log", "export"),
            ("backup", self.data / "copy"),
        ):
            self.refused(78, word, *command)

    def test_there_is_none(self) -> None:
        self.every("there is no such file; name the directory of the service with --data DIR")

    def test_of_another_program_a_later_version_or_none(self) -> None:
        self.fill(draft(1))
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        self.every("later encchat")
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA application_id = 7")
        self.every("another program")
        self.path.write_bytes(b"SQLite format 3\x00" + Random(4).randbytes(4096))
        self.every("cannot be read")
