"""Whether our own authority says that a certificate gives somebody a name: what sealed rooms ask of people
whom nobody but the server has seen.

The same rules as in a handshake: the chain to an authority of ours, the dates, the revocation lists, the
strength, the EKU clientAuth alone, and exactly one name. OpenSSL verifies the chain.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from OpenSSL import crypto

from encchat.ciphers.tls.contexts import MAX_INTERMEDIATES
from encchat.ciphers.tls.failures import CertificateRefused
from encchat.ciphers.tls.judge import read_user
from encchat.ciphers.tls.material import Material
from encchat.ciphers.tls.words import verify_error
from encchat.core.names import parse_name
from encchat.errors import EncchatError, RefusedError
from encchat.pki.names import user_of
from encchat.pki.profiles import check_strength, fingerprint_of, spki


class NotVouchedFor(RefusedError):
    """Your authority does not vouch that this is {name}: {reason}"""

    code = "not-vouched-for"


def vouch(material: Material, name: str, key: bytes, chain: Sequence[bytes]) -> None:
    """Whether the authorities in force say that the key (DER SubjectPublicKeyInfo) is that of ``name``, whose
    certificates (DER) are ``chain``, its own first.

    :raises NotVouchedFor: they do not, or not any more.
    """
    try:
        _vouch(material, name, key, chain)
    except EncchatError as error:
        raise NotVouchedFor(name=name, reason=str(error)) from None
    except Exception as error:  # a certificate is hostile input: what nobody foresaw is a refusal too
        reason = f"its certificate cannot be understood ({type(error).__name__})"
        raise NotVouchedFor(name=name, reason=reason) from None


def _vouch(material: Material, name: str, key: bytes, chain: Sequence[bytes]) -> None:
    refused = CertificateRefused(peer="user", subject=name, why="it shows no certificate that could be read")
    if not 1 <= len(chain) <= 1 + MAX_INTERMEDIATES:
        raise refused
    try:
        leaf, *between = [x509.load_der_x509_certificate(der) for der in chain]
        named = read_user(chain[0]).user
        found = spki(leaf.public_key())
    except ValueError:
        raise refused from None
    for certificate in (leaf, *between):
        check_strength(certificate)
    if found != key:
        raise CertificateRefused(peer="user", subject=name, why=f"it is for the key {fingerprint_of(leaf)}")
    if named is None or user_of(leaf).key != parse_name(name).key:
        raise CertificateRefused(peer="user", subject=name, why=f"it names {named}")
    context = crypto.X509StoreContext(
        _store(material),
        crypto.X509.from_cryptography(leaf),
        list(map(crypto.X509.from_cryptography, between)),
    )
    try:
        context.verify_certificate()
    except crypto.X509StoreContextError as error:
        number, depth = error.errors[0], error.errors[1]
        raise verify_error(number, error.certificate.to_cryptography(), depth, material.showing) from None


def _store(material: Material) -> crypto.X509Store:
    store = crypto.X509Store()
    for authority in material.authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
    for crl in material.crls:
        store.add_crl(crl)
    if material.crls:
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
    return store
