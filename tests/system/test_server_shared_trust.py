# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client CA that signs for others: who gets in by which rule, as the check says and as the server does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, HBA, TODAY, Server
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

COMPANY = companies.company(start=TODAY - 400 * DAY)
BOUND = HBA.replace("all app all cert", "all app all cert clientname=DN map=subjects")
MAP = 'subjects "CN=app,O=Example" app\n'


def connects(server: Server, folder: Path, organization: str) -> str:
    """Connect as role app with a certificate of the company for app in an organization; return what is said."""
    key = ec.generate_private_key(ec.SECP256R1())
    life = {"start": TODAY - DAY, "days": 30.0}
    issuer = COMPANY.issuing[0]
    leaf = companies.leaf(issuer, key.public_key(), "app", organization=organization, **life)  # type: ignore[arg-type]
    chain = [leaf, issuer.certificate, COMPANY.policy.certificate]
    (folder / "app.crt").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    (folder / "app.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "app.key").chmod(0o600)
    (folder / "root.crt").write_text(AUTHORITIES["server"].root.pem)
    place = f"host=localhost hostaddr=127.0.0.1 port={server.cluster.port} user=app dbname=postgres sslmode=verify-full"
    files = f"sslcert={folder}/app.crt sslkey={folder}/app.key sslrootcert={folder}/root.crt"
    command = ["psql", "-XAtqc", "SELECT 1", f"{place} {files}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    return done.stdout.strip() or done.stderr


def test_strangers_get_in_by_their_common_name_and_not_by_their_subject(server: Server, tmp_path: Path) -> None:
    if int(server.cluster.psql("SHOW server_version_num")) < 140_000:
        pytest.skip("it cannot compare subjects")
    server.options["trusted_clients"] = COMPANY.root.pem
    server.settle()
    assert connects(server, tmp_path, "Printers") == "1", "this is the danger"
    before = server.disk()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match="'Example Root' also sign for others") as failure:
            server.converge(check_mode=check_mode, trusted_clients_shared=True)
        assert "(hostssl all app all cert) as app. Nothing was changed. In hba, give each" in failure.value.message
    assert server.disk() == before
    who = [{"role": "app"}]
    bound = {"hba": BOUND, "ident": MAP, "trusted_clients_shared": True, "clients": who}
    assert server.settle(**bound).changes
    assert server.settle(**bound).changes == []
    assert connects(server, tmp_path, "Example") == "1"
    assert 'certificate authentication failed for user "app"' in connects(server, tmp_path, "Printers")
    pattern = 'subjects "/^CN=(.*),O=Example$" \\1\n'
    with pytest.raises(TlsError, match="without a regular expression"):
        server.converge(**{**bound, "ident": pattern})
