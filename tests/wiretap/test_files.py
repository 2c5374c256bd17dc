"""The files of ``--wire``: their names, who may read them, captures that are well-formed, and full disks."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.wiretap import files
from encchat.wiretap.files import BadWireName, WireFile, WireFileExists, WireFileFailed, check_names
from encchat.wiretap.jsonfile import JsonFile
from encchat.wiretap.opening import open_wiretap
from encchat.wiretap.pcap import SEGMENT, PcapFile, _checksum
from encchat.wiretap.screen import Line, Screen
from encchat.wiretap.seen import Began, Ended, Wire
from tests.wiretap.rig import TIME, WIRE, opened, proved, sealed


class FileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Path(self.mktemp())
        self.place.mkdir()
        self.said: list[str] = []

    def path(self, name: str) -> str:
        return str(self.place / name)

    def file(self, name: str = "x.jsonl") -> WireFile:
        return WireFile(self.path(name), self.said.append)


class Names(FileCase):
    def test_what_a_name_says(self) -> None:
        check_names(["-", "a.jsonl", "b.PCAP", "/tmp/c.json", "d.cap"])
        for name in ("localhost:9999", "file", "", "x.txt", "127.0.0.1:9999"):
            with self.assertRaises(BadWireName) as caught:
                check_names([name])
            self.assertIn("--wire -", str(caught.exception))

    def test_one_of_each(self) -> None:
        shown: list[Line] = []
        names = ["-", self.path("a.jsonl"), self.path("a.pcap"), "-"]
        tap = open_wiretap(names, Screen(shown.extend), self.said.append, lambda: TIME)
        self.assertEqual(
            self.said, [f"{self.path('a.jsonl')} will contain everything that is said here, in plain text"]
        )
        for seen in (Began(WIRE, TIME), proved(), opened(m.Pong()), sealed(b"abc"), Ended(WIRE, TIME, "cut")):
            tap.tell(seen)
        tap.close()
        self.assertEqual(len(Path(self.path("a.jsonl")).read_bytes().splitlines()), 5)
        self.assertEqual(sum("on the network" in line[0][1] for line in shown), 1)


class Files(FileCase):
    def test_for_its_owner_alone(self) -> None:
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.file().close()
        Path(self.path("empty.jsonl")).touch(0o644)
        self.file("empty.jsonl").close()
        for name in ("x.jsonl", "empty.jsonl"):
            self.assertEqual(stat.S_IMODE(os.stat(self.path(name)).st_mode), 0o600)

    def test_nothing_is_overwritten(self) -> None:
        Path(self.path("x.jsonl")).write_text("precious")
        self.assertRaises(WireFileExists, self.file)
        self.assertEqual(Path(self.path("x.jsonl")).read_text(), "precious")

    def test_a_place_that_is_not_there(self) -> None:
        with self.assertRaises(WireFileFailed) as caught:
            self.file("no/x.jsonl")
        self.assertIn("No such file", str(caught.exception))
        self.assertRaises(WireFileFailed, WireFile, str(self.place), self.said.append)

    def test_a_full_disk_is_told_once_and_ends_it(self) -> None:
        file = WireFile("/dev/full", self.said.append)
        file.write(b"x")
        file.write(b"x")
        file.close()
        self.assertEqual(self.said, ["/dev/full cannot be written any more: No space left on device"])

    def test_a_short_write_goes_on(self) -> None:
        real = os.write
        self.patch(files.os, "write", lambda handle, data: real(handle, data[:2]))
        file = self.file()
        file.write(b"abcde")
        file.close()
        self.assertEqual(Path(self.path("x.jsonl")).read_bytes(), b"abcde")


def packets(data: bytes) -> list[tuple[int, bytes]]:
    """The packets of a capture: when, in milliseconds, and what."""
    assert struct.unpack("<IHHiIII", data[:24]) == (0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    found = []
    at = 24
    while at < len(data):
        seconds, micros, kept, size = struct.unpack("<IIII", data[at : at + 16])
        assert kept == size
        found.append((seconds * 1000 + micros // 1000, data[at + 16 : at + 16 + size]))
        at += 16 + size
    return found


class Captures(FileCase):
    def capture(self, wire: Wire, *data: tuple[bool, bytes]) -> list[tuple[int, bytes]]:
        witness = PcapFile(self.file("x.pcap"))
        witness.saw(Began(wire, TIME))
        witness.saw(proved())
        for out, piece in data:
            witness.saw(sealed(piece, out=out, wire=wire))
        witness.saw(Ended(wire, TIME + 5, "cut"))
        witness.close()
        return packets(Path(self.path("x.pcap")).read_bytes())

    def test_a_connection_over_ipv4(self) -> None:
        large = bytes(range(256)) * 100
        found = self.capture(WIRE, (True, b"hello"), (False, large), (True, b"bye"))
        self.assertEqual(found[0][0], TIME)
        self.assertEqual(found[-1][0], TIME + 5)
        streams = {40000: b"", 9999: b""}
        following: dict[int, int] = {}
        flags = []
        for _, packet in found:
            self.assertEqual(packet[0], 0x45)
            self.assertEqual(int.from_bytes(packet[2:4], "big"), len(packet))
            self.assertEqual(_checksum(packet[:20]), 0)
            pseudo = packet[12:20] + struct.pack(">BBH", 0, 6, len(packet) - 20)
            self.assertEqual(_checksum(pseudo + packet[20:]), 0)
            source, _, sequence, _, _, flag = struct.unpack(">HHIIBB", packet[20:34])
            flags.append(flag)
            data = packet[40:]
            self.assertEqual(sequence, following.get(source, 0))
            following[source] = sequence + len(data) + (1 if flag & 3 else 0)
            streams[source] += data
        self.assertEqual(streams, {40000: b"hellobye", 9999: large})
        self.assertEqual(flags[:3], [0x02, 0x12, 0x10])
        self.assertEqual(flags[-2:], [0x11, 0x11])
        self.assertEqual(len(found), 3 + 1 + -(-len(large) // SEGMENT) + 1 + 2)

    def test_who_began_it(self) -> None:
        """A service's connections were begun by the other end."""
        first = self.capture(Wire(1, "rsa", False, ("127.0.0.1", 9999), ("127.0.0.1", 40000)))[0][1]
        self.assertEqual(struct.unpack(">HH", first[20:24]), (40000, 9999))

    def test_ipv6(self) -> None:
        found = self.capture(Wire(1, "rsa", True, ("fe80::1%lo", 40000), ("::1", 9999)), (True, b"odd"))
        for _, packet in found:
            self.assertEqual(packet[0], 0x60)
            size = len(packet) - 40
            self.assertEqual(int.from_bytes(packet[4:6], "big"), size)
            self.assertEqual(_checksum(packet[8:40] + struct.pack(">IHBB", size, 0, 0, 6) + packet[40:]), 0)

    def test_ends_without_addresses(self) -> None:
        for ends in ((("local", 0), ("local", 0)), (("127.0.0.1", 1), ("::1", 2))):
            os.path.exists(self.path("x.pcap")) and os.remove(self.path("x.pcap"))
            found = self.capture(Wire(1, "rsa", True, *ends))
            self.assertEqual(found[0][1][12:20], bytes((127, 0, 0, 1)) * 2)


class Json(FileCase):
    def test_closing_it(self) -> None:
        witness = JsonFile(self.file())
        witness.close()
        witness.saw(sealed(b"late"))
        self.assertEqual(Path(self.path("x.jsonl")).read_bytes(), b"")
