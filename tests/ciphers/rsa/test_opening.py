"""The grammar of S1 and of the hello, to the byte; and that the classroom script can read S1."""

from __future__ import annotations

import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from twisted.trial.unittest import TestCase

from encchat.ciphers.rsa.failures import Downgrade, HandshakeFailed
from encchat.ciphers.rsa.opening import (
    MAX_C1,
    MAX_S1,
    build_hello,
    build_s1,
    find_hello,
    find_s1,
    parse_hello,
    parse_s1,
)
from encchat.ciphers.rsa.primitives import modulus
from tests.ciphers.rsa import rig
from tests.ciphers.rsa.rig import C1, I_C, I_S, KEYS, S1

LINES = S1.split(b"\n")


def with_line(place: int, line: bytes) -> bytes:
    return b"\n".join([*LINES[:place], line, *LINES[place + 1 :]])


class Opening(TestCase):
    """S1."""

    def test_what_it_says(self) -> None:
        opening = parse_s1(S1)
        self.assertEqual(opening.raw, S1)
        self.assertEqual(opening.protocols, ("encchat/2", "encchat/1"))
        self.assertEqual(opening.identity, modulus(I_S.public_key()))

    def test_the_script_reads_the_classic_key(self) -> None:
        theirs = rsa.PublicKey.load_pkcs1(S1)
        self.assertEqual(theirs.n, KEYS.classic.public_numbers().n)

    def test_where_it_ends(self) -> None:
        self.assertEqual(find_s1(S1), len(S1))
        self.assertEqual(find_s1(S1 + S1), len(S1))
        for size in range(len(S1)):
            self.assertIsNone(find_s1(S1[:size]))

    def test_what_cannot_become_one(self) -> None:
        for garbage in (b"x", b"-----BEGIN RSA PRIVATE", b"-----BEGIN RSA PUBLIC KEY-----\r"):
            self.assertRaises(HandshakeFailed, find_s1, garbage)
        for classic in (b"MIIBCg", b"\n", b"Encchat: hrsa2", b"encchat"):
            self.assertRaises(Downgrade, find_s1, LINES[0] + b"\n" + classic)

    def test_it_is_bounded(self) -> None:
        self.assertIsNone(find_s1(S1[:700].ljust(MAX_S1 - 1, b"A")))
        self.assertRaises(HandshakeFailed, find_s1, S1[:700].ljust(MAX_S1, b"A"))
        self.assertRaises(HandshakeFailed, parse_s1, S1.replace(b"MIIB", b"A" * 100 + b"MIIB"))

    def test_protocols(self) -> None:
        for fine in (b"a", b"encchat/1,encchat/2,c,d", b"." * 15, b"a-b/c.9"):
            self.assertEqual(
                ",".join(parse_s1(with_line(1, b"Encchat: hrsa1 " + fine)).protocols), fine.decode("ascii")
            )
        for wrong in (
            b"",
            b"a,",
            b",a",
            b"a,,b",
            b"a, b",
            b"a,b,c,d,e",
            b"A",
            b"." * 16,
            b"a ",
            b"a\r",
            b"\xc3\xa9",
        ):
            self.assertRaises(HandshakeFailed, parse_s1, with_line(1, b"Encchat: hrsa1 " + wrong))

    def test_lines(self) -> None:
        shorter = LINES[2][:-1]
        for wrong in (
            with_line(1, b"Encchat:  hrsa1 encchat/1"),
            with_line(1, b"Encchat: hrsa1 encchat/1\nX-More: 1"),
            with_line(2, shorter),
            with_line(2, LINES[2] + b"A"),
            with_line(2, shorter + b"="),
            with_line(2, shorter + b"+"),
            with_line(2, shorter + b"\n"),
            with_line(3, b" "),
            with_line(3, b"\n\n"[:0] + b"\r"),
            with_line(4, LINES[4] + b" "),
            with_line(4, LINES[4] + b"-"),
            S1[:-1],
            S1 + b"\n",
            S1.replace(b"\n", b"\r\n"),
            S1 + S1,
            b"",
        ):
            self.assertRaises(HandshakeFailed, parse_s1, wrong)

    def test_a_body_of_any_sensible_size(self) -> None:
        head, end = b"\n".join(LINES[:4]), LINES[-2]
        for size, fine in ((99, False), (100, True), (350, True), (721, False)):
            raw = head + b"\n" + b"A" * size + end + b"\n"
            if fine:
                self.assertEqual(parse_s1(raw).raw, raw)
            else:
                self.assertRaises(HandshakeFailed, parse_s1, raw)

    def test_what_cannot_be_said(self) -> None:
        for protocols in ((), ("a",) * 5, ("A",), ("a\nb",), ("a" * 16,), ("",)):
            self.assertRaises(ValueError, build_s1, protocols, I_S.public_key(), KEYS.classic)
        self.assertRaises(ValueError, build_s1, ("a",), rig.E_S.public_key(), KEYS.classic)
        large = RSAPublicNumbers(65537, (1 << 4095) | 1).public_key()
        self.assertRaises(ValueError, build_s1, ("a",), I_S.public_key(), large)

    def test_classic_keys_of_every_size_in_use_fit(self) -> None:
        for bits in (1024, 2048):
            key = RSAPublicNumbers(65537, (1 << bits - 1) | 1).public_key()
            self.assertEqual(
                parse_s1(build_s1(("encchat/1",), I_S.public_key(), key)).protocols, ("encchat/1",)
            )


class Hello(TestCase):
    """The hello."""

    def test_what_it_says(self) -> None:
        hello = parse_hello(C1[:-384])
        self.assertEqual(hello.raw, C1[:-384])
        self.assertEqual(hello.protocol, "encchat/1")
        self.assertEqual(hello.identity, modulus(I_C.public_key()))
        self.assertEqual(hello.record, modulus(rig.E_C.public_key()))

    def test_where_it_ends(self) -> None:
        size = len(C1) - 384
        self.assertEqual(find_hello(C1), size)
        self.assertEqual(find_hello(C1[:size]), size)
        for short in range(size):
            self.assertIsNone(find_hello(C1[:short]))

    def test_the_longest(self) -> None:
        hello = build_hello("a" * 15, I_C.public_key(), rig.E_C.public_key())
        self.assertEqual(len(hello) + 384, MAX_C1)
        self.assertEqual(parse_hello(hello).protocol, "a" * 15)

    def test_what_cannot_become_one(self) -> None:
        for garbage in (
            b"e",
            b"ENCCHAT\n",
            b"ENCCHAT hrsa1 \n",
            b"ENCCHAT hrsa1 a b",
            b"ENCCHAT hrsa1 " + b"a" * 16,
        ):
            self.assertRaises(HandshakeFailed, find_hello, garbage)

    def test_what_cannot_be_said(self) -> None:
        for protocol in ("", "A", "a" * 16, "a\n", "a,b"):
            self.assertRaises(ValueError, build_hello, protocol, I_C.public_key(), rig.E_C.public_key())
