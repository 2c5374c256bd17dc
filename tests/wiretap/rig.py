"""What the wiretap's tests stand on: a witness, and things for it to see."""

from __future__ import annotations

from dataclasses import dataclass, field

from encchat import messages as m
from encchat.ciphers.explaining import Part
from encchat.wire import encode
from encchat.wiretap.seen import Opened, Proved, Sealed, Seen, Wire

WIRE = Wire(1, "rsa", True, ("127.0.0.1", 40000), ("127.0.0.1", 9999))
TIME = 1_795_398_065_140
CODE = "7K2QX0M9DF3HWTB"


@dataclass
class Notes:
    """A witness that keeps everything."""

    seen: list[Seen] = field(default_factory=list)
    closed: int = 0

    def saw(self, seen: Seen) -> None:
        self.seen.append(seen)

    def close(self) -> None:
        self.closed += 1

    def of(self, kind: type[Seen]) -> list[Seen]:
        return [seen for seen in self.seen if isinstance(seen, kind)]


def opened(message: m.Message, *, out: bool = True, number: int = 1, wire: Wire = WIRE) -> Opened:
    """A message on its way."""
    return Opened(wire, TIME, number, out, encode(message), message)


def sealed(data: bytes, *parts: Part, out: bool = True, number: int = 2, wire: Wire = WIRE) -> Sealed:
    """Bytes on the network."""
    return Sealed(wire, TIME, number, out, data, parts, number - 1)


def proved(protocol: str | None = "encchat/1") -> Proved:
    """A handshake that is complete."""
    return Proved(WIRE, TIME, protocol, "SHA256:" + "A" * 43, "rsa, a test")
