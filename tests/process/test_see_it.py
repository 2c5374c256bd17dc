"""The demonstration of docs/see-it.md, run anew: what the page claims of each cipher is so, byte by byte.

Where tshark is installed it is asked too; where it may listen on the loopback interface, it must have heard
exactly what ``--wire`` wrote down.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from tests.process.harness import ROOT, Child, ProcessCase, reactor
from tests.process.test_client_pipe import ClientCase
from tests.wiretap.test_files import packets

SECRET = b"the password is swordfish"
STEPS = ("classic", "rsa", "tls")
PAGE = ROOT / "docs" / "see-it.md"


def tshark(*arguments: str) -> list[str]:
    """The lines that tshark prints; blocks."""
    if shutil.which("tshark") is None:
        raise SkipTest("tshark is not installed")
    done = subprocess.run(["tshark", *arguments], capture_output=True, text=True, timeout=180, check=True)
    return done.stdout.splitlines()


class Seen:
    """What a step left: objects, and a capture."""

    def __init__(self, place: Path, name: str) -> None:
        self.pcap = place / f"{name}.pcap"
        self.events = [json.loads(line) for line in (place / f"{name}.jsonl").read_text("utf-8").splitlines()]
        self.screen = (place / f"{name}.txt").read_text("utf-8")
        self.payloads = [packet[40:] for _, packet in packets(self.pcap.read_bytes())]

    def of(self, event: str, way: str = "") -> list[dict[str, Any]]:
        return [x for x in self.events if x["event"] == event and x.get("way", way) == (way or x.get("way"))]

    @property
    def opened(self) -> bytes:
        return b"\n".join(bytes.fromhex(x["bytes"]) for x in self.of("opened"))

    @property
    def network(self) -> bytes:
        return b"".join(bytes.fromhex(x["bytes"]) for x in self.of("sealed"))

    @property
    def parts(self) -> list[dict[str, Any]]:
        return [part for x in self.of("sealed") for part in x["parts"]]

    @property
    def port(self) -> int:
        return int(self.events[0]["there"][1])


class Demonstration(ProcessCase):
    async def test_what_the_page_claims(self) -> None:
        child = self.spawn(
            [str(ROOT / "docs" / "see_it.py"), "--into", str(self.home / "it")], Child("see_it")
        )
        self.assertEqual(await child.end(), 0, child.report())
        seen = {name: Seen(self.home / "it", name) for name in STEPS}
        for name, step in seen.items():
            self.said_and_sealed(name, step)
        self.classic(seen["classic"])
        self.rsa(seen["rsa"])
        self.tls(seen["tls"])
        if shutil.which("tshark") is None:
            raise SkipTest("all is as the page says; tshark, which would confirm it, is not installed")
        await deferToThread(self.confirmed, seen)

    def said_and_sealed(self, name: str, step: Seen) -> None:
        """The sentence is in what was said, and not on the network, for every cipher."""
        self.assertIn(SECRET, step.opened, name)
        for plain in (SECRET, b"password", b"swordfish", b"alice", b"+lobby"):
            self.assertNotIn(plain, step.network, name)
        self.assertEqual(b"".join(step.payloads), step.network, "the capture is what was shown")
        self.assertIn(SECRET.decode(), step.screen)
        self.assertEqual(sum(part["size"] for part in step.parts), len(step.network))
        self.assertNotIn("bytes that do not belong here", [part["part"] for part in step.parts])
        for private in (b"PRIVATE KEY", b"PRIVATE"):
            self.assertNotIn(private, step.network + step.opened + step.screen.encode())

    def classic(self, step: Seen) -> None:
        """Both keys in the clear, nobody proved, blocks of the key's size."""
        self.assertEqual(step.network.count(b"-----BEGIN RSA PUBLIC KEY-----"), 2)
        blocks = [part for part in step.parts if part["part"] == "classic RSA block"]
        self.assertEqual({part["size"] for part in blocks}, {256})
        self.assertIn("nobody has proved who they are", step.screen)

    def rsa(self, step: Seen) -> None:
        """The client's key shows, its name does not; records are whole blocks."""
        (hello,) = (part for part in step.parts if "C1: hello" in part["part"])
        self.assertRegex(hello["facts"]["identity"], r"\ASHA256:")
        records = [part for part in step.parts if part["part"] == "hrsa1 record"]
        self.assertGreater(len(records), 4)
        for part in records:
            self.assertEqual(part["size"], 2 + 256 * part["facts"]["blocks"] + 32)

    def tls(self, step: Seen) -> None:
        """The host's name shows, certificates do not; sizes show to the byte."""
        (hello,) = (part for part in step.parts if part["part"] == "TLS ClientHello")
        self.assertEqual(
            (hello["facts"]["server_name"], hello["facts"]["protocols"]), ("localhost", "encchat/1")
        )
        self.assertIn(b"localhost", step.network)
        self.assertNotIn(b"see it", step.network, "the certificates' issuer")
        self.assertNotIn(b"encchat:alice", step.network, "the client's certificate")
        (answer,) = (part for part in step.parts if part["part"] == "TLS ServerHello")
        self.assertEqual(answer["facts"]["chosen_version"], "TLS 1.3")
        opened = step.of("opened", "out")
        (at,) = (index for index, x in enumerate(opened) if x["message"] == "send")
        carrier = next(x for x in step.of("sealed", "out") if x["after"] >= opened[at]["number"])
        # It may have gone with what went right before and after it.
        sizes = [x["size"] for x in opened]
        runs = {sum(sizes[i:j]) for i in range(at + 1) for j in range(at + 1, len(sizes) + 1)}
        hidden = {part["facts"].get("hides") for part in carrier["parts"]}
        self.assertTrue(hidden & runs, (hidden, sizes))

    def confirmed(self, seen: dict[str, Seen]) -> None:
        """tshark agrees: in a thread."""
        step = seen["tls"]
        decode = ("-r", str(step.pcap), "-d", f"tcp.port=={step.port},tls")
        chosen = tshark(
            *decode,
            "-Y",
            "tls.handshake.type == 2",
            "-T",
            "fields",
            "-e",
            "tls.handshake.extensions.supported_version",
        )
        self.assertEqual(chosen, ["0x0304"])
        names = tshark(
            *decode,
            "-Y",
            "tls.handshake.type == 1",
            "-T",
            "fields",
            "-e",
            "tls.handshake.extensions_server_name",
        )
        self.assertEqual(names, ["localhost"])
        self.assertEqual(
            tshark(*decode, "-Y", "tls.handshake.type == 11"), [], "no certificate is to be seen"
        )
        lengths = tshark(*decode, "-Y", "tls.record", "-T", "fields", "-e", "tls.record.length")
        ours = [part["facts"]["length"] for part in step.parts if part["part"].startswith("TLS ")]
        self.assertEqual([int(x) for line in lengths for x in line.split(",")], ours)
        for name in STEPS:
            found = tshark("-r", str(seen[name].pcap), "-Y", 'tcp.payload contains "swordfish"')
            self.assertEqual(found, [])
            self.assertEqual(
                tshark("-r", str(seen[name].pcap), "-Y", "_ws.malformed || tcp.analysis.flags"), []
            )


