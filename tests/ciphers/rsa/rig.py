"""Two ends of hrsa1 in memory: the published test keys, secrets and seeds, and work done on the spot."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from encchat.ciphers.rsa.events import Data, Established, Event, PeerClosed, Work
from encchat.ciphers.rsa.hrsa1 import ClientMachine, ServerKeys, ServerMachine
from encchat.ciphers.rsa.keys import make_identity_key
from encchat.ciphers.rsa.machine import End
from encchat.ciphers.rsa.primitives import Encrypt, encrypt
from encchat.ciphers.rsa.schedule import Schedule
from encchat.errors import EncchatError

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))
PRIVATE: dict[str, RSAPrivateKey] = {
    name: cast(RSAPrivateKey, load_pem_private_key(pem.encode("ascii"), None))
    for name, pem in VECTORS["private_keys"].items()
}
I_S, I_C, E_S, E_C = (PRIVATE[name] for name in ("IS", "IC", "ES", "EC"))
KEYS = ServerKeys(I_S, E_S, PRIVATE["CL"].public_key())
S1: bytes = VECTORS["S1"].encode("ascii")
C1, S2, C2 = (bytes.fromhex(VECTORS[name]) for name in ("C1", "S2", "C2"))
RECORDS = [bytes.fromhex(record) for record in VECTORS["records"]]
MESSAGE = "Grüß dich, Welt! 😀".encode()

Happened = tuple[str, object]
Alter = Callable[[str, bytes], bytes]


@cache
def mallory() -> RSAPrivateKey:
    """The identity of somebody else."""
    return make_identity_key()


def octets(name: str) -> bytes:
    """A value of the vectors."""
    return bytes.fromhex(VECTORS[name])


def seed(name: str) -> bytes:
    """A seed, as the vectors were made with."""
    return sha256(b"encchat test " + name.encode("ascii")).digest()


def schedule() -> Schedule:
    """The key schedule of the vectors' session."""
    return Schedule(octets("TH3"), octets("s_C"), octets("s_S"))


def seeded(*seeds: bytes) -> Encrypt:
    """RSAES-OAEP-ENCRYPT (RFC 8017, section 7.1.1), with these seeds one after the other."""
    remaining = iter(seeds)
    return lambda key, data, label: _oaep(key, data, label, next(remaining))


def unseeded() -> Encrypt:
    """The same with a seed that follows from what is encrypted: one session has always the same bytes."""
    return lambda key, data, label: _oaep(key, data, label, sha256(label + data).digest())


def _oaep(key: RSAPublicKey, data: bytes, label: bytes, seed: bytes) -> bytes:
    numbers, size = key.public_numbers(), key.key_size // 8
    block = sha256(label).digest() + bytes(size - len(data) - 66) + b"\1" + data
    masked = _xor(block, _mgf1(seed, len(block)))
    message = b"\0" + _xor(seed, _mgf1(masked, 32)) + masked
    return pow(int.from_bytes(message, "big"), numbers.e, numbers.n).to_bytes(size, "big")


