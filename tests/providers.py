# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for a provider of managed databases: roots of several generations, and bundles as providers publish them.

Its server is a real one, which shows a certificate below an issuing CA of one of the generations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.companies import Authority
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

NAMES = ("localhost", "orders.provider.example")


def root(name: str, *, start: int = NOW - 10 * DAY, days: int = 3650) -> Authority:
    """Return a root with a small key."""
    return companies.authority(name, start=start, days=days, key=ec.generate_private_key(ec.SECP256R1()))


class Generation(NamedTuple):
    """A root of the provider, and the CA below it that issues certificates for its servers."""

    root: Authority
    issuing: Authority

    @classmethod
    def made(cls, number: int, *, start: int = NOW - 10 * DAY) -> Generation:
        """Return a generation of a provider."""
        top = root(f"Provider Root G{number}", start=start)
        return cls(top, companies.authority(f"Provider Issuing G{number}", top, start=start))

    def leaf(self, names: Sequence[str] = NAMES, *, common_name: str = "orders", **life: Any) -> tuple[Any, Any]:
        """Return a new certificate of a server, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return companies.leaf(self.issuing, key.public_key(), common_name, names, **life), key

    def serve(self, cluster: Any, clients: Path, names: Sequence[str] = NAMES, **life: Any) -> None:
        """Have a cluster show a new certificate of this generation, without the root, as most providers do."""
        made, key = self.leaf(names, **life)
        chain, private = cluster.home / "provider.crt", cluster.home / "provider.key"
        chain.write_bytes(pem(made) + pem(self.issuing.certificate))
        plain = (Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        private.write_bytes(key.private_bytes(*plain))
        cluster.serve(chain, private, clients)


def pem(found: x509.Certificate) -> bytes:
    """Return a certificate in PEM."""
    return found.public_bytes(Encoding.PEM)


def bundles(roots: Sequence[Authority], directory: Path, order: int = 0) -> list[Path]:
    """Write roots to files in all forms, in the order of this number, with comments, CRLF and duplicates."""
    found = [one.certificate for one in roots]
    found.sort(key=lambda one: hashlib.sha256(pem(one) + bytes([order])).digest())
    texts = [b"# " + one.subject.rfc4514_string().encode() + b"\n\n" + pem(one) for one in [*found, *found[:5]]]
    files = {
        "all.pem": b"".join(texts).replace(b"\n", b"\r\n"),
        "one.der": found[0].public_bytes(Encoding.DER),
        "some.p7b": pkcs7.serialize_certificates(found[1:3], Encoding.DER),
        "more.p7b": pkcs7.serialize_certificates(found[2:4], Encoding.PEM),
    }
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return [directory / name for name in sorted(files, reverse=order % 2 == 1)]
