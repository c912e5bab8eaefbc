# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authority and renewal together, run after run until the issuing CA ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, lifetimes, profiles, signing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential import due, spec
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests.shared import DAY

LIFE_DAYS = 90  # days


class Host:
    """A server that is renewed by a run every night."""

    def __init__(self, directory: Path, now: int, csr: str, renew_before: int | None) -> None:
        made = keeping.keep(keeping.Wish(str(directory), "P-256", None), now, is_dry=False)
        names = parse_all(["db1.example"], "names")
        issuing = made.authorities["server"].issuing
        self.directory, self.csr = directory, csr
        self.wish = spec.Spec(None, names, "P-256", certificate.SERVER_AUTH, [issuing], renew_before)
        self.leaf: Certificate | None = None
        self.renewals: list[int] = []

    def night(self, now: int) -> None:
        """Renew the certificate if it is due. Raises TlsError when it cannot be had, or is due again at once."""
        if due.reasons(self.leaf, self.wish, now):
            request = {"id": "db1", "csr": self.csr, "names": ["db1.example"]}
            order = signing.Order(str(self.directory), None, "server", [request], f"{LIFE_DAYS}d")
            chain = signing.sign(order, now, is_dry=False).certificates["db1"]
            self.leaf = certificate.read_pem(chain, "chain")[0]
            self.renewals.append(now)
            due.refuse_endless_renewal(self.leaf, self.wish, now + 60)
            assert due.reasons(self.leaf, self.wish, now + 60) == []


@pytest.mark.parametrize("renew_before", [None, 5, 30, 45, 60, 85])
def test_renewals_stay_apart_until_the_authority_has_too_little_left(
    tmp_path: Path, now: int, csr: str, renew_before: int | None
) -> None:
    host = Host(tmp_path / "ca", now, csr, renew_before and renew_before * DAY)
    end, apart = now + profiles.ISSUING_LIFE, LIFE_DAYS - (renew_before or LIFE_DAYS // 3)
    refusal = ""
    for left in range(3 * LIFE_DAYS, 0, -1):
        try:
            host.night(end - left * DAY)
        except TlsError as error:
            refusal = error.message
            break
    assert "less than a third of that. Copy the key of its root to " in refusal
    assert 0 < left < LIFE_DAYS / 3
    gaps = [later - earlier for earlier, later in zip(host.renewals, host.renewals[1:])]
    assert min(gaps) >= min(apart, LIFE_DAYS * lifetimes.LEAST_SHARE * due.RENEWED_AT) * DAY
