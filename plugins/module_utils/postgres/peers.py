# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of certificates as pg_stat_ssl writes them: ``/O=Shop/CN=app``, values escaped as in RFC 2253, and cut."""

from __future__ import annotations

import re

_DN_BYTES = 63  # NAMEDATALEN - 1: where pg_stat_ssl cuts client_dn and issuer_dn


def has_common_name(dn: str, name: str) -> bool:
    """Tell whether a DN in slash form, perhaps cut, has this common name; of a cut one, whether it may have it."""
    plain = re.sub(r"\\(.)", r"\1", dn)
    found = plain.partition("/CN=")[2]
    if found == name or found.startswith(f"{name}/"):
        return True
    is_cut = len(dn.encode("utf-8", "replace")) >= _DN_BYTES
    return is_cut and name.startswith(found.rstrip("\ufffd\\"))
