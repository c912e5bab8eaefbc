# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file on the host of the authorities with a company's lists of revoked certificates, in PEM or DER."""

from __future__ import annotations

import base64
import contextlib
from typing import Any, Iterable

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.revocations import RevocationList

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography import x509


def read(path: str, place: str) -> list[RevocationList]:
    """Return the lists in a file, at least one. Raises TlsError, naming ``place``, OSError."""
    content = files.read(path)
    if content is None:
        raise TlsError(
            f"{place}: {path}: expected a file with lists of revoked certificates (CRLs), found nothing.",
            remedy="Put it there, or correct the path.",
            code="source_lists_missing",
        )
    if b"-----BEGIN" not in content:
        body = base64.encodebytes(content).decode("ascii")
        content = f"-----BEGIN X509 CRL-----\n{body}-----END X509 CRL-----\n".encode("ascii")
    return revocations.read_pem(content.decode("utf-8", "replace") or "-", f"{place}: {path}")


def parse(content: bytes) -> list[RevocationList]:
    """Return the lists of a file that this collection has written; none of a damaged one."""
    with contextlib.suppress(TlsError):
        return revocations.read_pem(content.decode("ascii", "replace"), "lists")
    return []


def newest(found: Iterable[RevocationList], owners: Iterable[Certificate]) -> dict[bytes, RevocationList]:
    """Return the newest list that each of some CAs has signed, by the DER of the CA."""
    lists = sorted(found, key=lambda one: (one.this_update, one.number))
    known = {owner.der: [one for one in lists if is_from(one, owner)] for owner in owners}
    return {der: own[-1] for der, own in known.items() if own}


def is_from(one: RevocationList, owner: Certificate) -> bool:
    """Return whether a CA has signed a list."""
    if not one.is_of(owner):
        return False
    key: Any = x509.load_der_x509_certificate(owner.der).public_key()
    return bool(x509.load_der_x509_crl(one.encoded).is_signature_valid(key))
