"""Runs the demonstration of docs/see-it.md with real processes, and writes what they said into the page.

``python docs/see_it.py`` (``make see-it``) writes the page anew; ``--into DIR`` runs it and leaves what was
seen in DIR, for whoever wants to look (the tests do). It needs only this machine, and tshark for its parts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "see-it.md"
SECRET = "the password is swordfish"
PORT = 9999
#: Seconds that anything may take.
PATIENCE = 180
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")
CLIENT = ("-c", "from encchat.cli.client import main; main()")
ADMIN = ("-c", "from encchat.cli.admin import main; main()")


@dataclass(frozen=True)
class Step:
    """One part of the demonstration: how the service and the client are started."""

    name: str
    cipher: str
    client: tuple[str, ...]
    host: str = "127.0.0.1"


STEPS = (
    Step("classic", "rsa", ("--classic",)),
    Step("rsa", "rsa", ("--name", "alice", "--accept-new")),
    Step("tls", "tls:certs=certs", ("--name", "alice", "--cipher", "tls:certs=certs"), "localhost"),
)


@dataclass
class Seen:
    """What a step has shown: the screen of ``--wire``, its objects, and what tshark says of the capture."""

    port: int
    screen: list[str]
    events: list[dict[str, object]]
    tshark: str


def demonstrate(place: Path) -> dict[str, Seen]:
    """Run every step, with all files in ``place``, and return what was seen by its name."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    own = {"HOME": str(place), "PYTHONPATH": str(DOCS.parent), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    environment = {**kept, **own}
    for words in (("init", "--name", "see it"), ("server", "localhost", "127.0.0.1"), ("user", "alice")):
        _run([*ADMIN, "ca", *words], place, environment)
    return {step.name: _step(step, place, environment) for step in STEPS}


def _step(step: Step, place: Path, environment: dict[str, str]) -> Seen:
    where = ("--data", f"data-{step.name}", "--port", "tcp:0:interface=127.0.0.1", "--announce")
    service = subprocess.Popen(
        [sys.executable, *TWISTD, "encchat", "--cipher", step.cipher, *where],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert service.stdout is not None
        port = next(json.loads(line)["port"] for line in service.stdout if line.startswith('{"event"'))
        files = [f"{step.name}.jsonl", f"{step.name}.pcap"]
        wire = ["--wire", "-", *(part for file in files for part in ("--wire", file))]
        client = [*CLIENT, *step.client, "--state", "state", *wire, f"{step.host}:{port}"]
        said = _run(client, place, environment, SECRET + "\n")
    finally:
        service.send_signal(signal.SIGTERM)
        service.communicate(timeout=PATIENCE)
    (place / f"{step.name}.txt").write_text(said)
    events = [json.loads(line) for line in (place / files[0]).read_text("utf-8").splitlines()]
    return Seen(port, said.splitlines(), events, _tshark(step, place, port))


def _run(command: list[str], place: Path, environment: dict[str, str], typed: str = "") -> str:
    """Run it to its end; what it said on stderr."""
    done = subprocess.run(
        [sys.executable, *command],
        check=False,
        cwd=place,
        env=environment,
        input=typed,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode:
        raise SystemExit(f"{command}: {done.returncode}\n{done.stderr}")
    return done.stderr


#: Lines of tshark's that the page shows, and characters of any line.
SHOWN, WIDTH = {"classic": 34}, 118
#: What is asked of tshark about each capture.
QUESTIONS = {
    "classic": ("-q", "-z", "follow,tcp,ascii,0"),
    "rsa": (
        *("-Y", "tcp.len > 0", "-T", "fields", "-E", "header=y"),
        *("-e", "frame.time_relative", "-e", "tcp.srcport", "-e", "tcp.len"),
    ),
    "tls": ("-Y", "tls"),
}


def _tshark(step: Step, place: Path, port: int) -> str:
    """What tshark says of the step's capture; empty where there is none."""
    if shutil.which("tshark") is None:
        return ""
    done = subprocess.run(
        question(step.name, port), check=True, cwd=place, capture_output=True, text=True, timeout=PATIENCE
    )
    return done.stdout


def question(name: str, port: int) -> list[str]:
    """The command that asks tshark."""
    decode = ["-d", f"tcp.port=={port},tls"] if name == "tls" else []
    return ["tshark", "-r", f"{name}.pcap", *decode, *QUESTIONS[name]]


# --------------------------------------------------------------------------------------------- the page


def blocks(seen: dict[str, Seen]) -> dict[str, str]:
    """The generated parts of the page."""
    found = {}
    for name, step in seen.items():
        found[f"{name} opening"] = _page(step, "\n".join(_opening(step.screen)))
        found[f"{name} message"] = _page(step, "\n".join(_message(step.screen)))
        if step.tshark:
            asked = " ".join(f"'{word}'" if " " in word else word for word in question(name, step.port))
            lines = [line.expandtabs(12).rstrip()[:WIDTH] for line in step.tshark.splitlines()]
            most = SHOWN.get(name, 12)
            shown = [*lines[:most], *([f"… {len(lines) - most} more"] if len(lines) > most else [])]
            found[f"{name} tshark"] = _page(step, "\n".join([f"$ {asked}", *shown]))
    return found


def _page(step: Seen, text: str) -> str:
    text = re.sub(rf"\b{step.port}\b", str(PORT), text)
    lines = [part for line in text.splitlines() for part in _wrapped(line)]
    return "\n".join(f"    {line}".rstrip() for line in lines)


def _wrapped(line: str) -> list[str]:
    """A long line in several, those that follow indented."""
    if len(line) <= WIDTH:
        return [line]
    margin = " " * (len(line) - len(line.lstrip()) + 2)
    return wrap(line, WIDTH, initial_indent=margin[2:], subsequent_indent=margin, break_on_hyphens=False)


def _groups(screen: list[str]) -> list[list[str]]:
    """The screen's lines, one list for each thing that passed."""
    groups: list[list[str]] = []
    for line in screen:
        if line.startswith("encchat-client: "):
            continue
        if not line.startswith(" ") or not groups:
            groups.append([])
        groups[-1].append(line)
    return groups


def _opening(screen: list[str]) -> list[str]:
    """All up to the proof, without most of the bytes."""
    found = []
    for group in _groups(screen):
        found += [line for line in group if not re.match(r" {20}", line)]
        if group[0].startswith("-- secure"):
            break
    return found


def _message(screen: list[str]) -> list[str]:
    """The secret on its way out: opened, and the bytes that carry it."""
    groups = _groups(screen)
    at = next(index for index, group in enumerate(groups) if group[0].startswith("→") and SECRET in group[0])
    carrier = next(group for group in groups[at:] if group[0].startswith("⇒"))
    return [*groups[at], *carrier]


def write_page(found: dict[str, str]) -> None:
    """Put the parts into the page, between their marks."""
    page = PAGE.read_text("utf-8")
    for name, text in found.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, mark, rest = page.partition(begin)
        _, close, after = rest.partition(end)
        if not mark or not close:
            raise SystemExit(f"{PAGE} has no place for {name}")
        page = f"{before}{begin}\n{text}\n\n{end}{after}"
    PAGE.write_text(page, "utf-8")


def main(arguments: list[str]) -> int:
    """Run the script."""
    if len(arguments) == 2 and arguments[0] == "--into":
        place = Path(arguments[1])
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        demonstrate(place.resolve())
        return 0
    if arguments:
        print("usage: python docs/see_it.py [--into DIR]", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="encchat-see-it-") as directory:
        write_page(blocks(demonstrate(Path(directory))))
    print(f"{PAGE} written", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
