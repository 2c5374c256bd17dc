"""The classic profile: keys that are taken and refused, blocks, and where text is cut."""

from itertools import pairwise

import rsa
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from rsa.pem import save_pem
from twisted.trial.unittest import TestCase

from encchat.ciphers.rsa import classic
from encchat.ciphers.rsa.keys import make_record_key
from encchat.core.identity import is_fingerprint
from tests.ciphers.rsa.script import PEM, PRIVATE, PUBLIC

OURS = make_record_key()


def der_of(modulus: int, exponent: int) -> bytes:
    return bytes(rsa.PublicKey(modulus, exponent).save_pkcs1("DER"))


def pem_of(modulus: int, exponent: int) -> bytes:
    return bytes(save_pem(der_of(modulus, exponent), "RSA PUBLIC KEY"))


class Reading(TestCase):
    """A PEM is taken off the stream, however it is cut."""

    def test_in_one_piece_with_blocks_behind_it(self) -> None:
        self.assertEqual(classic.PemReader().feed(PEM + b"blocks"), (PEM, b"blocks"))

    def test_byte_by_byte(self) -> None:
        reader = classic.PemReader()
        for at in range(len(PEM) - 1):
            self.assertIsNone(reader.feed(PEM[at : at + 1]))
        self.assertEqual(reader.feed(PEM[-1:] + b"x"), (PEM, b"x"))

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(0, 800), max_size=12), st.binary(max_size=600))
    def test_in_any_cuts(self, cuts: list[int], behind: bytes) -> None:
        stream = PEM + behind
        marks = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        reader, found, rest = classic.PemReader(), None, b""
        for start, end in pairwise(marks):
            if found is None:
                answer = reader.feed(stream[start:end])
                if answer is not None:
                    found, rest = answer
            else:
                rest += stream[start:end]
        self.assertEqual((found, rest), (PEM, behind))

    def refused(self, *segments: bytes) -> str:
        reader = classic.PemReader()
        with self.assertRaises(classic.ClassicKeyRefused) as caught:
            for segment in segments:
                self.assertIsNone(reader.feed(segment))
        return str(caught.exception)

    def test_one_hundred_kilobytes_are_refused_within_the_first(self) -> None:
        reader = classic.PemReader()
        self.assertIsNone(reader.feed(classic.BEGIN + b"\n"))
        self.assertIsNone(reader.feed(b"A" * 900))
        with self.assertRaises(classic.ClassicKeyRefused) as caught:
            reader.feed(b"A" * 100_000)
        self.assertIn("1024 bytes", str(caught.exception))
        self.assertLessEqual(len(reader._held), classic.PEM_LIMIT)

    def test_an_end_that_lies_beyond_the_limit_is_refused(self) -> None:
        body = b"A" * (classic.PEM_LIMIT - len(classic.BEGIN) - len(classic.END) - 1)
        self.assertIn("1024 bytes", self.refused(classic.BEGIN + b"\n" + body + classic.END + b"\n"))

    def test_a_private_key_is_refused_as_such(self) -> None:
        self.assertIn("private key", self.refused(PRIVATE.save_pkcs1("PEM")))
        self.assertIn("private key", self.refused(b"-----BEGIN PRIVATE KEY-----\n"))

    def test_another_beginning_is_refused_at_once(self) -> None:
        self.assertIn("-----BEGIN RSA PUBLIC KEY-----", self.refused(b"-----BEGIN RSB"))
        self.assertIn("begin", self.refused(b"-", b"hello"))

    def test_our_own_pem_can_be_read_by_the_script(self) -> None:
        key = rsa.PublicKey.load_pkcs1(classic.pem(OURS.public_key()))
        self.assertEqual(key.n, OURS.public_key().public_numbers().n)


