# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every kind of host reports, in one form: certificates, and differences for ``--diff``."""

from __future__ import annotations

from typing import Any, Iterable

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


def fact(leaf: Certificate) -> dict[str, Any]:
    """Return a certificate for a module's result."""
    return {
        "serial": f"{leaf.serial:x}",
        "not_before": clock.instant(leaf.not_before),
        "not_after": clock.instant(leaf.not_after),
        "sha256": leaf.sha256,
        "pem": leaf.pem,
        "names": [name.value for name in leaf.names],
    }


def entries(changed: Iterable[tuple[str, str, str]]) -> list[dict[str, str]]:
    """Return an entry in Ansible's form for each name with a text before and another one after."""
    return [
        {"before_header": name, "after_header": name, "before": before, "after": after}
        for name, before, after in changed
        if before != after
    ]


def described(leaf: Certificate | None) -> str:
    """Return a certificate in a few lines; '' for none."""
    if leaf is None:
        return ""
    names = dict.fromkeys([*([leaf.common_name] if leaf.common_name else []), *(name.value for name in leaf.names)])
    end = clock.instant(leaf.not_after)
    return f"names: {', '.join(names)}\nkey: {leaf.key_type}\nserial: {leaf.serial:x}\nnot after: {end}\n"
