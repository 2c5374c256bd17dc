"""What the classroom script does, with its sockets, threads and the ``rsa`` package, but without questions.

    python -m tests.process.classic_peer 1 PORT     the script's answer 1: listen (0: on any free port)
    python -m tests.process.classic_peer 2 PORT     its answer 2: connect

Lines from stdin are sent as they come, each as one block; what arrives is printed as ``Partner: TEXT``. With
answer 1 the first line on stdout is ``{"port": N}``, once it listens. Keys, blocks and the one ``recv``
for each of them are the script's, and so are its faults: two blocks in one ``recv`` end its receiving
thread with a traceback on stderr. Unlike the script it ends when the connection does, and after the end of
stdin it only receives.

``--apart`` takes blocks that reach one ``recv`` for several, and so a block behind a key: when the machine
holds this process up, the kernel joins what was sent a tenth of a second apart, and a test cannot tell that
from blocks that were sent together. (That they are not is seen in memory: tests/ciphers/rsa/test_pacing.py.)

``--pause SECONDS`` waits between two lines that are sent. ``--linger SECONDS`` leaves so long after the
last one, ``--until TEXT`` once a message that contains TEXT has arrived. ``--bits N`` makes another key
than the script's 1024 bits, ``--key FILE`` takes one that was made before.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import threading
import time
from typing import Any

import rsa

#: Where a key ends, as both sides write it.
KEY_ENDS = b"-----END RSA PUBLIC KEY-----\n"


class Apart:
    """A socket whose ``recv`` gives one thing: a key, or a block of ``size`` bytes, or what is left."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        self._socket = sock
        self._size = size
        self._held = b""
        self.send, self.shutdown = sock.send, sock.shutdown

    def recv(self, most: int) -> bytes:
        """As a socket's."""
        while not (end := self._end()):
            data = self._socket.recv(most)
            if not data:
                end = len(self._held)
                break
            self._held += data
        one, self._held = self._held[:end], self._held[end:]
        return one

    def _end(self) -> int:
        """Where the first thing ends; 0 if it is not whole."""
        if self._held.startswith(b"-----BEGIN"):
            at = self._held.find(KEY_ENDS)
            return at + len(KEY_ENDS) if at >= 0 else 0
        return self._size if len(self._held) >= self._size else 0


def meet(answer: str, port: int, public: rsa.PublicKey, apart: bool) -> tuple[Any, rsa.PublicKey]:
    """Connect or be connected to, and swap keys in the script's order."""
    size = public.n.bit_length() // 8
    if answer == "1":
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        server.bind(("127.0.0.1", port))
        server.listen()
        say(json.dumps({"port": server.getsockname()[1]}))
        client: Any = server.accept()[0]
        client = Apart(client, size) if apart else client
        client.send(public.save_pkcs1("PEM"))
        return client, rsa.PublicKey.load_pkcs1(client.recv(1024))
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.connect(("127.0.0.1", port))
    client = Apart(client, size) if apart else client
    partner = rsa.PublicKey.load_pkcs1(client.recv(1024))
    client.send(public.save_pkcs1("PEM"))
    return client, partner


def send_lines(client: Any, partner: rsa.PublicKey, pause: float, linger: float | None) -> None:
    """The script's ``sending_message``."""
    for line in sys.stdin:
        message = line.removesuffix("\n")
        client.send(rsa.encrypt(message.encode(), partner))
        if pause:
            time.sleep(pause)
    if linger is not None:
        time.sleep(linger)
        client.shutdown(socket.SHUT_RDWR)


def receive(client: Any, private: rsa.PrivateKey, until: str | None) -> None:
    """The script's ``receiving_message``, until the connection ends."""
    while block := client.recv(1024):
        message = rsa.decrypt(block, private).decode()
        say("Partner: " + message)
        if until is not None and until in message:
            client.shutdown(socket.SHUT_RDWR)


def say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)


def main() -> None:
    """Run until the connection ends."""
    parser = argparse.ArgumentParser(description="the classroom script, without its questions")
    parser.add_argument("answer", choices=("1", "2"))
    parser.add_argument("port", type=int)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--linger", type=float, default=None)
    parser.add_argument("--until", default=None)
    parser.add_argument("--bits", type=int, default=1024)
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--key", type=argparse.FileType("rb"), default=None)
    options = parser.parse_args()
    if options.key is None:
        public, private = rsa.newkeys(options.bits)
    else:
        private = rsa.PrivateKey.load_pkcs1(options.key.read())
        public = rsa.PublicKey(private.n, private.e)
    client, partner = meet(options.answer, options.port, public, options.apart)
    sending = threading.Thread(
        target=send_lines, args=(client, partner, options.pause, options.linger), daemon=True
    )
    receiving = threading.Thread(target=receive, args=(client, private, options.until))
    sending.start()
    receiving.start()
    receiving.join()
    sys.stdout.flush()
    os._exit(0)  # the other thread still reads stdin, and Python might not get past its lock
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the sending thread may hold stdin's lock, which would stop an orderly end


if __name__ == "__main__":
    main()