def _mgf1(seed: bytes, size: int) -> bytes:
    rounds = range(-(-size // 32))
    return b"".join(sha256(seed + count.to_bytes(4, "big")).digest() for count in rounds)[:size]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def accept(fingerprint: str) -> None:
    """A judge that goes on with any server."""


def fixed_client(*record_seeds: bytes, judge: Callable[[str], None] = accept) -> ClientMachine:
    """The client of the vectors, before it starts."""
    return ClientMachine(
        I_C,
        E_C,
        judge,
        entropy=lambda size: octets("s_C"),
        encrypt=seeded(octets("seed_C"), *record_seeds),
    )


def fixed_server(*record_seeds: bytes) -> ServerMachine:
    """The server of the vectors, before it starts."""
    return ServerMachine(
        KEYS,
        ("encchat/2", "encchat/1"),
        entropy=lambda size: octets("s_S"),
        encrypt=seeded(octets("seed_S"), *record_seeds),
    )


class Driven:
    """A machine whose work is done on the spot, and what it told, in order. Runs of data are joined."""

    def __init__(self, machine: End, start: bool = True) -> None:
        self.machine = machine
        self.log: list[Happened] = []
        self.jobs = 0
        if start:
            cast(Any, machine).start()

    def feed(self, data: bytes) -> bytes:
        """Give it bytes, and get what it has to say."""
        self._follow(self.machine.receive(data))
        return self.machine.take_output()

    def end(self) -> None:
        """The stream ends."""
        self._follow(self.machine.eof())

    def _follow(self, events: list[Event]) -> None:
        while (job := self.note(events)) is not None:
            self.jobs += 1
            events = self.machine.work_done(job.job())

    def note(self, events: list[Event]) -> Work | None:
        """Write the events down; the work, which is always the last of them, is returned."""
        for place, event in enumerate(events):
            match event:
                case Work():
                    assert place == len(events) - 1, "something follows work"
                    return event
                case Established(protocol, identity):
                    self.log.append(("established", (protocol, identity.fingerprint)))
                case Data(data):
                    if self.log and self.log[-1][0] == "data":
                        self.log[-1] = ("data", cast(bytes, self.log[-1][1]) + data)
                    else:
                        self.log.append(("data", data))
                case PeerClosed():
                    self.log.append(("closed", None))
        return None

    @property
    def established(self) -> bool:
        return any(what == "established" for what, _ in self.log)

    @property
    def data(self) -> bytes:
        return b"".join(cast(bytes, value) for what, value in self.log if what == "data")


def new_pair(encrypt: Encrypt = encrypt) -> tuple[Driven, Driven]:
    """A client and a server with the published keys and real randomness, started."""
    client = ClientMachine(I_C, E_C, accept, encrypt=encrypt)
    return Driven(client), Driven(ServerMachine(KEYS, encrypt=encrypt))


def shake(client: Driven, server: Driven) -> None:
    """Run the whole handshake."""
    answer = server.machine.take_output()
    for end in (client, server, client, server):
        answer = end.feed(answer)


def open_pair() -> tuple[Driven, Driven]:
    """A client and a server that have shaken hands."""
    client, server = new_pair()
    shake(client, server)
    return client, server


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    """``data`` in pieces, cut at ``places`` (taken modulo its size)."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    for start, end in pairwise(edges):
        yield data[start:end]


class Attempt:
    """A handshake over a network that alters what it likes; an end that refuses hangs up."""

    def __init__(self, alter: Alter, client: Driven | None = None, server: Driven | None = None) -> None:
        self.client = client or Driven(ClientMachine(I_C, E_C, accept))
        self.server = server or Driven(ServerMachine(KEYS))
        self.refusals: list[EncchatError] = []
        carried = self.server.machine.take_output()
        ends = (self.client, self.server, self.client, self.server)
        for end, name in zip(ends, ("S1", "C1", "S2", "C2"), strict=True):
            try:
                carried = end.feed(alter(name, carried))
            except EncchatError as error:
                self.refusals.append(error)
                break

    @property
    def established(self) -> tuple[bool, bool]:
        return self.client.established, self.server.established

    @property
    def stage(self) -> object:
        (refusal,) = self.refusals
        return refusal.facts["stage"]


def replace(wanted: str, data: bytes) -> Alter:
    return lambda name, carried: data if name == wanted else carried


def flip(wanted: str, place: int) -> Alter:
    """One bit of one byte, another one in each byte."""

    def alter(name: str, carried: bytes) -> bytes:
        if name != wanted:
            return carried
        altered = bytearray(carried)
        altered[place] ^= 1 << place % 8
        return bytes(altered)

    return alter


def s1_with(identity: bytes) -> bytes:
    """S1 as in the vectors, with another modulus."""
    lines = S1.split(b"\n")
    lines[2] = b"Encchat-Id: " + urlsafe_b64encode(identity)
    return b"\n".join(lines)
