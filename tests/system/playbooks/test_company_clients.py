# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client certificates that come from a company: our issuing CA below its root, and people who sign each one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import guides, loops
from ansible_collections.pgops.tls.tests.endings import as_line, well
from ansible_collections.pgops.tls.tests.openssl_ca import Company
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, RECAP

pytestmark = ONLY_THOROUGH
EXTENSIONS = "issuing-ca.cnf"
ROTATE = {"playbook": "pgops.tls.rotate_ca", "postgres_ca_rotate": "client", "postgres_ca_outside_trust": "none"}


def with_company(site: Any) -> Any:
    site.cluster.psql("CREATE ROLE app LOGIN")
    site.company, site.requests = Company(site.directory / "company"), site.directory / "requests"
    return site


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Give a site with a server that has a role app, and a company that signs."""
    return with_company(site_on(shared_cluster))


@pytest.fixture(scope="module")
def by_hand(site_on: Callable[[Any], Any], billing: Any) -> Any:
    """Give another one."""
    return with_company(site_on(billing))


def source(site: Any, type_: str) -> dict[str, Any]:
    roots = str(site.company.folder / "root.pem")
    return {"client": {"type": type_, "directory": str(site.requests), "roots": roots, "dedicated": True}}


def run(site: Any, sources: dict[str, Any], **more: Any) -> subprocess.CompletedProcess[str]:
    done = site.run(postgres_ca_sources=sources, **more)
    assert well(done), done.stdout[-6000:]
    return done  # type: ignore[no-any-return]


def changed(done: subprocess.CompletedProcess[str]) -> set[str]:
    return {number for _host, number, _unreachable, _failed in RECAP.findall(done.stdout)}


def company_signs_issuing_ca(site: Any) -> None:
    """Sign as the guide says, with the purpose that the list of requests names."""
    extensions = guides.example(EXTENSIONS).replace("serverAuth", "clientAuth")
    (site.requests / EXTENSIONS).write_text(extensions)
    days = ["-days", "1825"]
    site.company.sign(site.requests / "issuing-ca-client.csr", "-extfile", str(site.requests / EXTENSIONS), *days)


def chain(site: Any) -> list[str]:
    """Return who has issued the client's certificate, and the CAs above it."""
    path = site.homes / site.os_users[0] / ".postgresql" / "postgresql.crt"
    return [one.issuer_common_name for one in certificate.read_pem(path.read_text(), str(path))]


def serial(site: Any) -> int:
    path = site.homes / site.os_users[0] / ".postgresql" / "postgresql.crt"
    return certificate.read_pem(path.read_text(), str(path))[0].serial


def trusted(site: Any) -> set[str | None]:
    path = site.cluster.home / "tls" / "current" / "trusted-clients.crt"
    return {one.common_name for one in certificate.read_pem(path.read_text(), str(path)) if one.is_self_issued}


def connects(site: Any) -> str:
    """Connect as role app; return the error, '' is well."""
    target = f"host=localhost port={site.cluster.port} user=app dbname=postgres sslmode=verify-full"
    return str(site.connect(0, target).stderr)


def connecting(site: Any) -> loops.Work:
    return loops.by_psql(site, f"host=localhost port={site.cluster.port} user=app dbname=postgres sslmode=verify-full")


# Our issuing CA below the company's root


def test_from_nothing_to_verified_below_the_company(site: Any) -> None:
    first = as_line(run(site, source(site, "own")))
    request = site.requests / "issuing-ca-client.csr"
    assert f"issuing CA of client: {request} waits for the certificate of an issuing CA" in first
    assert f"app1/{site.os_users[0]}/app: the client CA cannot issue it yet" in first
    listed = (site.requests / "requests.txt").read_text()
    assert (
        "issuing CA for PostgreSQL client certificates; CA:TRUE, pathlen:0; keyCertSign, cRLSign; clientAuth" in listed
    )
    assert "each one needs a certificate that comes in a later run" in first
    company_signs_issuing_ca(site)
    second = run(site, source(site, "own"))
    assert "wait to be signed" not in as_line(second)
    assert "postgres_clients" not in as_line(second)
    assert chain(site)[1:] == ["Company Issuing", "Company Root"]
    assert trusted(site) == {"Company Root"}
    assert connects(site) == ""
    assert changed(run(site, source(site, "own"))) == {"0"}


def test_a_renewal_needs_nobody_of_the_company(site: Any) -> None:
    before = serial(site)
    run(site, source(site, "own"), postgres_client_renew=True)
    assert serial(site) != before
    assert chain(site)[1:] == ["Company Issuing", "Company Root"]
    assert connects(site) == ""


