"""The tls cipher keeps the contract of ciphers, with an authority and with pins."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.interfaces import IClientCipher, IServerCipher, Place
from encchat.ciphers.testing import CipherContract
from encchat.ciphers.tls import client, server
from tests.ciphers.tls.authority import Authority, write_set


def prepared(directory: Path, side: str, name: str, **arguments: str) -> IServerCipher | IClientCipher:
    """A cipher with a place of its own."""
    home = directory / f"{side}-{name}"
    home.mkdir(mode=0o700, exist_ok=True)
    make = server if side == "server" else client
    cipher = make(Place(home, name, {key.replace("_", "-"): value for key, value in arguments.items()}))
    cipher.prepare()
    return cipher


class AuthorityContractTests(CipherContract, SynchronousTestCase):
    """``trust=ca``, with a revocation list."""

    def make_ciphers(self, directory: Path) -> tuple[IServerCipher, IClientCipher]:
        certs = directory / "certs"
        if not certs.exists():
            write_set(certs, Authority(), "alice")
            write_set(directory / "others", Authority("Other CA"), "mallory")
        return prepared(directory, "server", "", certs=str(certs)), prepared(
            directory, "client", "alice", certs=str(certs)
        )

    def make_stranger(self, directory: Path) -> IClientCipher:
        """Somebody of another authority, who trusts our server all the same."""
        others = directory / "others"
        return prepared(
            directory,
            "client",
            "mallory",
            certs=str(others),
            ca=str(directory / "certs" / "ca.pem"),
            crl=str(directory / "certs" / "crl.pem"),
        )


class PinContractTests(CipherContract, SynchronousTestCase):
    """``trust=pin``."""

    def make_ciphers(self, directory: Path) -> tuple[IServerCipher, IClientCipher]:
        return prepared(directory, "server", "", trust="pin"), prepared(
            directory, "client", "alice", trust="pin"
        )
