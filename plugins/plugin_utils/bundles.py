# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles of roots, as providers publish them, made into the roots that a client trusts: each once, in one order."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.source import forms
from ansible_collections.pgops.tls.plugins.module_utils.verification.trust import named
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

_LISTED = 3  # certificates in a warning


class Roots(NamedTuple):
    """The roots of some bundles (PEM), and what was left out of them, in words."""

    pem: str
    warnings: tuple[str, ...] = ()


@functools.lru_cache(maxsize=None)
def read(paths: tuple[str, ...], option: str, now: int) -> Roots:
    """Return what files on this machine hold, in whatever form. ``now`` is in Unix seconds.

    Raises TlsError, naming ``option``, for a file that no bundle is: nothing of it is shown.
    """
    return clean([(path, one) for path in paths for one in _in_file(path, option)], option, now)


@functools.lru_cache(maxsize=None)
def _in_file(path: str, option: str) -> Sequence[Certificate]:
    try:
        answer = forms.read(os.path.dirname(path), os.path.basename(path))
    except OSError as error:
        raise TlsError(
            f"{option}: {path}: {error.strerror}. Expected a file on the controller with roots in PEM, DER or PKCS#7.",
            remedy="Correct the path. A relative one begins at the directory of the inventory.",
            code="bundle_unreadable",
        ) from error
    if answer.problem:
        raise TlsError(f"{option}: {path}: {answer.problem}. Nothing was changed.", code="bundle_invalid")
    return answer.certificates


def clean(found: Sequence[tuple[str, Certificate]], option: str, now: int) -> Roots:
    """Return the roots among certificates, each with its path: sorted, and without those that have expired.

    Providers replace issuing CAs without notice, and Java would trust one of them like a root: they are left out.
    Raises TlsError for a leaf, and if nothing is left.
    """
    for path, one in found:
        if not (one.is_ca or one.is_self_signed):
            raise TlsError(
                f"{option}: {path}: expected certificates of CAs, found {named(one)}, which is no CA.",
                remedy="Remove it from the file.",
                code="certificate_not_ca",
            )
    roots = {one.der: one for _path, one in found if one.is_self_signed and now < one.not_after}
    if not roots:
        files = ", ".join(dict.fromkeys(path for path, _one in found)) or "no file"
        raise TlsError(
            f"{option}: expected at least one root that is valid now, found none in {files}.",
            remedy="Download the provider's current bundle.",
            code="bundle_without_root",
        )
    keys = {one.key_sha256 for one in roots.values()}  # one that an older root has signed, too, is in there by itself
    expired = [(path, one) for path, one in found if one.is_self_signed and one.der not in roots]
    between = [(path, one) for path, one in found if not one.is_self_signed and one.key_sha256 not in keys]
    warnings = (
        *_left_out(expired, option, "have expired"),
        *_left_out(between, option, "are issuing CAs and no roots"),
    )
    ordered = sorted(roots.values(), key=lambda one: (named(one).lower(), one.not_before, one.sha256))
    return Roots("".join(one.pem for one in ordered), warnings)


def _left_out(found: Sequence[tuple[str, Certificate]], option: str, why: str) -> list[str]:
    """Return a warning for each file, whatever the order in it."""
    by_path: dict[str, set[str]] = {}
    for path, one in found:
        by_path.setdefault(path, set()).add(named(one))
    return [
        f"{option}: {path}: {len(names)} certificates {why} and are left out: {'; '.join(sorted(names)[:_LISTED])}"
        + (f" and {len(names) - _LISTED} more." if len(names) > _LISTED else ".")
        for path, names in sorted(by_path.items())
    ]
