# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A request for a certificate goes out, a certificate comes in: which key it is for, and what it must be."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Spec
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, requested_key


class Keys(NamedTuple):
    """Where the keys of one credential are: a store, the name of the key that waits there, and the owner of both."""

    store: GenerationStore
    name: str
    user: Account

    @property
    def path(self) -> str:
        """Return the path of the key that waits for its certificate."""
        return self.store.pending_key(self.name)


def with_waiting_key(keys: Keys, spec: Spec, in_use: bytes | None) -> str | None:
    """Return a request (PEM) for the key that an earlier run made; None when a key must be made.

    ``in_use`` is the key in use: a run that died after its commit left it waiting.
    """
    key = files.read(keys.path)
    if key is not None and key != in_use:
        with contextlib.suppress(TlsError):  # a damaged key is replaced
            request = openssl.new_request(keys.path, keys.user, spec.wanted)
            if requested_key(request).key_type == spec.key_type:
                os.utime(keys.path)  # it starts to wait again
                return request
    return None


def with_key_at(path: str, user: Account, spec: Spec, public_key: bytes) -> str | None:
    """Return a request (PEM) for a key in use; None when it is damaged or another one than ``public_key`` (DER)."""
    with contextlib.suppress(TlsError):
        request = openssl.new_request(path, user, spec.wanted)
        if requested_key(request).public_key == public_key:
            return request
    return None


def with_new_key(keys: Keys, spec: Spec) -> str:
    """Make a key, which waits from now on, and return a request (PEM) for it. Raises TlsError, OSError."""
    keys.store.keep_pending_key(keys.name, openssl.new_key(spec.key_type, keys.user))
    return openssl.new_request(keys.path, keys.user, spec.wanted)


def refuse_another(
    chain: Sequence[Certificate], spec: Spec, option: str, now: int, *, may_be_due: bool = False
) -> None:
    """Raise TlsError, naming ``option``, when a certificate that came (leaf first) is not what was asked for.

    ``may_be_due``: one that is to be renewed soon is taken all the same. ``now`` is in Unix seconds.
    """
    asked = spec._replace(forced=False)
    due.refuse_endless_renewal(chain[0], asked, now)
    wrong = [why for why in due.reasons(chain[0], asked, now, chain[1:]) if not (may_be_due and due.is_by_age(why))]
    if wrong:
        raise TlsError(
            f"{option}: the authority did not issue what was asked for: {', '.join(wrong)}.",
            remedy="Have the request of this host signed as it is, for what is declared now.",
            code="certificate_not_as_requested",
        )


def key_for(keys: Keys, leaf: Certificate, in_use: Sequence[Certificate], key: bytes | None, option: str) -> bytes:
    """Return the key of a certificate that came: it waits, or a concurrent run has installed it already.

    ``in_use`` is the chain in use (leaf first, empty for none) with its ``key``. Raises TlsError as ``waiting_key``.
    """
    if key is not None and in_use and in_use[0].public_key == leaf.public_key:
        return key
    return waiting_key(keys, leaf, option)


def waiting_key(keys: Keys, leaf: Certificate, option: str) -> bytes:
    """Return the key that waits for a certificate that came. Raises TlsError, naming ``option``, for another one."""
    key = files.read(keys.path)
    if key is None:
        raise TlsError(
            f"{option}: no key waits for this certificate in {keys.path}.",
            remedy="Call the module without certificates first; it makes the key and returns the request.",
            code="pending_key_missing",
        )
    if openssl.public_key(keys.path, keys.user) != leaf.public_key:
        raise TlsError(
            f"{option}: the certificate was issued for another key than the one that waits in {keys.path}.",
            remedy="Call the module without certificates again, and have the request that it returns signed.",
            code="certificate_for_other_key",
        )
    return key
