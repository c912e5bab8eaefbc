# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file on the host of the authorities with the certificates of roots, and perhaps of CAs below them."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import authorities
from ansible_collections.pgops.tls.plugins.module_utils.source.contract import Trust
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


def read(path: str, place: str) -> list[Certificate]:
    """Return the CAs in a file, at least one of them a root. Raises TlsError, naming ``place``, OSError."""
    content = files.read(path)
    if content is None:
        raise TlsError(
            f"{place}: {path}: expected a file with the root's certificate in PEM, found nothing.",
            remedy="Put it there, or correct the path.",
            code="source_roots_missing",
        )
    found = authorities(content.decode("utf-8", "replace"), f"{place}: {path}")
    if not any(one.is_self_signed for one in found):
        raise TlsError(
            f"{place}: {path}: expected a root, found only {', '.join(repr(one.common_name) for one in found)}, which "
            "another CA has signed.",
            remedy="Add the certificate of the root itself.",
            code="source_root_missing",
        )
    return found


def trust(path: str, place: str, type_: str) -> Trust:
    """Return what to trust by such a file. Raises TlsError, naming ``place``, OSError."""
    found = read(path, place)
    return Trust(type_, [one for one in found if one.is_self_signed], [one for one in found if not one.is_self_signed])
