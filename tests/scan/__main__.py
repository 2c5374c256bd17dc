"""Starts the service with ``--cipher tls`` and lets scanners judge it: sslyze, and testssl.sh if it is there.

``python -m tests.scan --sslyze PATH`` fails (exit code 1) when sslyze does not find it compliant with
Mozilla's "modern" configuration, or when testssl.sh says "NOT ok" about anything that is not said of every
private authority. sslyze has an environment of its own, requirements/scan.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()", "--pidfile=", "-n")
ADMIN = ("-c", "from encchat.cli.admin import main; main()")

#: Seconds that a scanner may take.
PATIENCE = 300

#: What testssl.sh says of any authority that publishes its revocation list in a file and not at a URL.
EXPECTED = ("neither CRL nor OCSP URI provided",)


def main() -> int:
    """Scan, print what was found, and say whether it is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sslyze", default=shutil.which("sslyze"), help="the command")
    parser.add_argument(
        "--testssl", default=shutil.which("testssl.sh") or shutil.which("testssl"), help="the command"
    )
    options = parser.parse_args()
    if options.sslyze is None:
        print("There is no sslyze. Install requirements/scan.txt, and give its path with --sslyze.")
        return 2
    with tempfile.TemporaryDirectory(prefix="encchat-scan-") as home, service(Path(home)) as port:
        certs = Path(home) / "certs"
        complaints = sslyze(options.sslyze, certs, port)
        if options.testssl is None:
            print("testssl.sh is not there: apt-get install testssl.sh")
        else:
            complaints += testssl(options.testssl, certs, port)
    for complaint in complaints:
        print(f"complaint: {complaint}")
    print("no complaints" if not complaints else f"{len(complaints)} complaints")
    return int(bool(complaints))


@contextmanager
def service(home: Path) -> Iterator[int]:
    """The service with fresh certificates, on a free port."""
    certs = home / "certs"
    for command in (("init",), ("server", "localhost", "127.0.0.1"), ("user", "scanner"), ("crl",)):
        run(sys.executable, *ADMIN, "ca", *command, "--dir", str(certs))
    process = subprocess.Popen(
        [
            *(sys.executable, *TWISTD, f"--logfile={home / 'log'}", "encchat"),
            *("--announce", "--data", str(home / "data")),
            *("--cipher", f"tls:certs={certs}", "--port", "tcp:0:interface=127.0.0.1"),
            *("--max-half-open", "1000"),  # a scanner is nothing but half-open connections
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                yield int(json.loads(line)["port"])
                break
        else:
            raise SystemExit("the service did not start")
    finally:
        process.terminate()
        process.wait(20)


def sslyze(command: str, certs: Path, port: int) -> list[str]:
    """What sslyze finds against Mozilla's modern configuration."""
    shown = ("--cert", str(certs / "scanner.pem"), "--key", str(certs / "scanner.key"))
    known = ("--certinfo_ca_file", str(certs / "ca.pem"))
    status, text = run(command, *shown, *known, "--mozilla_config", "modern", f"localhost:{port}", fail=False)
    words = [line.strip() for line in text.splitlines()]
    verdict = next((number for number, line in enumerate(words) if line.startswith("Checking results")), 0)
    print("sslyze:", *filter(None, words[verdict:]), sep="\n  ")
    return [] if status == 0 and "OK - Compliant." in text else ["sslyze does not find it compliant"]


def testssl(command: str, certs: Path, port: int) -> list[str]:
    """What testssl.sh calls "NOT ok"."""
    quiet = (
        "--quiet",
        "--warnings",
        "off",
        "--color",
        "0",
        "--openssl",
        shutil.which("openssl") or "openssl",
    )
    _, text = run(command, *quiet, "--add-ca", str(certs / "ca.pem"), f"localhost:{port}", fail=False)
    if "TLS 1.3    offered (OK)" not in text:
        return [f"testssl.sh could not scan: {text[-500:]}"]
    found = [" ".join(line.split()) for line in text.splitlines() if "not ok" in line.lower()]
    expected = [line for line in found if any(words in line for words in EXPECTED)]
    for line in expected:
        print(f"testssl.sh, as of any private authority: {line}")
    return [f"testssl.sh: {line}" for line in found if line not in expected]


def run(*command: str, fail: bool = True) -> tuple[int, str]:
    """Run a command to its end: its exit code and its output."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)} if command[0] == sys.executable else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if fail and done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.returncode, done.stdout or done.stderr


if __name__ == "__main__":
    sys.exit(main())
