# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the own authority to each other source and back, as the guide says, while programs connect: none fails."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import baos, companies, guides, loops, pebbles
from ansible_collections.pgops.tls.tests.endings import as_line, well
from ansible_collections.pgops.tls.tests.keepers import Keeper
from ansible_collections.pgops.tls.tests.openssl_ca import Company
from ansible_collections.pgops.tls.tests.servers import TODAY
from ansible_collections.pgops.tls.tests.shared import DAY, ONLY_THOROUGH, RECAP

pytestmark = ONLY_THOROUGH
LOOPS = 4
# By purpose: the variable that trusts another root meanwhile, and the one that renews
WAYS = {
    "server": ("postgres_client_extra_roots", "postgres_server_renew"),
    "client": ("postgres_server_extra_trusted_clients", "postgres_client_renew"),
}


@dataclass
class Source:
    """A source for a purpose: how it is declared, its root, and who signs by hand what waits in ``requests``."""

    declared: dict[str, Any]
    root: str
    variables: dict[str, Any]
    requests: Path | None = None
    company: Company | None = None

    def sign(self) -> int:
        """Sign what waits; return how many were."""
        found = list(self.requests.glob("*.csr")) if self.requests else []
        for request in found:
            assert self.company is not None
            self.company.sign(request)
        return len(found)


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Give a site with a server that has a role app, set up by the own authorities."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    made = site_on(shared_cluster)
    well(made.run())
    return made


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[baos.Bao]:
    with baos.with_pki(tmp_path_factory.mktemp("bao")) as found:
        yield found


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    directory = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/opt"))
    yield Keeper(companies.company(start=TODAY - 400 * DAY), directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pebbles.Pebble]:
    if shutil.which("pebble") is None or importlib.util.find_spec("acme") is None:
        pytest.skip("no Pebble, or no library for ACME")
    with pebbles.running(tmp_path_factory.mktemp("pebble")) as found:
        yield found


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    """Make the source of a row."""
    purpose, kind = request.param
    dedicated = {"dedicated": True} if purpose == "client" else {}
    made: Callable[..., Source] = {
        "openbao": _openbao, "files": _files, "command": _command, "acme": _acme, "existing": _existing,
    }[kind]  # fmt: skip
    found = made(request, tmp_path, purpose)
    found.declared.update(dedicated)
    return found


def _openbao(request: pytest.FixtureRequest, _folder: Path, purpose: str) -> Source:
    bao = request.getfixturevalue("bao")
    root = bao.call("GET", "pki/cert/ca")["data"]["certificate"]
    return Source(bao.declared(purpose, "pki"), root, {})


def _files(_request: pytest.FixtureRequest, folder: Path, _purpose: str) -> Source:
    company, requests = Company(folder / "company"), folder / "requests"
    root = company.folder / "root.pem"
    declared = {"type": "files", "directory": str(requests), "roots": str(root)}
    return Source(declared, root.read_text(), {}, requests, company)


def _command(_request: pytest.FixtureRequest, folder: Path, _purpose: str) -> Source:
    company = Company(folder / "company")
    root = company.folder / "root.pem"
    command = [str(_program(folder, "sign-with-openssl")), str(company.folder / "ca.conf")]
    return Source({"type": "command", "command": command, "roots": str(root)}, root.read_text(), {})


def _acme(request: pytest.FixtureRequest, folder: Path, _purpose: str) -> Source:
    pebble = request.getfixturevalue("pebble")
    roots = folder / "acme-root.pem"
    roots.write_text(pebble.root())
    shows = [str(_program(folder, "show-files")), str(pebble.web)]
    return Source(pebble.declared(shows, roots), pebble.root(), {})


def _existing(request: pytest.FixtureRequest, _folder: Path, _purpose: str) -> Source:
    keeper = request.getfixturevalue("keeper")
    keeper.renew()
    root = keeper.directory / "root.pem"
    root.write_text(keeper.company.root.pem)
    files = {"certificate": str(keeper.certificate), "key": str(keeper.key)}
    return Source({"type": "existing", "roots": str(root)}, root.read_text(), {"postgres_server_existing": files})


def _program(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text(guides.example(name))
    path.chmod(0o755)
    return path


def leaf(site: Any, purpose: str) -> certificate.Certificate:
    """Return the certificate in use of server or client."""
    server, client = site.cluster.home / "tls" / "current" / "server.crt", site.homes / site.os_users[0]
    path = server if purpose == "server" else client / ".postgresql" / "postgresql.crt"
    return certificate.read_pem(path.read_text(), str(path))[0]


def own_root(site: Any, purpose: str) -> str:
    (path,) = site.authorities.glob(f"{purpose}/0*/root.crt")
    return path.read_text()


def connecting(site: Any) -> loops.Work:
    """Return what connects again and again as the OS user, with the files that are there now."""
    target = f"host=localhost port={site.cluster.port} user=app dbname=postgres sslmode=verify-full"

    def work(goes_on: loops.GoesOn) -> Counter[str]:
        found: Counter[str] = Counter()
        while goes_on():
            found[site.connect(0, target).stderr] += 1
        return found

    return work


ROWS = [("server", kind) for kind in ("openbao", "files", "command", "acme", "existing")]
ROWS += [("client", kind) for kind in ("openbao", "files", "command")]


@pytest.mark.parametrize("source", ROWS, ids=" from ".join, indirect=True)
def test_there_and_back_no_connection_fails(request: pytest.FixtureRequest, site: Any, source: Source) -> None:
    purpose, _kind = request.node.callspec.params["source"]
    extra, renew = WAYS[purpose]
    both = {extra: f"{own_root(site, purpose)}\n{source.root}"}
    there = {**both, **source.variables, "postgres_ca_sources": {purpose: source.declared}}
    before = leaf(site, purpose)
    with loops.beside(*[connecting(site)] * LOOPS) as counted:
        well(site.run(**both))
        _moved(site, source, there, renew)
        taken = leaf(site, purpose)
        assert taken.issuer_common_name != before.issuer_common_name
        done = site.run(**there)
        assert well(done)
        assert {number for _host, number, _unreachable, _failed in RECAP.findall(done.stdout)} == {"0"}
        well(site.run(**both, **{renew: True}))
        assert leaf(site, purpose).issuer_common_name == before.issuer_common_name
        well(site.run())
    assert len(counted) == LOOPS
    assert all(set(one) == {""} for one in counted), counted
    print(f"{purpose}: {sum(one[''] for one in counted)} connections")


def _moved(site: Any, source: Source, variables: dict[str, Any], renew: str) -> None:
    """Run once with ``renew``, sign by hand what waits a night later, and run again if anything did."""
    done = site.run(**variables, **{renew: True})
    assert well(done)
    if not source.requests or not list(source.requests.glob("*.csr")):
        return
    assert "waits for its certificate" in as_line(done)
    night = site.run(**variables)
    assert well(night)
    assert "waits for its certificate" in as_line(night)
    assert source.sign()
    well(site.run(**variables))
