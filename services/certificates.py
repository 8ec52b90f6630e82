"""Certificates for a server that is to be reached over TLS, from an authority that exists only for it.

Guarantees: they hold for `localhost` and 127.0.0.1; the authority's key is never written down.
Must not: be trusted by anything but a test.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from services.process import Place


@dataclass(frozen=True)
class Certificates:
    """Files in a server's directory, as PEM."""

    authority: Path  # what a client trusts
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """What a client connects with: it trusts this authority, and nobody else."""
        return ssl.create_default_context(cafile=str(self.authority))


def make_certificates(place: Place) -> Certificates:
    """A new authority, and what it issued to the server of a place."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return Certificates(
        authority=place.write("authority.pem", authority.cert_pem.bytes().decode()),
        certificate=place.write("certificate.pem", chain.decode()),
        key=place.write("key.pem", _key(issued.private_key_pem.bytes())),
    )


def _key(pem: bytes) -> str:
    """The key in the one form that every server reads."""
    key = serialization.load_pem_private_key(pem, password=None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
