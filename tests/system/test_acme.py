# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of servers by ACME, from a real Pebble: what is proven how, and what may go wrong."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, planning, signing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential import due, spec
from ansible_collections.pgops.tls.plugins.module_utils.source import acme_library, declared, registry
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests import guides, pebbles

if shutil.which("pebble") is None or importlib.util.find_spec("acme") is None:
    pytest.skip("this suite has no Pebble, or no library for ACME", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the library in the version of the suite
NAMES = ["db1.example", "db1.shop.example"]


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pebbles.Pebble]:
    """Run a CA that refuses half of all nonces, and has a second chain."""
    settings = {"PEBBLE_WFE_NONCEREJECT": "50", "PEBBLE_ALTERNATE_ROOTS": "1", "PEBBLE_AUTHZREUSE": "0"}
    with pebbles.running(tmp_path_factory.mktemp("pebble"), **settings) as found:
        yield found


class Place:
    """A host of the authorities, with the program of the guide, and a host that wants a certificate."""

    def __init__(self, folder: Path, pebble: pebbles.Pebble) -> None:
        self.folder, self.pebble = folder, pebble
        self.ca, self.roots = folder / "ca", folder / "roots.pem"
        self.ca.mkdir()
        self.roots.write_text(pebble.root())
        self.program = folder / "show-files"
        self.program.write_text(guides.example("show-files"))
        self.program.chmod(0o755)

    @property
    def argv(self) -> list[str]:
        return [str(self.program), str(self.pebble.web)]

    def request(self, id_: str = "db1", names: list[str] | None = None) -> dict[str, Any]:
        names = NAMES if names is None else names
        key = self.folder / f"{id_}.key"
        key.write_text(openssl.new_key("P-256"))
        wanted = openssl.Wanted(names[0], parse_all(names, "names"), certificate.SERVER_AUTH)
        return {"id": id_, "csr": openssl.new_request(str(key), None, wanted), "names": names, "reasons": ["due"]}

    def source(self, **more: Any) -> dict[str, Any]:
        return {**self.pebble.declared(self.argv, self.roots), **more}

    def sign(self, *requests: dict[str, Any], is_dry: bool = False, **more: Any) -> signing.SigningResult:
        wanted = list(requests or [self.request()])
        order = signing.Order(str(self.ca), None, "server", wanted, "90d", {"server": self.source(**more)})
        return signing.sign(order, int(time.time()), is_dry=is_dry)

    def trust(self, **more: Any) -> Any:
        (one,) = declared.parse({"server": self.source(**more)}, "sources").values()
        return registry.source(one, str(self.ca)).trust(int(time.time()))

    def left(self) -> list[Path]:
        """Return the files that challenges have left."""
        return [path for path in self.pebble.web.rglob("*") if path.is_file()]


@pytest.fixture
def place(tmp_path: Path, pebble: pebbles.Pebble) -> Place:
    return Place(tmp_path, pebble)


def chain_of(done: signing.SigningResult, id_: str = "db1") -> list[certificate.Certificate]:
    assert done.refused == {}
    return certificate.read_pem(done.certificates[id_], "chain")


def test_names_are_proven_by_files(place: Place) -> None:
    done = place.sign()
    leaf, *above = chain_of(done)
    assert sorted(one.value for one in leaf.names) == sorted(NAMES)
    assert len(above) == 1
    assert (done.warnings, done.waiting) == ([], {})
    assert len([path for path in place.pebble.wanted if path.startswith("/.well-known/acme-challenge/")]) >= 2
    assert place.left() == []
    (line,) = map(json.loads, (place.ca / "ledger.jsonl").read_text().splitlines())
    assert (line["serial"], line["source"]) == (f"{leaf.serial:x}", "acme")
    found = place.trust()
    wish = spec.Spec(None, parse_all(NAMES, "names"), "P-256", certificate.SERVER_AUTH, [*found.issuing, *found.roots])
    assert due.needed(due.Present([leaf, *above], True, True), wish, int(time.time())) == []