class Keys(TestCase):
    """A key is checked before anything is done with it."""

    def refused(self, pem: bytes) -> str:
        with self.assertRaises(classic.ClassicKeyRefused) as caught:
            classic.read_key(pem)
        self.assertEqual(caught.exception.code, "classic-key")
        return str(caught.exception)

    def test_the_script_s_key(self) -> None:
        key = classic.read_key(PEM)
        self.assertEqual((key.public.n, key.public.e), (PUBLIC.n, 65537))
        self.assertEqual((key.bits, key.size, key.room), (1024, 128, 117))
        self.assertTrue(is_fingerprint(key.fingerprint))

    def test_the_fingerprint_is_of_the_spki_as_everywhere(self) -> None:
        key = classic.read_key(classic.pem(OURS.public_key()))
        self.assertEqual(key.fingerprint, classic.key_fingerprint(OURS.public_key()))

    def test_header_lines_are_skipped(self) -> None:
        first, rest = PEM.split(b"\n", 1)
        key = classic.read_key(first + b"\nEncchat: hrsa1 encchat/1\nEncchat-Id: AAAA\n\n" + rest)
        self.assertEqual(key.public.n, PUBLIC.n)

    def test_line_ends_of_another_system(self) -> None:
        self.assertEqual(classic.read_key(PEM.replace(b"\n", b"\r\n")).public.n, PUBLIC.n)

    def test_sizes_that_are_no_multiple_of_eight(self) -> None:
        key = classic.read_key(pem_of((1 << 1024) + 1, 65537))
        self.assertEqual((key.bits, key.size, key.room), (1025, 129, 118))

    def test_512_bits_are_too_few(self) -> None:
        self.assertIn("512 bits", self.refused(pem_of((1 << 511) + 1, 65537)))
        self.assertIn("1023 bits", self.refused(pem_of((1 << 1022) + 1, 65537)))

    def test_more_than_4096_bits_are_too_many(self) -> None:
        self.assertEqual(classic.read_key(pem_of((1 << 4095) + 1, 65537)).bits, 4096)
        self.assertIn("4097 bits", self.refused(pem_of((1 << 4096) + 1, 65537)))

    def test_an_even_modulus(self) -> None:
        self.assertIn("modulus is even", self.refused(pem_of(1 << 1023, 65537)))

    def test_exponents_that_hide_nothing_or_take_long(self) -> None:
        for exponent in (0, 1, 2, 4, 65536, 2**31 + 1, (1 << 1022) + 1):
            self.assertIn("exponent", self.refused(pem_of((1 << 1023) + 1, exponent)))
        self.assertEqual(classic.read_key(pem_of((1 << 1023) + 1, 3)).public.e, 3)

    def test_what_is_not_a_pkcs1_key_in_der(self) -> None:
        good = der_of((1 << 1023) + 1, 65537)
        for der in (
            b"\x30",
            b"\x30\x80" * 200,  # nested, of indefinite length
            good[:-1],
            good + b"\x00",
            b"\x31" + good[1:],
            b"\x30\x81\x05\x02\x01\x03\x02\x01",  # a long length where a short one does
            b"\x30\x84\x00\x00\x00\x06\x02\x01\x03\x02\x01\x03",
            b"\x30\x06\x02\x01\x83\x02\x01\x03",  # negative
            b"\x30\x06\x02\x02\x00\x03\x02\x00",  # with a zero too many
            b"\x30\x09\x02\x01\x03\x02\x01\x03\x02\x01\x03",  # three numbers
            b"\x30\x05\x02\x00\x02\x01\x03",  # an empty number
        ):
            self.assertIn("PKCS#1", self.refused(save_pem(der, "RSA PUBLIC KEY")), der.hex())

    def test_what_is_not_pem(self) -> None:
        end = b"\n" + classic.END + b"\n"
        self.assertIn("not PEM", self.refused(classic.BEGIN + b"\n!!!" + end))
        self.assertIn("not PEM", self.refused(classic.BEGIN + b"\n" + end[1:]))
        self.assertIn("PKCS#1", self.refused(classic.BEGIN + b"\nA" + end))

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_a_damaged_key_is_taken_or_refused_and_nothing_else(self, data: st.DataObject) -> None:
        der = bytearray(der_of(PUBLIC.n, 65537))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(der) - 1) | st.integers(0, 8))
            der[at] = data.draw(st.integers(0, 255))
        try:
            key = classic.read_key(save_pem(bytes(der), "RSA PUBLIC KEY"))
        except classic.ClassicKeyRefused:
            return
        self.assertEqual(key.public.n % 2, 1)
        self.assertEqual(key.public.save_pkcs1("DER"), bytes(der))