class Captured(ClientCase):
    async def test_the_network_itself(self) -> None:
        """What tshark hears on the loopback interface is what --wire wrote down."""
        if re.match(r"TShark \(Wireshark\) [4-9]", "".join(await deferToThread(tshark, "--version"))) is None:
            raise SkipTest("before version 4 tshark does not say when it has begun to listen")
        service = await self.serve()
        live, ours = self.home / "live.pcap", self.home / "ours.pcap"
        listener = Child("tshark")
        self.children.append(listener)
        reactor.spawnProcess(
            listener,
            "tshark",
            ["tshark", "-i", "lo", "-f", f"tcp port {service.port}", "-w", str(live), "-P", "-l"],
            env=self.environment(),
        )
        await listener.until(
            lambda: any("Capture started" in line for line in listener.err) or listener.status is not None,
            "capture",
        )
        if listener.status is not None:
            raise SkipTest(f"tshark may not listen here: {listener.err[-1:]}")
        child = self.shell(
            f"echo '{SECRET.decode()}' | $CLIENT --name alice --accept-new --wire {ours} {service.address}"
        )
        await self.finish(child)
        await listener.until(
            lambda: sum("FIN" in line for line in listener.out) >= 2, "end of the connection"
        )
        listener.signal(signal.SIGINT)
        await listener.end()
        await deferToThread(self.compare, live, ours)

    def compare(self, live: Path, ours: Path) -> None:
        follow = ("-q", "-z", "follow,tcp,raw,0")
        streams = []
        for capture in (live, ours):
            lines = tshark("-r", str(capture), *follow)
            data: dict[bool, str] = {False: "", True: ""}
            for line in lines:
                if re.fullmatch(r"\t?[0-9a-f]+", line):
                    data[line.startswith("\t")] += line.strip()
            streams.append(data)
        self.assertTrue(streams[0][False])
        self.assertEqual(streams[0], streams[1])


class Page(ClientCase):
    def test_it_shows_what_the_script_runs(self) -> None:
        """The commands on the page are those of the demonstration, and every generated part is there."""
        page = PAGE.read_text("utf-8")
        for name in STEPS:
            for part in ("opening", "message", "tshark"):
                found = page.partition(f"<!-- begin {name} {part} -->")[2].partition("<!-- end ")[0]
                self.assertTrue(found.strip(), f"{name} {part}: run make see-it")
            self.assertIn(f"--wire - --wire {name}.jsonl --wire {name}.pcap", page)
        self.assertTrue((PAGE.parent / "see-it.svg").is_file())
