# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People of a company sign with ``openssl ca``, and hand on what its commands write."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import signing
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests.openssl_ca import Company

NAMES = ["db1.example", "192.0.2.1"]
PLAIN = "basicConstraints = CA:false\nsubjectAltName = DNS:db1.example, IP:192.0.2.1\nextendedKeyUsage = "


class Place:
    """A directory for requests, the ledger, keys of hosts, and the company."""

    def __init__(self, folder: Path, company: Company) -> None:
        self.folder, self.company, self.requests = folder, company, folder / "requests"
        (folder / "ca").mkdir()

    def request(self, id_: str = "db1", replaces: str = "") -> dict[str, Any]:
        """Return the request of a host, which keeps its key."""
        key = self.folder / f"{id_}.key"
        if not key.exists():
            key.write_text(openssl.new_key("P-256"))
        wanted = openssl.Wanted(NAMES[0], parse_all(NAMES, "names"), certificate.SERVER_AUTH)
        csr = openssl.new_request(str(key), None, wanted)
        return {"id": id_, "csr": csr, "reasons": ["due"], "names": NAMES, "replaces": replaces}

    def sign(self, *requests: dict[str, Any]) -> signing.SigningResult:
        roots = str(self.company.folder / "root.pem")
        source = {"server": {"type": "files", "directory": str(self.requests), "roots": roots}}
        order = signing.Order(str(self.folder / "ca"), None, "server", requests, "90d", source)
        return signing.sign(order, int(time.time()), is_dry=False)

    def out(self) -> None:
        """Have the requests of two hosts go out."""
        assert list(self.sign(self.request(), self.request("db2")).waiting) == ["db1", "db2"]

    def signed(self, id_: str, *arguments: str, company: Company | None = None) -> None:
        (company or self.company).sign(self.requests / f"{id_}.csr", *arguments)

    def run(self, command: str) -> None:
        """Run a command among the answers; $CA is the folder of the company."""
        here = command.replace("$CA", str(self.company.folder))
        subprocess.run(["bash", "-ec", here], cwd=self.requests, check=True, capture_output=True)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return Company(tmp_path_factory.mktemp("ca") / "company")


@pytest.fixture
def place(tmp_path: Path, company: Company) -> Place:
    found = Place(tmp_path, company)
    found.out()
    return found


FORMS = {
    "pem": "true",
    "with the root": "cat $CA/root.pem >> db1.pem",
    "in reverse": "cat $CA/root.pem $CA/issuing.pem $CA/db1.pem > db1.pem",
    "with text": "openssl x509 -in db1.pem -text -out leaf && cat leaf $CA/issuing.pem > db1.pem",
    "der": "openssl x509 -in db1.pem -outform DER -out db1.cer && cp $CA/issuing.pem ca.crt && rm db1.pem",
    "pkcs7 in pem": "openssl crl2pkcs7 -nocrl -certfile db1.pem -out db1.p7b && rm db1.pem",
    "pkcs7 in der": "openssl crl2pkcs7 -nocrl -certfile db1.pem -outform DER -out 'ticket 4711.p7c' && rm db1.pem",
    "twice": "cp db1.pem 'db1 (1).pem'",
}


@pytest.mark.parametrize("form", FORMS)
def test_what_the_commands_of_openssl_write_is_read(place: Place, form: str) -> None:
    place.signed("db1")
    place.run(FORMS[form])
    done = place.sign(place.request(), place.request("db2"))
    assert (list(done.certificates), list(done.waiting), done.refused, done.warnings) == (["db1"], ["db2"], {}, [])
    found = certificate.read_pem(done.certificates["db1"], "chain")
    assert [one.issuer_common_name for one in found] == ["Company Issuing", "Company Root"]
    assert len((place.folder / "ca" / "ledger.jsonl").read_text().splitlines()) == 1


def extensions(place: Place, text: str) -> list[str]:
    path = place.folder / "extensions.conf"
    path.write_text(text)
    return ["-extfile", str(path)]


def of_another_company(place: Place) -> None:
    other = Company(place.folder / "other")
    place.signed("db1", company=other)


WRONG: dict[str, tuple[Callable[[Place], None], str]] = {
    "name": (
        lambda place: place.signed("db1", *extensions(place, PLAIN.replace("db1", "db9") + "serverAuth\n")),
        r"db1\.pem: not as requested: san_missing: db1\.example",
    ),
    "usage": (
        lambda place: place.signed("db1", *extensions(place, f"{PLAIN}clientAuth\n")),
        r"db1\.pem: not as requested: profile: extended key usage",
    ),
    "key": (
        lambda place: place.signed("db2") or place.run("mv db2.pem db1.pem"),
        r"db1\.pem: not for the key of db1\.csr",
    ),
    "dates": (
        lambda place: place.signed("db1", "-startdate", "20200101000000Z", "-enddate", "20210101000000Z"),
        r"db1\.pem: not as requested: expired_\d+d_ago",
    ),
    "root": (of_another_company, r"db1\.pem: not as requested: chain: none leads from issuer 'Company Issuing'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_one_is_refused_with_the_difference_and_stops_nobody_else(place: Place, kind: str) -> None:
    make, message = WRONG[kind]
    make(place)
    done = place.sign(place.request(), place.request("db2"))
    assert re.search(message, done.refused["db1"]), done.refused
    assert "Its host goes on as before. Have db1.csr signed as it is, and replace that file." in done.refused["db1"]
    assert list({**done.certificates, **done.waiting}) == ["db2"]
    assert (place.requests / "db1.csr").exists()


def test_the_answer_of_last_year_is_not_taken_for_a_renewal(place: Place) -> None:
    """A client keeps its key, so the answers of all years still fit it."""
    place.signed("db1")
    (text,) = place.sign(place.request()).certificates.values()
    first = certificate.read_pem(text, "chain")[0]
    waits = place.sign(place.request(replaces=f"{first.serial:x}"))
    assert list(waits.waiting) == ["db1"]
    place.run("mv db1.pem 2025.pem")
    place.signed("db1")
    (text,) = place.sign(place.request(replaces=f"{first.serial:x}")).certificates.values()
    second = certificate.read_pem(text, "chain")[0]
    assert second.serial != first.serial
    (again,) = place.sign(place.request(replaces=f"{first.serial:x}")).certificates.values()
    assert again == text, "a run may die before the host gets it"
    done = place.sign(place.request(replaces=f"{second.serial:x}"))
    assert (list(done.waiting), done.certificates, done.refused) == (["db1"], {}, {})
    lines = [json.loads(line) for line in (place.folder / "ca" / "ledger.jsonl").read_text().splitlines()]
    assert [one["id"] for one in lines] == ["db1", "db1"]
