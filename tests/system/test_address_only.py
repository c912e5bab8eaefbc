# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the certificate of a server that has addresses alone for names also has a common name: libpq before 15."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, requests
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography import x509

NAMES_ADDRESSES_SINCE = 15
REACHED = "connection requires a valid client certificate"


def issued(request: str, names: list[str], *, has_common_name: bool) -> str:
    """Return the chain that the module issues for these names, or the same without a common name."""
    authority = AUTHORITIES["server"]
    holder = requests.parse("server", {"id": "db1", "names": names}).holder
    public_key: Any = x509.load_pem_x509_csr(request.encode()).public_key()
    leaf = issuing.new_leaf(
        issuing.Issuer.of(authority.issuing, authority.issuing_key),
        certificate.SERVER_AUTH,
        holder if has_common_name else holder._replace(common_name=""),
        public_key,
        issuing.Validity(TODAY - 300, TODAY + 90 * DAY),
    )
    return certificate.read_der(leaf, "leaf").pem + authority.issuing.pem


def told(server: Server, host: str, root: Path) -> str:
    """Return what psql says of a connection to which only the client's certificate is missing."""
    root.write_text(AUTHORITIES["server"].root.pem)
    conninfo = f"host={host} port={server.cluster.port} user=app dbname=postgres sslmode=verify-full"
    command = [str(server.cluster.programs / "psql"), "-XAtw", f"{conninfo} sslrootcert={root} sslcert=/nowhere"]
    done = subprocess.run([*command, "-c", "SELECT 1"], capture_output=True, text=True, check=False)
    return done.stderr


@pytest.mark.parametrize("has_common_name", [True, False])
def test_an_address_is_verified_by_every_libpq_if_it_is_the_common_name_too(
    server: Server, tmp_path: Path, *, has_common_name: bool
) -> None:
    """Before 15 it knows no address among the alternative names; what it compares is the common name then."""
    names = ["127.0.0.1", "::1"]
    request = server.converge(names=names).request or ""
    server.converge(names=names, certificate=issued(request, names, has_common_name=has_common_name))
    assert server.converge(names=names).changes == [], "a common name is no reason to issue a certificate again"
    said = told(server, "127.0.0.1", tmp_path / "root.crt")
    knows_addresses = server.converge(names=names).state.major >= NAMES_ADDRESSES_SINCE  # psql is the server's
    assert (REACHED in said) == (has_common_name or knows_addresses), said
    refused = told(server, "localhost", tmp_path / "root.crt")
    assert 'does not match host name "localhost"' in refused or "could not get server's host name" in refused, refused


@pytest.mark.parametrize("names", [["192.0.2.10"], ["db1.example", "192.0.2.10"], ["192.0.2.10", "db1.example"]])
def test_a_common_name_is_one_of_the_alternative_names_and_no_name_beside_them(names: list[str]) -> None:
    holder = requests.parse("server", {"id": "db1", "names": names}).holder
    assert holder.common_name in [name.value for name in holder.names]
