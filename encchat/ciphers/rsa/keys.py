"""The keys of the rsa cipher: an identity that stays on disk, record keys that are made ahead and forgotten.

Making a key takes from 30 ms to a second. ``cryptography`` lets go of the interpreter while it does, so
the pools make theirs in the reactor's threads and nobody waits, but for the very first one.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from encchat.ciphers.rsa.primitives import EXPONENT, IDENTITY_BITS, RECORD_BITS
from encchat.directories import make_private
from encchat.errors import ConfigError

#: Seconds that a server's record key is used for new connections.
ROTATION = 600.0

#: Bytes that an identity file has at most; a PEM of 3072 bits has about 2,500.
_MAX_FILE = 16_384

_Result = TypeVar("_Result")


def make_identity_key() -> RSAPrivateKey:
    """A new identity key; about 0.2 s, sometimes a second."""
    return rsa.generate_private_key(EXPONENT, IDENTITY_BITS)


def make_record_key() -> RSAPrivateKey:
    """A new record key; about 50 ms."""
    return rsa.generate_private_key(EXPONENT, RECORD_BITS)


# ------------------------------------------------------------------------------------------ on disk


def load_or_make_identity(path: Path, make: Callable[[], RSAPrivateKey] = make_identity_key) -> RSAPrivateKey:
    """The identity key in ``path`` (PKCS#8, PEM, mode 0600); made and stored durably if there is none.
    Of several processes that do so at once, all get the key of the first. Blocks.

    :raises ConfigError: the file cannot be used, or not be made; says what to do.
    """
    try:
        _check_directory(path.parent)
        try:
            return load_identity(path)
        except FileNotFoundError:
            _store_new(path, _encode(make()))
            return load_identity(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(reason=f"The identity key {path} cannot be read or made: {reason}.") from None


def load_identity(path: Path) -> RSAPrivateKey:
    """The identity key in ``path``.

    :raises FileNotFoundError: there is none.
    :raises OSError: it cannot be read.
    :raises ConfigError: it cannot be used; says what to do.
    """
    # Without O_NONBLOCK a pipe in the file's place would stop us for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(reason=f"The identity key {path} is not a regular file. Move it away.")
        if mode & 0o077:
            raise ConfigError(
                reason=f"Others may read the identity key {path}. Run: chmod 600 {path} "
                "(and if somebody may have read it, replace it by moving it away)."
            )
        return _decode(path, os.read(descriptor, _MAX_FILE))
    finally:
        os.close(descriptor)


def _encode(key: RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _decode(path: Path, pem: bytes) -> RSAPrivateKey:
    try:
        # OpenSSL would test the primes, for 150 ms at each start; who can change them here has our identity
        # anyway, and what an accident does to them shows in ``_holds``.
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # the TypeError says: it has a passphrase
        raise _unusable(path, "it is damaged, or not an unencrypted PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise _unusable(path, "it is not an RSA key")
    if key.key_size != IDENTITY_BITS:
        raise _unusable(path, f"it has {key.key_size} bits, not {IDENTITY_BITS}")
    if key.public_key().public_numbers().e != EXPONENT:
        raise _unusable(path, f"its exponent is not {EXPONENT}")
    if not _holds(key):
        raise _unusable(path, "it is damaged")
    return key


def _holds(key: RSAPrivateKey) -> bool:
    """Whether the numbers of a key belong together (RFC 8017, 3.2)."""
    numbers = key.private_numbers()
    p, q, d, public = numbers.p, numbers.q, numbers.d, numbers.public_numbers
    return (
        min(p, q) > 2
        and p * q == public.n
        and d * public.e % (p - 1) == d * public.e % (q - 1) == 1
        and (numbers.dmp1, numbers.dmq1) == (d % (p - 1), d % (q - 1))
        and numbers.iqmp * q % p == 1
    )


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        reason=f"The identity key {path} cannot be used: {why}. Restore it from a copy; or move it away, and "
        "a new identity is made, which those who know the old one will refuse."
    )


def _check_directory(directory: Path) -> None:
    make_private(directory)
    if directory.stat().st_mode & 0o022:
        raise ConfigError(
            reason=f"Others may replace the identity key in {directory}. Run: chmod 700 {directory}"
        )


def _store_new(path: Path, pem: bytes) -> None:
    """Write ``path`` whole and durably, unless it exists by now."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask took away
            file.write(pem)
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(new, path)  # unlike a rename, it never replaces the key of another process
        except FileExistsError:
            return
    finally:
        new.unlink()
    _sync(path.parent)


def _sync(directory: Path) -> None:
    """Make the names in ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot, and need not
            raise
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------------------- in memory


class _Threads(Protocol):
    """What is used of a reactor: its clock, and its threads."""

    def getThreadPool(self) -> ThreadPool: ...


def in_thread(reactor: object, job: Callable[[], _Result]) -> Deferred[_Result]:
    """What ``job`` returns or raises, run in one of the reactor's threads."""
    pool = cast(_Threads, reactor).getThreadPool()
    return deferToThreadPool(cast(IReactorFromThreads, reactor), pool, job)


class KeyPool:
    """Record keys for single use, some of them made ahead.

    :param size: how many are kept ready, and how many are made at the same time.
    """

    log: ClassVar[Logger] = Logger()

    def __init__(self, size: int = 2, make: Callable[[], RSAPrivateKey] = make_record_key) -> None:
        self._size = size
        self._make = make
        self._reactor: object | None = None
        self._ready: deque[RSAPrivateKey] = deque()
        self._waiting: deque[Deferred[RSAPrivateKey]] = deque()
        self._making = 0

    def prepare(self) -> None:
        """Make the first key now. Blocks."""
        if not self._ready:
            self._ready.append(self._make())

    def start(self, reactor: object) -> None:
        """Keep the pool filled from here on."""
        self._reactor = reactor
        self._fill()

    def stop(self) -> None:
        """Make no more, and forget those that nobody got; who still waits is told ``CancelledError``."""
        self._reactor = None
        self._ready.clear()
        for waiting in tuple(self._waiting):
            waiting.cancel()

    def get(self) -> Deferred[RSAPrivateKey]:
        """A key that nobody else gets. Cancelling gives the place in the queue up."""
        deferred: Deferred[RSAPrivateKey]
        if self._ready:
            deferred = succeed(self._ready.popleft())
        else:
            deferred = Deferred(self._waiting.remove)
            self._waiting.append(deferred)
        self._fill()
        return deferred

    def _fill(self) -> None:
        if self._reactor is None:
            return
        wanted = self._size + len(self._waiting) - len(self._ready)
        while self._making < min(wanted, self._size):
            self._making += 1
            in_thread(self._reactor, self._make).addCallbacks(self._made, self._failed)

    def _made(self, key: RSAPrivateKey) -> None:
        self._making -= 1
        if self._reactor is None:
            return
        if self._waiting:
            self._waiting.popleft().callback(key)
        else:
            self._ready.append(key)
        self._fill()

    def _failed(self, failure: Failure) -> None:
        self._making -= 1
        if not self._waiting:
            self.log.failure("a record key could not be made ahead", failure)
            return  # the next get tries again
        self._waiting.popleft().errback(failure)
        if self._waiting:
            self._fill()


class RotatingKey:
    """A server's record key, replaced every ``period`` seconds. A connection keeps the key that it began
    with; the last one to end takes it along, and what was recorded of them cannot be read any more."""

    log: ClassVar[Logger] = Logger()

    def __init__(self, period: float = ROTATION, make: Callable[[], RSAPrivateKey] = make_record_key) -> None:
        self._period = period
        self._make = make
        self._reactor: object | None = None
        self._loop = LoopingCall(self._replace)
        self._key: RSAPrivateKey | None = None

    @property
    def current(self) -> RSAPrivateKey:
        """The key for a connection that begins now; there is one after ``prepare``."""
        assert self._key is not None, "current before prepare"
        return self._key

    def prepare(self) -> None:
        """Make the first key now. Blocks."""
        if self._key is None:
            self._key = self._make()

    def start(self, reactor: object) -> None:
        """Replace the key from time to time."""
        self._reactor = reactor
        self._loop.clock = cast(IReactorTime, reactor)
        self._loop.start(self._period, now=False)

    def stop(self) -> None:
        """Replace it no more."""
        self._reactor = None
        if self._loop.running:
            self._loop.stop()

    def _replace(self) -> Deferred[None]:
        return in_thread(self._reactor, self._make).addCallbacks(self._made, self._failed)

    def _made(self, key: RSAPrivateKey) -> None:
        if self._reactor is not None:
            self._key = key

    def _failed(self, failure: Failure) -> None:
        """The old key stays until the next turn."""
        self.log.failure("the record key could not be replaced", failure)
