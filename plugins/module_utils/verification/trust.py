# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a file of trusted roots fits what an endpoint shows, and whether it will after a change of root: pure parts.

OpenSSL says whether it verifies a chain. The names here follow libpq.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.clock import instant
from ansible_collections.pgops.tls.plugins.module_utils.x509 import der, names
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.chain import is_issued_by

DAY = 86400
_ROOT_SOON, _LEAF_SOON = 90, 14  # days
# What may be found, the most urgent first, and whether connections with verify-full fail by it now
FINDINGS: Mapping[str, bool] = {
    "root_missing": True,
    "chain_refused": True,
    "name_missing": True,
    "certificate_ends_soon": False,
    "root_ends_soon": False,
    "only_root": False,
    "intermediate_trusted": False,
    "root_expired": False,
}


class Root(NamedTuple):
    """What a chain leads to: the name of a root, and the root itself if it is known."""

    subject: str
    certificate: Certificate | None


def root_of(chain: Sequence[Certificate], trusted: Sequence[Certificate]) -> Root:
    """Return the root that a chain (leaf first) leads to. As OpenSSL does, it looks among what is trusted first.

    Names and identifiers of keys decide; no signature is read.
    """
    one, left = chain[0], [*(each for each in trusted if each.is_self_signed), *chain[1:], *trusted]
    while not one.is_self_signed:
        issuer = next((each for each in left if is_issued_by(one, each)), None)
        if issuer is None:
            return Root(der.in_words(one.issuer), None)
        left = [each for each in left if each != issuer]
        one = issuer
    return Root(der.in_words(one.subject), one)


def name_problem(leaf: Certificate, name: names.Name) -> str:
    """Return why libpq 15 and newer refuses a certificate for a name with verify-full, '' if it does not.

    The common name counts only where the certificate has no alternative name of that kind.
    """
    found = [*leaf.names, *(names.Name("ip", one.value) for one in leaf.names if one.kind == "dns")]
    if not any(one.kind == name.kind for one in leaf.names):
        found.append(names.Name(name.kind, leaf.common_name.lower()))
    if names.covers(found, name):
        return ""
    held = ", ".join(one.value for one in leaf.names) or f"the common name {leaf.common_name!r} alone"
    return f"the certificate holds {held}"


def row(
    trusted: Sequence[Certificate], chain: Sequence[Certificate], wanted: Sequence[names.Name], refused: str, now: int
) -> dict[str, Any]:
    """Return what a file of roots does with a chain. ``refused`` says why OpenSSL does not verify it, '' if it does.

    ``now`` is in Unix seconds. ``wanted`` are the names that clients connect by.
    """
    root = root_of(chain, trusted)
    valid = [one for one in trusted if one.is_self_signed and one.not_before <= now < one.not_after]
    problems = {name.value: refused or name_problem(chain[0], name) for name in wanted}
    found = {
        "root": root.subject,
        "root_not_after": instant(root.certificate.not_after) if root.certificate else None,
        "holds_root": root.certificate in trusted,
        "roots": len(valid),
        "intermediates": [named(one) for one in trusted if not one.is_self_signed],
        "expired": [named(one) for one in trusted if one.not_after <= now],
        "not_after": instant(chain[0].not_after),
        "verify_ca": refused,
        "verify_full": problems,
    }
    return {**found, "findings": [code for code in FINDINGS if code in _findings(found, root, chain[0], now)]}


def _findings(found: Mapping[str, Any], root: Root, leaf: Certificate, now: int) -> set[str]:
    is_refused = bool(found["verify_ca"])
    conditions = {
        "root_missing": is_refused and not found["holds_root"],
        "chain_refused": is_refused and found["holds_root"],
        "name_missing": not is_refused and any(found["verify_full"].values()),
        "certificate_ends_soon": leaf.not_after - now < _LEAF_SOON * DAY,
        "root_ends_soon": root.certificate is not None and root.certificate.not_after - now < _ROOT_SOON * DAY,
        "only_root": found["roots"] == 1 and found["holds_root"],
        "intermediate_trusted": bool(found["intermediates"]),
        "root_expired": bool(found["expired"]),
    }
    return {code for code, is_so in conditions.items() if is_so}


def named(one: Certificate) -> str:
    """Return the subject of a certificate for a person."""
    return der.in_words(one.subject) or f"serial number {one.serial:x}"
