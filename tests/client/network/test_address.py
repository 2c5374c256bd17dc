"""Addresses as people write them."""

from twisted.trial.unittest import TestCase

from encchat.client.network.address import BadAddress, parse_address, parse_port

GOOD = {
    "127.0.0.1": ("127.0.0.1", 9999),
    "127.0.0.1:1": ("127.0.0.1", 1),
    "localhost": ("localhost", 9999),
    "Chat.Example.ORG:65535": ("chat.example.org", 65535),
    "[::1]:7": ("::1", 7),
    "[::1]": ("::1", 9999),
    "::1": ("::1", 9999),
    "2001:DB8:0:0::1": ("2001:db8::1", 9999),
    "fe80::1%lo": ("fe80::1%lo", 9999),
    "bücher.example": ("xn--bcher-kva.example", 9999),
    "faß.example": ("xn--fa-hia.example", 9999),
    "my_host": ("my_host", 9999),
}
BAD = [
    "",
    ":9999",
    "host:",
    "host:0",
    "host:65536",
    "host:-1",
    "host:٣",
    "host:99999999999999999999",
    "host:http",
    "host name",
    "-host",
    "host-.example",
    "a..b",
    "1.2.3",
    "1.2.3.4.5",
    "256.1.1.1",
    "::g",
    "1:2:3",
    "[::1",
    "[::1]9",
    "[::1]:",
    "[localhost]:9",
    "[]",
    "a\nb",
    "a\x1b[31mb",
    "a" * 64,
    ".".join(["a" * 60] * 5),
    "\ud800",
]


class Addresses(TestCase):
    def test_good_ones(self) -> None:
        for text, (host, port) in GOOD.items():
            address = parse_address(text)
            self.assertEqual((address.host, address.port), (host, port), text)

    def test_bad_ones_are_usage_errors_in_one_line(self) -> None:
        for text in BAD:
            error = self.assertRaises(BadAddress, parse_address, text)
            self.assertEqual(error.exit_code, 2)
            self.assertNotIn("\n", str(error))
            self.assertNotIn("\x1b", str(error))

    def test_the_text_can_be_read_again(self) -> None:
        for text in GOOD:
            address = parse_address(text)
            self.assertEqual(parse_address(str(address)), address)

    def test_default_port(self) -> None:
        self.assertEqual(parse_address("host", 7).port, 7)

    def test_a_port_alone(self) -> None:
        self.assertEqual(parse_port("9999"), 9999)
        self.assertRaises(BadAddress, parse_port, "9999x")