def test_names_are_proven_by_records(place: Place) -> None:
    before = len(place.pebble.wanted)
    done = place.sign(challenge="dns-01", command=place.pebble.dns_program())
    assert chain_of(done)
    assert len(place.pebble.wanted) == before


def test_the_account_stays(place: Place) -> None:
    assert place.sign().certificates
    path = place.ca / "acme-account.key"
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert place.sign().certificates
    assert path.read_bytes() == before
    assert keeping.keep(keeping.Wish(str(place.ca), "P-256", None), int(time.time()), is_dry=False).made


def test_a_damaged_key_of_the_account_is_told(place: Place) -> None:
    (place.ca / "acme-account.key").write_text("nothing\n")
    assert "acme-account.key: expected the private RSA key of the ACME account in PEM" in place.sign().refused["db1"]


def test_an_address_is_a_name_too(place: Place) -> None:
    names = ["db1.example", "127.0.0.1"]
    leaf = chain_of(place.sign(place.request(names=names)))[0]
    assert sorted(one.value for one in leaf.names) == sorted(names)


@pytest.mark.parametrize("names", [["127.0.0.1"], ["127.0.0.1", "db1.example"]])
def test_an_address_cannot_be_the_first_name(place: Place, names: list[str]) -> None:
    done = place.sign(place.request(names=names), place.request("db2", ["db2.example"]))
    assert list(done.certificates) == ["db2"]
    assert "requests[db1].names: the first one is 127.0.0.1, an address. ACME needs a DNS name" in done.refused["db1"]


def test_a_challenge_that_is_not_offered_for_an_address(place: Place) -> None:
    done = place.sign(
        place.request(names=["db1.example", "127.0.0.1"]), challenge="dns-01", command=place.pebble.dns_program()
    )
    assert re.search(
        r"sources\.server\.challenge: the CA offers http-01.* for 127\.0\.0\.1, and not dns-01\..*remove it",
        done.refused["db1"],
    )


def test_a_second_chain_is_taken_where_its_root_is_the_trusted_one(place: Place) -> None:
    first, second = place.pebble.root(0), place.pebble.root(1)
    assert first != second
    place.roots.write_text(second)
    _leaf, *above = chain_of(place.sign())
    (root,) = certificate.read_pem(second, "root")
    assert above[-1].issuer_common_name == root.common_name


def test_each_request_stands_for_itself(place: Place) -> None:
    bad = place.request("db2", ["db2.blocked-domain.example"])
    place.program.write_text(
        place.program.read_text().replace("path.write_text", "'db2' in one['name'] or path.write_text")
    )
    done = place.sign(place.request("db1"), bad, place.request("db3", ["db3.example"]))
    assert sorted(done.certificates) == ["db1", "db3"]
    assert re.search(
        r"the CA found no proof of the names: db2\.blocked-domain\.example: .*404.*Check what .*show-files does",
        done.refused["db2"],
    ), done.refused
    assert place.left() == []


def test_an_unknown_root_is_refused(place: Place) -> None:
    other = place.folder / "other.pem"
    other.write_text(Path(place.pebble.ca_file).read_text())
    done = place.sign(roots=str(other))
    assert re.search(
        r"issued something else: not as requested: chain: none leads from .*Correct sources", done.refused["db1"]
    )
    assert not (place.ca / "ledger.jsonl").exists()


def test_a_program_that_fails_removes_what_it_has_shown(place: Place) -> None:
    calls = place.folder / "calls"
    place.program.write_text(f'#!/bin/sh\ngrep -o \'"action": "[a-z]*"\' >> {calls}\necho no space >&2\nexit 1\n')
    refused = place.sign().refused["db1"]
    assert re.search(r"sources\.server\.command: .*show-files ended with exit code 1, and says: no space", refused)
    assert calls.read_text().splitlines() == ['"action": "add"', '"action": "remove"']


def test_what_cannot_be_removed_is_a_warning(place: Place) -> None:
    before, loop, after = place.program.read_text().partition("for one in")
    place.program.write_text(f"{before}if question['action'] == 'remove': sys.exit('busy')\n{loop}{after}")
    done = place.sign()
    assert chain_of(done)
    (warning,) = done.warnings
    assert "ended with exit code 1, and says: busy" in warning
    for path in place.left():
        path.unlink()


