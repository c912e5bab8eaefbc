# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the difference of a run shows of a certificate."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.deployment.outcome import described
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name
from ansible_collections.pgops.tls.tests.shared import NOW


@pytest.mark.parametrize(
    ("common_name", "names", "shown"),
    [
        ("db1", ["db1", "192.0.2.1"], "db1, 192.0.2.1"),
        ("", ["db1"], "db1"),
        ("report", [], "report"),
        ("somebody else's", ["db1"], "somebody else's, db1"),
    ],
)
def test_each_name_of_a_certificate_is_shown_once(common_name: str, names: list[str], shown: str) -> None:
    root = issuing.new_authority("server", "P-256", NOW).root
    leaf = root._replace(common_name=common_name, names=tuple(Name("dns", name) for name in names))
    assert described(leaf).startswith(f"names: {shown}\nkey: P-256\nserial: ")
