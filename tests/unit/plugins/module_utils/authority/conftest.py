"""Authorities, keys and requests that the tests of this folder start from."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.tests.shared import NOW
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


@pytest.fixture
def now() -> int:
    return NOW


@pytest.fixture(scope="session")
def rsa_2048() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="session")
def leaf_keys(rsa_2048: rsa.RSAPrivateKey) -> dict[str, Any]:
    """Return a private key of every type that a leaf may have."""
    return {
        "P-256": ec.generate_private_key(ec.SECP256R1()),
        "P-384": ec.generate_private_key(ec.SECP384R1()),
        "RSA-2048": rsa_2048,
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    }


@pytest.fixture(scope="session")
def csr_of() -> Callable[[Any], str]:
    """Return a function that makes a certificate request (PEM) for a private key."""

    def make(key: Any, common_name: str = "whoever") -> str:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        names = x509.SubjectAlternativeName([x509.DNSName("stolen.example")])
        builder = x509.CertificateSigningRequestBuilder().subject_name(name).add_extension(names, critical=False)
        algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode("ascii")

    return make


@pytest.fixture(scope="session")
def csr(csr_of: Callable[[Any], str], leaf_keys: dict[str, Any]) -> str:
    return csr_of(leaf_keys["P-256"])


@pytest.fixture(scope="session")
def server_ca() -> issuing.Authority:
    return issuing.new_authority("server", "P-256", NOW)


@pytest.fixture(scope="session")
def client_ca() -> issuing.Authority:
    return issuing.new_authority("client", "P-256", NOW)


@pytest.fixture
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a command and returns what came of it."""

    def command(*argv: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(arg) for arg in argv], input=stdin, capture_output=True, text=True, check=False)

    return command
