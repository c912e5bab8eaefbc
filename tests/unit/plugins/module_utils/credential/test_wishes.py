# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A renewal that is remembered is for one certificate, and for those who could issue the next one."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec, wishes
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.shared import NOW

ONE, TWO, THREE = (issuing.new_authority("client", "P-256", NOW) for _number in range(3))
LEAF, OTHER_LEAF = ONE.root, TWO.root  # any certificates


def issued_by(*authorities: issuing.Authority) -> spec.Spec:
    return spec.Spec("app", (), "P-256", certificate.CLIENT_AUTH, [one.issuing for one in authorities])


REMEMBERED = wishes.text(LEAF, issued_by(ONE, TWO))


@pytest.mark.parametrize(
    ("leaf", "now", "expected"),
    [
        (LEAF, issued_by(ONE, TWO), True),
        (LEAF, issued_by(ONE, TWO)._replace(common_name="other", key_type="P-384"), True),
        (LEAF, issued_by(TWO), True),
        (LEAF, issued_by(THREE, TWO), True),
        (LEAF, issued_by(THREE), False),
        (OTHER_LEAF, issued_by(ONE, TWO), False),
    ],
)
def test_it_ends_with_its_certificate_and_with_all_who_could_issue(
    leaf: certificate.Certificate, now: spec.Spec, *, expected: bool
) -> None:
    assert wishes.holds(REMEMBERED, leaf, now) is expected


@pytest.mark.parametrize("text", ["", "\n", "\ufffd", f"{LEAF.sha256}\n", ONE.issuing.sha256])
def test_anything_else_asks_for_nothing(text: str) -> None:
    assert not wishes.holds(text, LEAF, issued_by(ONE))