class Blocks(TestCase):
    """Both directions are the script's."""

    def block(self, text: bytes) -> bytes:
        public = rsa.PublicKey.load_pkcs1(classic.pem(OURS.public_key()))
        return bytes(rsa.encrypt(text, public))

    def test_what_the_script_sends_is_read(self) -> None:
        blocks = [self.block(b""), self.block("Grüß dich".encode())]
        self.assertEqual(classic.open_blocks(OURS, blocks), ["", "Grüß dich"])

    def test_what_we_send_is_read_by_the_script(self) -> None:
        block = classic.seal_block(classic.read_key(PEM), "ä".encode() * 58)
        self.assertEqual(rsa.decrypt(block, PRIVATE), "ä".encode() * 58)

    def test_what_is_not_text_is_none(self) -> None:
        self.assertEqual(classic.open_blocks(OURS, [self.block(b"\xff\xfe")]), [None])

    def test_a_number_above_the_modulus_is_none(self) -> None:
        self.assertEqual(classic.open_blocks(OURS, [b"\xff" * 256]), [None])

    def test_bad_padding_raises_nothing_and_always_gives_the_same(self) -> None:
        public = OURS.public_key().public_numbers()
        bad = [pow(number, public.e, public.n).to_bytes(256, "big") for number in range(2, 40)]
        opened = classic.open_blocks(OURS, bad)
        self.assertEqual(opened, classic.open_blocks(OURS, bad))
        self.assertIn(None, opened)

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=70), st.lists(st.integers(0, 70), max_size=8))
    def test_blocks_are_cut_at_the_key_s_size(self, stream: bytes, cuts: list[int]) -> None:
        cutter, blocks = classic.BlockCutter(8), []
        marks = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        for start, end in pairwise(marks):
            blocks += cutter.feed(stream[start:end])
        self.assertEqual(blocks, [stream[at : at + 8] for at in range(0, len(stream) // 8 * 8, 8)])

    def test_a_message_is_one_line(self) -> None:
        self.assertEqual(classic.as_line("a\r\nb\nc"), b"a b c\n")
        self.assertEqual(classic.as_line(""), b"\n")


class Cutting(TestCase):
    """Long text is cut where a reader minds it least."""

    def cut(self, line: str, room: int = 117) -> list[str]:
        return [piece.decode("utf-8") for piece in classic.pieces(line, room)]

    @settings(max_examples=150, deadline=None)
    @given(
        st.text(st.sampled_from("a \u0301\u200dé漢😀👍🏽🇨🇭"), max_size=120) | st.text(max_size=80),
        st.integers(4, 40),
    )
    def test_the_pieces_fit_and_make_the_line(self, line: str, room: int) -> None:
        pieces = list(classic.pieces(line, room))
        self.assertEqual(b"".join(pieces).decode("utf-8"), line)
        self.assertLessEqual(max(map(len, pieces)), room)
        if line:
            self.assertNotIn(b"", pieces)

    def test_short_and_empty_lines_are_one_piece(self) -> None:
        self.assertEqual(self.cut(""), [""])
        self.assertEqual(self.cut("x" * 117), ["x" * 117])

    def test_behind_a_space_near_the_end(self) -> None:
        self.assertEqual(self.cut("aaaa bbbb cccc", 12), ["aaaa bbbb ", "cccc"])

    def test_not_behind_a_space_far_from_the_end(self) -> None:
        self.assertEqual(self.cut("a bbbbbbbbbbbbbb", 12), ["a bbbbbbbbbb", "bbbb"])

    def test_never_inside_a_code_point(self) -> None:
        self.assertEqual(self.cut("äää", 5), ["ää", "ä"])
        self.assertEqual(self.cut("😀😀", 7), ["😀", "😀"])

    def test_not_before_a_combining_mark(self) -> None:
        self.assertEqual(self.cut("aaae\u0301b", 4), ["aaa", "e\u0301b"])

    def test_not_inside_an_emoji_sequence(self) -> None:
        self.assertEqual(self.cut("aa👍🏽", 9), ["aa", "👍🏽"])
        self.assertEqual(self.cut("a👩\u200d💻", 11), ["a", "👩\u200d💻"])

    def test_not_inside_a_flag(self) -> None:
        self.assertEqual(self.cut("a🇨🇭🇩🇪", 13), ["a🇨🇭", "🇩🇪"])
        self.assertEqual(self.cut("🇨🇭🇩🇪", 12), ["🇨🇭", "🇩🇪"])

    def test_a_flood_of_marks_is_cut_somewhere(self) -> None:
        line = "e" + "\u0301" * 300
        self.assertEqual("".join(self.cut(line)), line)


class OwnKey(TestCase):
    """Our key for this profile."""

    def test_the_script_s_recv_holds_its_pem(self) -> None:
        self.assertLess(len(classic.pem(OURS.public_key())), 1024)

    def test_it_loads_as_pkcs1(self) -> None:
        loaded = serialization.load_pem_public_key(classic.pem(OURS.public_key()))
        self.assertEqual(loaded, OURS.public_key())
