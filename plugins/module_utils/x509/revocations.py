# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of revoked certificates that others put where PostgreSQL reads them: which authorities they are about."""

from __future__ import annotations

import base64
import contextlib
import re
from typing import Iterable

from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

_CRL = re.compile(rb"-----BEGIN X509 CRL-----\s+([A-Za-z0-9+/=\s]+?)-----END X509 CRL-----")


def about(pem: bytes, authorities: Iterable[Certificate]) -> list[Certificate]:
    """Return those authorities that a list of a PEM text may be from: whose name, as DER, is in it.

    A damaged list is about nobody; no server can load it.
    """
    lists = []
    for block in _CRL.findall(pem):
        with contextlib.suppress(ValueError):
            lists.append(base64.b64decode(block))
    return [one for one in authorities if any(one.subject in content for content in lists)]
