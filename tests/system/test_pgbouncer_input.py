# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input of module pgbouncer, given as Ansible gives it, where everything is set up: named, and nothing changed."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import bad_inputs, calls, poolers
from ansible_collections.pgops.tls.tests.bad_inputs import KEY, NOT_PEM, STRANGE
from ansible_collections.pgops.tls.tests.poolers import SECRET, Pooler
from ansible_collections.pgops.tls.tests.servers import Server

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("pgbouncer"), reason="there is no PgBouncer here"),
]
BAD: list[tuple[dict[str, Any], str]] = [
    *(
        ({option: pem}, f"{option}: .*{message}")
        for option in ("roots", "server_issuing", "trusted_clients", "client_issuing")
        for pem, message in NOT_PEM.values()
    ),
    *(({"names": [STRANGE[name]]}, "names: .*is neither") for name in ("line break", "NUL", "percent", "key", "blank")),
    *(
        ({"role": STRANGE[name]}, "role: found .*expected a name of 1 to 63 bytes")
        for name in ("line break", "return", "NUL", "right to left", "zero width", "long", "key", "blank")
    ),
    *(
        ({option: STRANGE[name]}, f"{option}: .*expected an absolute path")
        for option in ("directory", "config_file")
        for name in ("line break", "quote", "double quote", "backslash", "path", "blank")
    ),
    *(
        ({"settings": {name: "x"}}, "settings: found .*expected some of")
        for name in ("ssl", "a\nb", "server_tls_sslmode")
    ),
    *(
        ({"settings": {"client_tls_ciphers": value}}, "settings: client_tls_ciphers is .*expected a text on one line")
        for value in ("a\nb", " ", "", 5, None, ["a"], KEY)
    ),
    ({"settings": {"client_tls_protocols": "tlsv9"}}, "client_tls_protocols"),
    ({"settings": {"client_tls_ciphers": "NO-SUCH-CIPHER"}}, "client_tls_ciphers"),
    ({"names": []}, "names: no names were given"),
    ({"port": 0}, "port: found 0, expected a TCP port"),
    ({"port": 65536}, "port: found 65536, expected a TCP port"),
    ({"port": "x"}, "port.*int"),
    ({"port": 1}, "port 1|PGSQL.1"),
    ({"login_unix_socket": "/nowhere"}, "/nowhere"),
    ({"config_file": "/nowhere/pgbouncer.ini"}, "/nowhere/pgbouncer.ini"),
    ({"config_file": "/etc/passwd"}, "/etc/passwd"),
    ({"directory": "/proc/tls"}, r"/proc/\S+: .*Nothing was changed"),
    ({"directory": "/etc/passwd"}, "/etc/passwd"),
    ({"client_tls_sslmode": "disable"}, "value of client_tls_sslmode must be one of"),
    ({"key_type": "DSA"}, "value of key_type must be one of"),
    ({"renew_before": "soon"}, "renew_before: 'soon' is not a duration"),
    ({"server_revoked": ["no number"]}, "server_revoked: found 'no number', expected a list of serial numbers"),
    ({"client_revoked": [KEY]}, "client_revoked: found a private key, expected a list of serial numbers"),
    ({"certificates": {"middle": "x"}}, "certificates: found 'middle', expected front and back"),
    ({"certificates": {"front": KEY}}, "certificates: front: expected only what is public, found a private key"),
    ({"certificates": [1]}, "certificates.*dict"),
    ({"nmaes": []}, "Unsupported parameters.*nmaes"),
    ({"controller_time": 0}, "clock"),
]


@pytest.fixture(scope="module")
def pooler(shared_cluster: Any) -> Iterator[Pooler]:
    """Give a PgBouncer that is set up."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    Server(shared_cluster, shared_cluster.home / "tls").settle(hba=poolers.HBA, ident=poolers.IDENT)
    with poolers.running(shared_cluster) as running:
        running.settle(now=int(time.time()), start=int(time.time()) - 300)
        yield running


def called(pooler: Pooler, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]) -> tuple[dict[str, Any], str]:
    options = {"controller_time": time.time(), **pooler.all_options(), **changes}
    return calls.called("pgbouncer", capsys, {name: value for name, value in options.items() if value is not None})


def test_the_module_works_with_good_input(pooler: Pooler, capsys: pytest.CaptureFixture[str]) -> None:
    before = pooler.disk()
    result, _written = called(pooler, capsys, {})
    assert not result.get("failed"), result
    assert not result["changed"], result
    assert pooler.disk() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    BAD,
    ids=[f"{number} {next(iter(changes))}" for number, (changes, _message) in enumerate(BAD)],
)
def test_bad_options_are_refused_by_their_name(
    pooler: Pooler, changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, leaf = pooler.disk(), pooler.served()
    result, written = called(pooler, capsys, changes)
    assert result.get("failed"), result
    assert re.search(message, result["msg"], re.DOTALL), result["msg"]
    assert not result.get("changed")
    assert "exception" not in result
    assert len(result["msg"]) < 2500
    assert not [line for line in (*bad_inputs.SECRETS, SECRET) if line in written]
    assert pooler.disk() == before
    assert pooler.served() == leaf
