"""Keys on disk and keys made ahead: one identity whatever races, and none that others can read."""

from __future__ import annotations

import base64
import gc
import os
import stat
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from encchat.ciphers.rsa import keys
from encchat.ciphers.rsa.keys import (
    KeyPool,
    RotatingKey,
    load_identity,
    load_or_make_identity,
    make_identity_key,
    make_record_key,
)
from encchat.ciphers.testing import ContractReactor
from encchat.errors import ConfigError
from tests.ciphers.rsa.rig import E_S, I_C, I_S


def pem(key: Any, encryption: KeySerializationEncryption | None = None) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))


def number(key: RSAPrivateKey) -> int:
    return key.private_numbers().d


class OnDisk(TestCase):
    """The identity key."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir(mode=0o700)
        self.path = self.directory / "identity.pem"

    def put(self, content: bytes, mode: int = 0o600) -> None:
        self.path.write_bytes(content)
        self.path.chmod(mode)

    def refused(self, *words: str) -> None:
        error = self.assertRaises(ConfigError, load_or_make_identity, self.path, self.fail)
        for word in (*words, str(self.directory)):
            self.assertIn(word, str(error))
        self.assertEqual(error.exit_code, 78)

    def test_made_once_and_kept(self) -> None:
        made = load_or_make_identity(self.path)
        again = load_or_make_identity(self.path, self.fail)
        self.assertEqual(number(made), number(again))
        self.assertEqual((made.key_size, made.public_key().public_numbers().e), (3072, 65537))

    def test_how_it_is_stored(self) -> None:
        load_or_make_identity(self.path, lambda: I_S)
        self.assertEqual(self.path.read_bytes(), pem(I_S))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.directory), ["identity.pem"])

    def test_a_umask_does_not_matter(self) -> None:
        for mask in (0, 0o777):
            before = os.umask(mask)
            try:
                load_or_make_identity(self.path, lambda: I_S)
            finally:
                os.umask(before)
            self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
            self.path.unlink()

    def test_the_directory_is_made_for_us_alone(self) -> None:
        path = self.directory / "new" / "rsa" / "identity.pem"
        load_or_make_identity(path, lambda: I_S)
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)

    def test_it_is_durable_before_it_is_used(self) -> None:
        steps: list[str] = []
        for name in ("fsync", "link"):
            real = getattr(os, name)

            def watched(*arguments: Any, name: str = name, real: Any = real) -> None:
                on = "" if name == "link" else f" {stat.S_ISDIR(os.fstat(arguments[0]).st_mode)}"
                steps.append(name + on)
                real(*arguments)

            self.patch(os, name, watched)
        load_or_make_identity(self.path, lambda: I_S)
        self.assertEqual(steps, ["fsync False", "link", "fsync True"])

    def test_a_crash_while_writing_leaves_no_half_key(self) -> None:
        def crash(*arguments: object) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", crash)
        error = self.assertRaises(ConfigError, load_or_make_identity, self.path, lambda: I_S)
        self.assertIn("No space left on device", str(error))
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_directory_that_cannot_be_synced(self) -> None:
        real = os.fsync

        def picky(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(self.errno, "Invalid argument")
            real(descriptor)

        self.patch(os, "fsync", picky)
        self.errno = 22  # EINVAL: a file system that does not do that
        load_or_make_identity(self.path, lambda: I_S)
        self.path.unlink()
        self.errno = 5  # EIO: a disk that is broken
        self.assertRaises(ConfigError, load_or_make_identity, self.path, lambda: I_S)

    def test_two_threads_end_with_one_key(self) -> None:
        both = threading.Barrier(2)
        got: list[RSAPrivateKey] = []

        def make(key: RSAPrivateKey) -> RSAPrivateKey:
            both.wait(180)
            return key

        threads = [
            threading.Thread(
                target=lambda key=key: got.append(load_or_make_identity(self.path, lambda: make(key)))
            )
            for key in (I_S, I_C)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(180)
        self.assertEqual(len(got), 2)
        self.assertEqual(number(got[0]), number(got[1]))
        self.assertEqual(os.listdir(self.directory), ["identity.pem"])

    def test_two_processes_end_with_one_key(self) -> None:
        program = (
            "import sys, pathlib; from encchat.ciphers.rsa.keys import load_or_make_identity as load; "
            "print(load(pathlib.Path(sys.argv[1])).private_numbers().d)"
        )
        root = Path(keys.__file__).parents[3]
        running = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(self.path.absolute())], cwd=root, stdout=subprocess.PIPE
            )
            for _ in range(2)
        ]
        printed = [process.communicate(timeout=180)[0] for process in running]
        self.assertEqual([process.returncode for process in running], [0, 0])
        self.assertEqual(printed[0], printed[1])
        self.assertEqual(int(printed[0]), number(load_identity(self.path)))

    def test_a_key_that_others_may_read(self) -> None:
        for mode in (0o640, 0o604, 0o620, 0o644, 0o601):
            self.put(pem(I_S), mode)
            self.refused(f"chmod 600 {self.path}")

    def test_a_directory_that_others_may_change(self) -> None:
        for mode in (0o770, 0o702, 0o777):
            self.directory.chmod(mode)
            self.refused(f"chmod 700 {self.directory}")

    def test_a_link_to_a_key(self) -> None:
        (self.directory / "real").write_bytes(pem(I_S))
        (self.directory / "real").chmod(0o600)
        self.path.symlink_to("real")
        self.assertEqual(number(load_or_make_identity(self.path, self.fail)), number(I_S))

    def test_a_link_to_nothing(self) -> None:
        self.path.symlink_to("nothing")
        error = self.assertRaises(ConfigError, load_or_make_identity, self.path, lambda: I_S)
        self.assertIn("No such file", str(error))

    def test_what_is_no_regular_file(self) -> None:
        self.path.mkdir()
        self.refused("not a regular file")
        self.path.rmdir()
        os.mkfifo(self.path, 0o600)
        self.refused("not a regular file")

    def test_a_path_through_a_file(self) -> None:
        self.put(b"")
        error = self.assertRaises(ConfigError, load_or_make_identity, self.path / "identity.pem")
        self.assertIn("cannot be", str(error))

    def test_what_is_no_key(self) -> None:
        whole = pem(I_S)
        for damaged in (b"", b"\n", b"\xff" * 100, whole[: len(whole) // 2], whole.replace(b"M", b"N", 20)):
            self.put(damaged)
            self.refused("damaged", "move it away")

    def test_a_key_with_a_wrong_number(self) -> None:
        numbers = I_S.private_numbers()
        whole = I_S.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        modulus = numbers.public_numbers.n
        for number in (
            modulus,
            *(getattr(numbers, name) for name in ("p", "q", "d", "dmp1", "dmq1", "iqmp")),
        ):
            there = number.to_bytes((number.bit_length() + 7) // 8, "big")
            self.assertEqual(whole.count(there), 1)
            wrong = whole.replace(there, (number ^ 2).to_bytes(len(there), "big"))
            lines = base64.encodebytes(wrong)
            self.put(b"-----BEGIN PRIVATE KEY-----\n" + lines + b"-----END PRIVATE KEY-----\n")
            self.refused("damaged", "move it away")

    def test_a_very_large_file(self) -> None:
        self.put(b"\n" * 20_000 + pem(I_S))
        self.refused("damaged")

    def test_a_key_with_a_passphrase(self) -> None:
        self.put(pem(I_S, BestAvailableEncryption(b"secret")))
        self.refused("unencrypted")

    def test_a_key_of_another_type(self) -> None:
        self.put(pem(ec.generate_private_key(ec.SECP256R1())))
        self.refused("not an RSA key")

    def test_a_key_of_another_size(self) -> None:
        self.put(pem(E_S))
        self.refused("2048 bits, not 3072")

    def test_a_key_with_another_exponent(self) -> None:
        self.patch(keys, "EXPONENT", 3)
        self.put(pem(I_S))
        self.refused("exponent is not 3")

    def test_a_public_key(self) -> None:
        self.put(I_S.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self.refused("damaged")

    def test_no_refusal_shows_the_key(self) -> None:
        self.put(pem(I_S), 0o644)
        error = self.assertRaises(ConfigError, load_or_make_identity, self.path)
        self.assertNotIn("BEGIN", repr(error))


class Making(TestCase):
    """Keys of the right kind, in real threads."""

    def test_sizes(self) -> None:
        self.assertEqual((make_record_key().key_size, make_identity_key().key_size), (2048, 3072))

    async def test_in_the_threads_of_a_real_reactor(self) -> None:
        made_in: list[int] = []

        def make() -> RSAPrivateKey:
            made_in.append(threading.get_ident())
            return make_record_key()

        pool = KeyPool(1, make)
        pool.start(reactor)
        first, second = await pool.get(), await pool.get()
        self.assertNotEqual(number(first), number(second))
        self.assertNotIn(threading.get_ident(), made_in)
        pool.stop()


class Script:
    """Makes keys that are told apart, and fails when it is told to."""

    def __init__(self) -> None:
        self.made = 0
        self.failing = False

    def __call__(self) -> Any:
        if self.failing:
            raise ValueError("no entropy today")
        self.made += 1
        return f"key {self.made}"


class Pool(TestCase):
    """Keys for single use, made ahead."""

    def setUp(self) -> None:
        self.reactor = ContractReactor()
        self.make = Script()
        self.pool = KeyPool(2, self.make)

    def start(self) -> None:
        self.pool.start(self.reactor)
        self.reactor.settle()

    def test_filled_ahead_and_again(self) -> None:
        self.start()
        self.assertEqual(self.make.made, 2)
        self.assertEqual(self.successResultOf(self.pool.get()), "key 1")
        self.reactor.settle()
        self.assertEqual(self.make.made, 3)

    def test_no_key_twice(self) -> None:
        self.start()
        got = [self.pool.get() for _ in range(7)]
        self.reactor.settle()
        self.assertEqual(len({self.successResultOf(deferred) for deferred in got}), 7)
        self.assertEqual(self.make.made, 9)

    def test_only_so_many_at_a_time(self) -> None:
        self.pool.start(self.reactor)
        for _ in range(7):
            self.pool.get()
        self.assertEqual(self.reactor.pending_jobs, 2)
        self.reactor.settle()

    def test_the_first_one_before_the_reactor_runs(self) -> None:
        self.pool.prepare()
        self.pool.prepare()
        self.assertEqual(self.make.made, 1)
        self.assertEqual(self.successResultOf(self.pool.get()), "key 1")

    def test_who_asks_too_early_waits_for_the_start(self) -> None:
        waiting = self.pool.get()
        self.assertNoResult(waiting)
        self.start()
        self.assertEqual(self.successResultOf(waiting), "key 1")

    def test_first_come_first_served(self) -> None:
        waiting = [self.pool.get() for _ in range(3)]
        self.start()
        got = [self.successResultOf(deferred) for deferred in waiting]
        self.assertEqual(got, ["key 1", "key 2", "key 3"])

    def test_who_gives_up_takes_no_key(self) -> None:
        first, second = self.pool.get(), self.pool.get()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.start()
        self.assertEqual(self.successResultOf(second), "key 1")

    def test_a_stop_ends_the_waiting_and_forgets_the_keys(self) -> None:
        waiting = [self.pool.get(), self.pool.get()]
        self.pool.start(self.reactor)
        self.pool.stop()
        for deferred in waiting:
            self.failureResultOf(deferred, CancelledError)
        self.reactor.settle()
        self.assertNoResult(self.pool.get())
        self.assertEqual(self.reactor.pending_jobs, 0)

    def test_a_failure_is_told_to_who_waits(self) -> None:
        self.make.failing = True
        waiting: list[Deferred[RSAPrivateKey]] = [self.pool.get() for _ in range(3)]
        self.start()
        for deferred in waiting:
            self.failureResultOf(deferred, ValueError)
        self.assertEqual(self.reactor.pending_jobs, 0)
        self.flushLoggedErrors(ValueError)  # of those that were made ahead, for nobody

    def test_a_failure_ahead_is_logged_and_the_next_one_tries_again(self) -> None:
        self.make.failing = True
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.make.failing = False
        waiting = self.pool.get()
        self.reactor.settle()
        self.assertEqual(self.successResultOf(waiting), "key 1")


class Rotation(TestCase):
    """A server's record key, replaced from time to time."""

    def setUp(self) -> None:
        self.reactor = ContractReactor()
        self.make = Script()
        self.key = RotatingKey(make=self.make)

    def test_there_is_none_before_prepare(self) -> None:
        with self.assertRaises(AssertionError):
            self.key.current  # noqa: B018  # a property that raises

    def test_replaced_every_ten_minutes_in_a_thread(self) -> None:
        self.key.prepare()
        self.key.prepare()
        self.key.start(self.reactor)
        self.reactor.advance(599)
        self.assertEqual(self.reactor.pending_jobs, 0)
        self.assertEqual(self.key.current, "key 1")
        self.reactor.advance(1)
        self.assertEqual(self.key.current, "key 1")
        self.reactor.settle()
        self.assertEqual(self.key.current, "key 2")
        self.reactor.advance(600)
        self.reactor.settle()
        self.assertEqual(self.key.current, "key 3")
        self.key.stop()

    def test_an_old_key_goes_with_its_last_user(self) -> None:
        class Key:
            """Stands for a key; cryptography's cannot be referred to weakly."""

        key = RotatingKey(make=cast(Any, Key))
        key.prepare()
        connection = [key.current]
        alive = weakref.ref(connection[0])
        key.start(self.reactor)
        self.reactor.advance(600)
        self.reactor.settle()
        self.assertIsNot(key.current, connection[0])
        self.assertIsNotNone(alive())
        connection.clear()
        gc.collect()
        self.assertIsNone(alive())
        key.stop()

    def test_a_slow_one_is_not_overtaken(self) -> None:
        self.key.prepare()
        self.key.start(self.reactor)
        self.reactor.advance(600)
        self.reactor.advance(600)
        self.assertEqual(self.reactor.pending_jobs, 1)
        self.reactor.settle()
        self.assertEqual(self.key.current, "key 2")
        self.key.stop()

    def test_a_failure_keeps_the_old_one(self) -> None:
        self.key.prepare()
        self.key.start(self.reactor)
        self.make.failing = True
        self.reactor.advance(600)
        self.reactor.settle()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.key.current, "key 1")
        self.make.failing = False
        self.reactor.advance(600)
        self.reactor.settle()
        self.assertEqual(self.key.current, "key 2")
        self.key.stop()

    def test_after_the_stop_nothing_is_replaced(self) -> None:
        self.key.prepare()
        self.key.stop()
        self.key.start(self.reactor)
        self.reactor.advance(600)
        self.key.stop()
        self.reactor.settle()
        self.assertEqual(self.key.current, "key 1")
        self.assertEqual(self.reactor.getDelayedCalls(), [])
