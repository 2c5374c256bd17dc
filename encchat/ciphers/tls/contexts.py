"""OpenSSL contexts: what is offered, and how certificates are verified. One for each load of the files.

TLS 1.3 alone, client certificates required, AES-256-GCM and ChaCha20-Poly1305. No tickets and no session
cache, as a resumed session shows no certificate and so skips revocation (OpenSSL sends two tickets all
the same; with nothing cached they resume nothing). No compression; renegotiation is not in TLS 1.3.

Key exchange: OpenSSL (from 3.5 on) prefers X25519MLKEM768, then X25519 and P-256, by itself; pyOpenSSL has
nothing to name groups with. So the layer looks which one was chosen, before it answers, and takes those in
``GROUPS`` alone.
"""

from __future__ import annotations

from OpenSSL import SSL, crypto

from encchat import messages
from encchat.ciphers.tls.judge import Judge
from encchat.ciphers.tls.material import Material

PROTOCOL = messages.PROTOCOL.encode("ascii")

#: As OpenSSL names them, which is not the same for all.
GROUPS = frozenset({"X25519MLKEM768", "x25519", "secp256r1", "secp384r1"})
CIPHERS = b"TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

#: Intermediate authorities between a leaf and an authority that we know.
MAX_INTERMEDIATES = 3

#: OpenSSL's ssl.h; pyOpenSSL has no name for it. Send the chain that the file has, rather than look for one
#: in every handshake, which would verify our own certificate each time.
_MODE_NO_AUTO_CHAIN = 0x8


def server_context(material: Material) -> SSL.Context:
    """A context for connections that we accept."""
    context = _context(SSL.TLS_SERVER_METHOD, material)
    for authority in material.authorities:
        context.add_client_ca(crypto.X509.from_cryptography(authority))
    context.set_alpn_select_callback(_select)
    return context


def client_context(material: Material) -> SSL.Context:
    """A context for connections that we open."""
    context = _context(SSL.TLS_CLIENT_METHOD, material)
    context.set_alpn_protos([PROTOCOL])
    return context


def _context(method: int, material: Material) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    # Level 2 asks for 112 bits everywhere: no RSA below 2048, no SHA-1, for the peer's chain as well.
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=2")
    context.set_tls13_ciphersuites(CIPHERS)
    context.set_options(
        SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_mode(SSL.MODE_RELEASE_BUFFERS | _MODE_NO_AUTO_CHAIN)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    leaf, *chain = material.chain
    context.use_certificate(leaf)
    context.use_privatekey(material.key)
    for certificate in chain:
        context.add_extra_chain_cert(certificate)
    _trust(context, material)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
    context.set_verify_depth(MAX_INTERMEDIATES)
    return context


def _trust(context: SSL.Context, material: Material) -> None:
    if material.sources.system:
        context.set_default_verify_paths()
    store = context.get_cert_store()
    assert store is not None  # a new context has one
    for authority in material.authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
    for crl in material.crls:
        store.add_crl(crl)
    if material.crls:
        flags = crypto.X509StoreFlags
        store.set_flags(flags.CRL_CHECK | flags.CRL_CHECK_ALL)


def _verify(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    judge = connection.get_app_data()
    return isinstance(judge, Judge) and judge.hear(certificate, 0 if ok else error, depth)


def _select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    if PROTOCOL in offered:
        return PROTOCOL
    judge = connection.get_app_data()
    assert isinstance(judge, Judge)
    judge.speaks_otherwise = True  # the layer answers with the alert
    return SSL.NO_OVERLAPPING_PROTOCOLS  # type: ignore[return-value]  # pyOpenSSL's own way to say: none