def test_a_dry_run_asks_nobody(place: Place) -> None:
    done = place.sign(is_dry=True, url="https://127.0.0.1:1/dir")
    assert (done.refused, len(done.changes)) == ({}, 1)
    assert not (place.ca / "acme-account.key").exists()


SERVER: dict[str, tuple[dict[str, Any], str]] = {
    "terms": (
        {"terms_agreed": None},
        r"terms_agreed: https://.* has terms of service \(data:.*\)\. Read them.*set terms_agreed: true",
    ),
    "port": (
        {"url": "https://127.0.0.1:1/dir"},
        r"dir gives no usable answer: Connection refused\. Correct the URL, or start",
    ),
    "ca": ({"ca_file": None}, r"gives no usable answer: self-signed certificate\. Set sources\.server\.ca_file"),
    "no ACME": ({"url": "{management}"}, r"server\.url: .* gives no usable answer: what it says is not ACME"),
    "nothing": ({"url": "{api}/nothing"}, r"server\.url: .* gives no usable answer: what it says"),
}


@pytest.mark.parametrize("kind", SERVER)
def test_what_is_wrong_with_the_ca_is_said_before_anything_is_ordered(place: Place, kind: str) -> None:
    options, message = SERVER[kind]
    ports = {
        "management": f"https://127.0.0.1:{place.pebble.ports['management']}/roots/0",
        "api": place.pebble.url[:-4],
    }
    given = {key: one.format(**ports) if isinstance(one, str) else one for key, one in options.items()}
    done = place.sign(**given)
    assert done.certificates == {}
    assert re.search(message, done.refused["db1"]), done.refused
    assert not (place.ca / "ledger.jsonl").exists()


def test_a_ca_that_does_not_answer_in_time(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    with pebbles.running(tmp_path_factory.mktemp("slow"), PEBBLE_VA_NOSLEEP="0", PEBBLE_VA_SLEEPTIME="10") as slow:
        done = Place(tmp_path, slow).sign(timeout=1)
        assert "was not done within 1 s. Rerun." in done.refused["db1"]


def test_authorizations_that_are_valid_already_are_not_proven_again(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with pebbles.running(tmp_path_factory.mktemp("reuse"), PEBBLE_AUTHZREUSE="100") as reusing:
        place = Place(tmp_path, reusing)
        assert chain_of(place.sign())
        place.program.write_text("#!/bin/sh\necho nobody should call this >&2\nexit 1\n")
        assert chain_of(place.sign())


def test_a_deeper_chain(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    with pebbles.running(tmp_path_factory.mktemp("deep"), PEBBLE_CHAIN_LENGTH="3") as deep:
        assert len(chain_of(Place(tmp_path, deep).sign())) == 4


def test_a_missing_library_is_found_by_every_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acme_library.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(TlsError, match=r"needs the Python library acme .*Found: acme is not installed.*python3-acme"):
        place.trust()


@pytest.mark.parametrize("error", [ImportError, AttributeError])
def test_a_library_that_does_not_work_is_told(place: Place, monkeypatch: pytest.MonkeyPatch, error: type) -> None:
    name = f"broken_by_{error.__name__}"
    (place.folder / f"{name}.py").write_text(f"raise {error.__name__}('no X509Req')\n")
    monkeypatch.syspath_prepend(str(place.folder))
    monkeypatch.setattr(acme_library, "_PARTS", (name,))
    refused = place.sign().refused["db1"]
    assert re.search(r"needs the Python library acme .*Found: no X509Req\. Nothing was changed\. Install", refused)


def test_only_the_other_ca_can_replace_its_root(place: Place) -> None:
    sources = declared.parse({"server": place.source()}, "sources")
    wish = keeping.Wish(str(place.ca), "P-256", None, sources=sources, change=planning.Change("stage", ["server"]))
    with pytest.raises(TlsError, match=r"source of type acme .*cannot rotate from here.*file of roots"):
        keeping.keep(wish, int(time.time()), is_dry=False)