def test_a_certificate_of_the_company_for_somebody_else_is_shut_out_by_the_name_alone(site: Any) -> None:
    """As the guide warns: PostgreSQL looks at root and common name, so the CA must be dedicated to this fleet."""
    company, folder = site.company, site.directory
    company.run(
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "laptop.key",
        "-out",
        "laptop.csr",
        "-subj",
        "/CN=laptop7",
    )
    company.sign(company.folder / "laptop.csr")
    for name in ("laptop.key", "laptop.pem"):
        (folder / name).write_bytes((company.folder / name).read_bytes())
        (folder / name).chmod(0o600)
    root = site.homes / site.os_users[0] / ".postgresql" / "root.crt"
    (folder / "root.crt").write_bytes(root.read_bytes())
    target = f"host=localhost port={site.cluster.port} user=app dbname=postgres sslmode=verify-full"
    files = f"sslcert={folder}/laptop.pem sslkey={folder}/laptop.key sslrootcert={folder}/root.crt"
    done = subprocess.run(
        ["psql", "-XAtqc", "SELECT 1", f"{target} {files}"], capture_output=True, text=True, check=False
    )
    assert 'certificate authentication failed for user "app"' in done.stderr


def test_back_to_an_own_root_and_to_the_company_again_no_connection_fails(site: Any) -> None:
    with loops.none_fails(connecting(site)):
        run(site, {}, **ROTATE)
        assert chain(site)[0].startswith("PostgreSQL client issuing CA ")
        assert trusted(site) != {"Company Root"}
        assert len(trusted(site)) == 1
        assert changed(run(site, {})) == {"0"}
        assert "the request for an issuing CA (own_root)" in as_line(run(site, source(site, "own")))
        company_signs_issuing_ca(site)
        assert "To let it issue, run ansible-playbook pgops.tls.rotate_ca." in as_line(
            run(site, source(site, "own"), **ROTATE)
        )
        assert chain(site)[1:] == ["Company Issuing", "Company Root"]
        assert trusted(site) == {"Company Root"}


# People who sign each certificate


def test_an_identity_waits_for_its_first_certificate_and_for_each_renewal(by_hand: Any) -> None:
    request = by_hand.requests / f"app1+{by_hand.os_users[0]}+app.csr"
    sources = source(by_hand, "files")
    first = as_line(run(by_hand, sources))
    assert f"app1/{by_hand.os_users[0]}/app: {request} waits for its certificate (it has none yet)." in first
    assert trusted(by_hand) == {"Company Root"}, "the server is set up"
    by_hand.company.sign(request)
    assert "wait to be signed" not in as_line(run(by_hand, sources))
    assert chain(by_hand) == ["Company Issuing", "Company Root"]
    assert connects(by_hand) == ""
    assert changed(run(by_hand, sources)) == {"0"}
    before = serial(by_hand)
    for order in ({"postgres_client_renew": True}, {}, {}):
        waits = run(by_hand, sources, **order)
        assert f"{request} waits for its certificate (needed by 20" in as_line(waits)
        assert changed(waits) == {"0"}
        assert serial(by_hand) == before
        assert connects(by_hand) == ""
    by_hand.company.sign(request)
    run(by_hand, sources)
    assert serial(by_hand) != before
    assert connects(by_hand) == ""


def test_a_company_that_signs_for_others_needs_rules_that_list_subjects(by_hand: Any) -> None:
    shared = {"client": {**source(by_hand, "files")["client"], "dedicated": False}}
    before, files = serial(by_hand), by_hand.files()
    done = by_hand.run(postgres_ca_sources=shared)
    assert done.returncode != 0
    said = as_line(done)
    assert "'Company Root' also sign for others, and these rules let in every certificate" in said
    assert "In postgres_server_hba, give each of these rules clientname: DN and a map. In postgres_server_ident" in said
    changed_files = [path for path, found in by_hand.files().items() if files.get(path) != found]
    assert [path for path in changed_files if "postgres-ca" not in path] == []
    rules = [{"database": "all", "user": "app", "method": "cert", "clientname": "DN", "map": "subjects"}]
    subjects = [{"map": "subjects", "system_user": "CN=app", "database_user": "app"}]
    bound = {"postgres_server_hba": rules, "postgres_server_ident": subjects}
    run(by_hand, shared, **bound)
    assert connects(by_hand) == ""
    assert serial(by_hand) == before
    assert changed(run(by_hand, shared, **bound)) == {"0"}
