# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of the guide that sign: ``openssl ca`` and cfssl as the company's CA."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import signing
from ansible_collections.pgops.tls.plugins.module_utils.credential import due, spec
from ansible_collections.pgops.tls.plugins.module_utils.source import declared, registry
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests import guides
from ansible_collections.pgops.tls.tests.openssl_ca import Company

NAMES = ["db1.example", "db1.shop.example", "192.0.2.1", "2001:db8::1"]
DAY = 86_400


class Place:
    """A host of the authorities with a CA's files and a program of the guide."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder, self.company = folder, Company(folder / "company")
        self.program = folder / program
        self.program.write_text(guides.example(program))
        self.program.chmod(0o755)
        (folder / "ca").mkdir()
        (self.company.folder / "config.json").write_text(guides.example("config.json"))

    @property
    def argument(self) -> str:
        """Return what the program is told: its configuration, or where its files are."""
        folder = self.company.folder
        return str(folder / "ca.conf") if "openssl" in self.program.name else str(folder)

    def source(self) -> dict[str, Any]:
        roots = str(self.company.folder / "root.pem")
        command = [str(self.program), self.argument]
        return {"type": "command", "command": command, "roots": roots, "dedicated": True}

    def request(self, id_: str = "db1", role: str = "", key_type: str = "P-256") -> dict[str, Any]:
        key = self.folder / f"{id_.replace('/', '_')}.key"
        key.write_text(openssl.new_key(key_type))
        names = [] if role else parse_all(NAMES, "names")
        usage = certificate.CLIENT_AUTH if role else certificate.SERVER_AUTH
        csr = openssl.new_request(str(key), None, openssl.Wanted(role or NAMES[0], names, usage))
        return {"id": id_, "csr": csr, "reasons": ["due"], **({"role": role} if role else {"names": NAMES})}

    def sign(self, *requests: dict[str, Any], lifetime: str = "90d") -> signing.SigningResult:
        authority = "client" if "role" in requests[0] else "server"
        order = signing.Order(str(self.folder / "ca"), None, authority, requests, lifetime, {authority: self.source()})
        return signing.sign(order, int(time.time()), is_dry=False)


@pytest.fixture(params=["sign-with-openssl", "sign-with-cfssl"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    if "cfssl" in request.param and shutil.which("cfssl") is None:
        pytest.skip("this suite has no cfssl")
    return Place(tmp_path, request.param)


@pytest.mark.parametrize("role", ["", "app", "app_rw", "DB Admin"])
def test_the_programs_of_the_guide_sign_what_is_wanted(place: Place, role: str) -> None:
    id_ = "app1/www/app" if role else "db1"
    done = place.sign(place.request(id_, role))
    assert (done.refused, done.waiting, done.warnings) == ({}, {}, [])
    leaf, *above = certificate.read_pem(done.certificates[id_], "chain")
    assert leaf.common_name == (role or NAMES[0])
    assert sorted(one.value for one in leaf.names) == ([] if role else sorted(NAMES))
    usage = certificate.CLIENT_AUTH if role else certificate.SERVER_AUTH
    assert leaf.extended_key_usage == (usage,)
    assert [one.common_name for one in above] == ["Company Issuing"]
    assert 89 * DAY < leaf.not_after - time.time() < 91 * DAY
    (one,) = declared.parse({"server": place.source()}, "sources").values()
    trust = registry.source(one, "").trust(int(time.time()))
    wish = spec.Spec(role or None, (), "P-256", usage, [*trust.issuing, *trust.roots])
    assert due.needed(due.Present([leaf, *above], True, True), wish, int(time.time())) == []
    (line,) = map(json.loads, (place.folder / "ca" / "ledger.jsonl").read_text().splitlines())
    assert (line["id"], line["source"]) == (id_, "command")


def test_one_call_signs_for_many_hosts(place: Place) -> None:
    wanted = [place.request(f"db{number}") for number in range(1, 4)]
    assert sorted(place.sign(*wanted).certificates) == ["db1", "db2", "db3"]


@pytest.mark.parametrize("key_type", ["P-384", "RSA-3072"])
def test_other_types_of_keys(place: Place, key_type: str) -> None:
    assert place.sign(place.request(key_type=key_type)).refused == {}


def test_what_the_ca_says_reaches_the_user(place: Place) -> None:
    (place.company.folder / "issuing.key").write_text("nothing\n")
    refused = place.sign(place.request()).refused["db1"]
    assert re.match(rf"requests\[db1\]: {place.program} refuses it: .*(key|KEY)", refused), refused


def test_a_ca_that_changes_the_names_is_refused(place: Place) -> None:
    """Cfssl takes the names of its option, openssl ca those of its configuration."""
    text = place.program.read_text()
    is_openssl = "openssl" in place.program.name
    changed = (
        text.replace('"-batch"', '"-batch", "-extfile", "/dev/null"') if is_openssl else
        text.replace('"sign", *files', '"sign", "-hostname", "db9.example", *files')
    )  # fmt: skip
    assert changed != text
    place.program.write_text(changed)
    if is_openssl:
        configuration = place.company.folder / "ca.conf"
        configuration.write_text(configuration.read_text().replace("copy_extensions = copy", "copy_extensions = none"))
    refused = place.sign(place.request()).refused["db1"]
    assert re.search(r"returned something else: not as requested: .*san_missing: db1\.example", refused), refused
