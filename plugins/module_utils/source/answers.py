# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of CAs in PEM, to requests that they may sign as they are."""

from __future__ import annotations

import math
import time
from typing import Callable, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority.requests import Request
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.source import checking
from ansible_collections.pgops.tls.plugins.module_utils.source.contract import Trust
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_option


def clock(now: int) -> Callable[[], int]:
    """Return a clock that goes on from ``now`` (Unix seconds).

    A CA takes its time, and a certificate may begin at the second in which it was signed.
    """
    started = time.monotonic()
    return lambda: now + math.ceil(time.monotonic() - started)


def fit(requests: Sequence[Request]) -> tuple[list[Request], dict[str, str]]:
    """Return the requests whose CSR asks for what the inventory wants, and by id why the others are refused."""
    found: list[Request] = []
    refused: dict[str, str] = {}
    for request in requests:
        try:
            checking.refuse_other_names(request)
        except TlsError as error:
            refused[request.id] = error.message
        else:
            found.append(request)
    return found, refused


def chain(text: str, request: Request, trust: Trust, now: int) -> list[Certificate]:
    """Return the chain for a request in a PEM text, which may have its certificates in any order.

    ``now`` is in Unix seconds. Raises TlsError, as ``checking.chain`` does.
    """
    found = read_option(text, f"requests[{request.id}]")
    leaves = [one for one in found if not one.is_ca] or found
    key = checking.public_key(request)
    leaf = next((one for one in leaves if one.public_key == key), leaves[0])
    return checking.chain(request, leaf, [*found, *trust.issuing], trust.roots, now)
