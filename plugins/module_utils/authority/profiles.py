# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The profiles of the certificates that an authority issues: what RFC 5280 calls their extensions, as data."""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.durations import UNITS
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import CLIENT_AUTH, SERVER_AUTH

SERVER, CLIENT = "server", "client"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")  # of a folder, and part of a common name
# No Ed25519: under an Ed25519 issuer, SCRAM's channel binding fails in PostgreSQL and libpq.
AUTHORITY_KEY_TYPES = ("P-256", "P-384", "RSA-3072", "RSA-4096")
LEAF_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384"}
SMALLEST_LEAF_RSA = 2048  # bits; OpenSSL's default security level refuses less
# A host whose clock is a little behind must not find a certificate that starts in its future.
BACKDATED = 5 * UNITS["m"]


def purpose(authority: str) -> str:
    """Return the one purpose of an authority's certificates, as the OID of an extended key usage.

    PostgreSQL takes a certificate without any for a client's.
    """
    return SERVER_AUTH if authority == SERVER else CLIENT_AUTH


def check_client_authority(name: object, option: str) -> str:
    """Return the name of a client authority. Raises TlsError, naming ``option``, for text that cannot be one."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == SERVER:
        raise TlsError(
            f"{option}: found {shown(name)}, expected the name of a client authority: up to 30 lower-case letters, "
            f"digits and hyphens, the first a letter. {SERVER} is the authority of servers.",
            remedy=f"Use a name such as {CLIENT} or billing.",
            code="authority_name_invalid",
        )
    return name


def is_authority_name(name: str) -> bool:
    """Return whether an authority may have this name."""
    return bool(_NAME.fullmatch(name))


def check_authority(name: str, option: str) -> None:
    """Raise TlsError, naming ``option``, for text that cannot be the name of an authority."""
    if not is_authority_name(name):
        raise TlsError(
            f"{option}: found {shown(name)}, expected the name of an authority, such as {SERVER} or {CLIENT}.",
            code="authority_name_invalid",
        )


class Profile(NamedTuple):
    """One kind of certificate. ``path_length`` counts the CAs that may stand below it; None in a leaf."""

    key_usage: tuple[str, ...]
    key_usage_of_rsa: tuple[str, ...]
    is_purpose_named: bool
    path_length: int | None

    @property
    def is_ca(self) -> bool:
        """Return whether certificates of this profile may issue others."""
        return self.path_length is not None


_SIGNING = ("key_cert_sign", "crl_sign")
# Below a root there are two CAs where it has signed the root that replaces it: that one, and its issuing CA.
ROOT = Profile(key_usage=_SIGNING, key_usage_of_rsa=_SIGNING, is_purpose_named=False, path_length=2)
CROSS = ROOT._replace(path_length=1)
# The purpose of an issuing CA binds all that it issues: whatever it signed, a server's could not log in.
ISSUING = Profile(key_usage=_SIGNING, key_usage_of_rsa=_SIGNING, is_purpose_named=True, path_length=0)
# NSS refuses an RSA server certificate without keyEncipherment, and TLS 1.2 with RSA key exchange needs it.
LEAF = Profile(
    key_usage=("digital_signature",),
    key_usage_of_rsa=("digital_signature", "key_encipherment"),
    is_purpose_named=True,
    path_length=None,
)

ROOT_LIFE = 10 * UNITS["y"]
# Half a root's life. The issuing key is in daily use, so it is the one to replace; and an issuing CA that is made any
# time in the first half of the root's life can live its own life in full.
ISSUING_LIFE = 5 * UNITS["y"]

# Of lists of revoked certificates; they are replaced at half of it. Where runs have stopped, certificates end before
# the list does: when they are renewed, they have a third of their life left. See crl.py for those that live longer.
ISSUING_LIST_LIFE = 90 * UNITS["d"]
# The root's key is seldom at hand.
ROOT_LIST_LIFE = ISSUING_LIFE
