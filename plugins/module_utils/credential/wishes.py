# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A renewal that was asked for, and whose certificate comes in a later run: remembered until then, beside the keys.

It is asked for once, and nothing else is a reason for it in the runs after that. It is for one certificate, and for
those who could issue the next one. So it ends with any other certificate, and with a move to another source, which
could lead below a root that nobody has agreed to.
"""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Spec
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


def text(leaf: Certificate, spec: Spec) -> str:
    """Return what to remember of a renewal of ``leaf``: its fingerprint, then those of the CAs that may issue."""
    return "".join(f"{one.sha256}\n" for one in (leaf, *spec.issuing))


def holds(remembered: str, leaf: Certificate, spec: Spec) -> bool:
    """Return whether what is remembered asks for a renewal of ``leaf`` by one of the CAs that may issue now."""
    replaced, *issuing = remembered.split() or [""]
    return leaf.sha256 == replaced and any(one.sha256 in issuing for one in spec.issuing)
