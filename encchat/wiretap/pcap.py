"""The network's bytes as a capture that Wireshark and tshark read, without anybody having to be root.

The TCP and IP headers are ours: what is written or received at once is one segment (cut at ``SEGMENT``), on
a line that loses nothing. What is in them is what the network carried. The format is libpcap's
(draft-ietf-opsawg-pcap), with microseconds, link type 101: packets that begin with their IP header.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import pack, unpack

from encchat.wiretap.files import WireFile
from encchat.wiretap.seen import Began, Ended, Opened, Proved, Sealed, Seen, Wire

#: Bytes of a segment at most.
SEGMENT = 16 * 1024
_RAW, _SNAP = 101, 65535
_FIN, _SYN, _PUSH, _ACK = 0x01, 0x02, 0x08, 0x10
_TCP = 6

_Ip = IPv4Address | IPv6Address


@dataclass
class _Talk:
    """A connection: its ends as addresses, and how far each has counted."""

    here: tuple[_Ip, int]
    there: tuple[_Ip, int]
    #: The next sequence number, by whether we say it.
    next: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})


class PcapFile:
    """A witness that writes packets."""

    def __init__(self, file: WireFile) -> None:
        self._file = file
        self._talks: dict[int, _Talk] = {}
        file.write(pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAP, _RAW))

    def saw(self, seen: Seen) -> None:
        """Write the packets of it, if it went over the network."""
        match seen:
            case Began(wire):
                self._talks[wire.number] = _talk(wire)
                self._packet(seen, wire.client, _SYN)
                self._packet(seen, not wire.client, _SYN | _ACK)
                self._packet(seen, wire.client, _ACK)
            case Sealed():
                for start in range(0, len(seen.data), SEGMENT):
                    self._packet(seen, seen.out, _PUSH | _ACK, seen.data[start : start + SEGMENT])
            case Ended():
                self._packet(seen, True, _FIN | _ACK)
                self._packet(seen, False, _FIN | _ACK)
                del self._talks[seen.wire.number]
            case Opened() | Proved():
                pass

    def close(self) -> None:
        """The file is complete."""
        self._file.close()

    def _packet(self, seen: Seen, out: bool, flags: int, data: bytes = b"") -> None:
        talk = self._talks[seen.wire.number]
        source, target = (talk.here, talk.there) if out else (talk.there, talk.here)
        packet = _ip(source, target, talk.next[out], talk.next[not out], flags, data)
        step = len(data) + (1 if flags & (_SYN | _FIN) else 0)
        talk.next[out] = (talk.next[out] + step) % 2**32
        seconds, milliseconds = divmod(seen.time, 1000)
        head = pack("<IIII", seconds % 2**32, milliseconds * 1000, len(packet), len(packet))
        self._file.write(head + packet)


def _talk(wire: Wire) -> _Talk:
    """The connection's ends; where they have no IP addresses, or not of one kind, some of this machine."""
    try:
        here, there = ip_address(wire.here[0].split("%")[0]), ip_address(wire.there[0].split("%")[0])
    except ValueError:
        here = there = ip_address("127.0.0.1")
    if here.version != there.version:
        here = there = ip_address("127.0.0.1")
    return _Talk((here, wire.here[1]), (there, wire.there[1]))


def _ip(
    source: tuple[_Ip, int], target: tuple[_Ip, int], sequence: int, seen: int, flags: int, data: bytes
) -> bytes:
    """An IP packet with a TCP segment (RFC 791, RFC 8200, RFC 9293)."""
    addresses = source[0].packed + target[0].packed
    acknowledged = seen if flags & _ACK else 0
    head = pack(">HHIIBBHHH", source[1], target[1], sequence, acknowledged, 5 << 4, flags, 65535, 0, 0)
    size = len(head) + len(data)
    pseudo = addresses + (
        pack(">BBH", 0, _TCP, size) if source[0].version == 4 else pack(">IHBB", size, 0, 0, _TCP)
    )
    head = head[:16] + pack(">H", _checksum(pseudo + head + data)) + head[18:]
    if source[0].version == 6:
        return pack(">IHBB", 6 << 28, size, _TCP, 64) + addresses + head + data
    ip = pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0x4000, 64, _TCP, 0) + addresses
    return ip[:10] + pack(">H", _checksum(ip)) + ip[12:] + head + data


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
