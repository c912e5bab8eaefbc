# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to say against a session, and since when a server has its certificate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import sessions
from ansible_collections.pgops.tls.plugins.module_utils.server.sessions import InForce
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES

ISSUING, OTHER_ISSUER = AUTHORITIES["client"].issuing, AUTHORITIES["server"].issuing
SESSION: dict[str, Any] = {
    "address": "192.0.2.10", "tls": True, "gss": False, "began": 1000.5, "protocol": "TLSv1.3",
    "serial": "255", "subject": "/CN=app", "issuer": f"/CN={ISSUING.common_name}",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "in_force", "expected"),
    [
        ({}, InForce(), []),
        ({"address": None, "tls": False}, InForce(), []),
        ({"tls": False}, InForce(installed=2000.0), ["plaintext"]),
        ({"tls": False, "gss": True}, InForce(), []),
        ({}, InForce({"app": ["fe", "ff"]}, [ISSUING]), []),
        ({}, InForce({"app": ["fe"]}), ["old_certificate"]),
        ({}, InForce({"app": []}), ["old_certificate"]),
        ({}, InForce({"application": ["fe"]}), []),
        ({"serial": None, "subject": None, "issuer": None}, InForce({"app": ["fe"]}, [ISSUING]), []),
        ({}, InForce({"app": ["fe"]}, [OTHER_ISSUER]), ["other_issuer"]),
        ({}, InForce({}, [OTHER_ISSUER, ISSUING]), []),
        ({}, InForce({"app": ["ff"]}, [ISSUING], ["ff"]), ["revoked_certificate"]),
        ({}, InForce(installed=1000.5), []),
        ({}, InForce(installed=1000.6), ["old_server_certificate"]),
        ({}, InForce({"app": ["fe"]}, installed=1001.0), ["old_server_certificate", "old_certificate"]),
        ({"issuer": "/O=" + "o" * 60}, InForce({}, [ISSUING]), []),  # cut before its name: it may be ours
        ({"subject": "/CN=" + "r" * 59}, InForce({"r" * 60: ["fe"]}), ["old_certificate"]),
        ({"subject": "/CN=" + "r" * 59}, InForce({"r" * 60: ["fe"], "r" * 61: ["ff"]}), []),  # it may be the other
    ],
)
def test_only_what_is_certain_is_told(changes: dict[str, Any], in_force: InForce, expected: list[str]) -> None:
    assert sessions.findings({**SESSION, **changes}, in_force) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"port": 0}, "port: found 0, expected a TCP port"),
        ({"port": 10**9}, "port: found 1000000000, expected a TCP port"),
        ({"client_serials": {"app": "4f2a"}}, "client_serials: app: found '4f2a', expected a list of serial numbers"),
        ({"client_serials": {"app": 7}}, "client_serials: app: found 7, expected a list of serial numbers"),
        ({"client_serials": {"app": ["x"]}}, "client_serials: app: found 'x', expected a list of serial numbers"),
        ({"client_serials": {"app": [None]}}, "client_serials: app: found"),
        ({"client_revoked": ["4f:2a"]}, "client_revoked: found"),
        ({"client_issuing": "x"}, "client_issuing: expected PEM certificates"),
        ({"names": ["a b"], "issuing": ISSUING.pem}, "names: 'a b' is neither"),
        ({"names": ["a"], "issuing": "x"}, "issuing: expected PEM certificates"),
        ({"names": ["a"], "issuing": ISSUING.pem, "renew_before": "x"}, "renew_before: 'x' is not a duration"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_server_is_looked_for(changes: Any, message: str) -> None:
    options = {
        "port": 5432, "client_serials": {}, "client_issuing": "", "client_revoked": [],
        "names": [], "issuing": None, "key_type": "P-256", "renew_before": None, "revoked": [],
    }  # fmt: skip
    with pytest.raises(TlsError, match=message):
        sessions.result({**options, **changes}, 0)


def generation(directory: Path, number: int, content: str, moment: int) -> Path:
    path = directory / "generations" / f"{number:04d}" / "server.crt"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    os.utime(path, (moment, moment))
    return path


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ({1: ISSUING}, (100.0, True)),
        ({1: ISSUING, 2: ISSUING}, (100.0, True)),
        ({1: OTHER_ISSUER, 2: ISSUING}, (200.0, True)),
        ({7: OTHER_ISSUER, 9: ISSUING}, (900.0, True)),
        ({7: ISSUING, 8: ISSUING}, (float(ISSUING.not_before), True)),  # it may be older than what is kept
        ({7: ISSUING, 8: OTHER_ISSUER}, (None, False)),  # the server was not told of its file
    ],
)
def test_since_when_a_server_has_its_certificate(tmp_path: Path, kept: dict[int, Any], expected: object) -> None:
    paths = [generation(tmp_path, number, one.pem, number * 100) for number, one in kept.items()]
    owner = files.Owner(os.getuid(), os.getgid())
    assert sessions.installed_at(str(paths[-1]), ISSUING, owner) == expected


def test_a_file_of_others_has_no_time_that_tells(tmp_path: Path) -> None:
    (tmp_path / "server.crt").write_text(ISSUING.pem)
    owner = files.Owner(os.getuid(), os.getgid())
    assert sessions.installed_at(str(tmp_path / "server.crt"), ISSUING, owner) == (None, True)
    assert sessions.installed_at(str(tmp_path / "server.crt"), OTHER_ISSUER, owner) == (None, False)
    assert sessions.installed_at(str(tmp_path / "gone.crt"), OTHER_ISSUER, owner) == (None, True)
