# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A company that signs by hand: what goes out, what may come back, and what is refused with the difference."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, ledger, signing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.source import contract, registry, remembered
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import parse
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl, revocations
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

COMPANY, OTHER = companies.company(), companies.company("Other")
NAMES = ["db1.example", "192.0.2.1"]
Write = Callable[[Path, x509.Certificate], None]


class Host:
    """A host with a key, and what it asks for."""

    def __init__(self, folder: Path, id_: str = "db1", names: Sequence[str] | None = None, role: str = "") -> None:
        self.id, self.names, self.role = id_, list(NAMES if names is None else names), role
        self.key = folder / f"{id_.replace('/', '_')}.key"
        self.key.write_text(openssl.new_key("P-256"))

    def request(self, replaces: str = "", **wrong: Any) -> dict[str, Any]:
        usage = certificate.CLIENT_AUTH if self.role else certificate.SERVER_AUTH
        wanted = openssl.Wanted(self.role or self.names[0], parse_all(self.names, "names") if self.names else [], usage)
        csr = openssl.new_request(str(self.key), None, wanted._replace(**wrong))
        asked = {"role": self.role} if self.role else {"names": self.names}
        return {"id": self.id, "csr": csr, "reasons": ["no_certificate"], "replaces": replaces, **asked}

    @property
    def public_key(self) -> Any:
        return x509.load_pem_x509_csr(self.request()["csr"].encode()).public_key()

    def signed(self, turn: int = 0, **more: Any) -> x509.Certificate:
        names = more.pop("names", self.names)
        of = more.pop("of", COMPANY)
        return companies.leaf(of.issuing[turn], self.public_key, self.role or "db1.example", names, **more)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Give a directory of the authorities, one for requests, and the file of the company's root."""
    (tmp_path / "ca").mkdir()
    (tmp_path / "roots.pem").write_text(COMPANY.root.pem)
    return tmp_path


@pytest.fixture
def host(place: Path) -> Host:
    return Host(place)


def sources(place: Path) -> dict[str, Any]:
    files = {"type": "files", "directory": str(place / "requests"), "roots": str(place / "roots.pem")}
    return {"server": files, "client": {**files, "dedicated": True}}


def sign(place: Path, *requests: dict[str, Any], now: int = NOW + DAY, is_dry: bool = False) -> signing.SigningResult:
    authority = "client" if "role" in requests[0] else "server"
    order = signing.Order(str(place / "ca"), None, authority, list(requests), "90d", sources(place))
    return signing.sign(order, now, is_dry=is_dry)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


CHAIN = (COMPANY.issuing[0].certificate, COMPANY.policy.certificate)
ROOT = COMPANY.root.certificate


def write(name: str, content: Callable[[x509.Certificate], bytes]) -> Write:
    return lambda folder, leaf: (folder / name).write_bytes(content(leaf)) and None


def two_files(folder: Path, leaf: x509.Certificate) -> None:
    (folder / "any name.cer").write_bytes(leaf.public_bytes(Encoding.DER))
    (folder / "chain.p7b").write_bytes(pkcs7.serialize_certificates([*CHAIN, ROOT], Encoding.DER))


FORMS: dict[str, Write] = {
    "pem": write("db1.pem", lambda leaf: pem(leaf, *CHAIN)),
    "with its root": write("db1.crt", lambda leaf: pem(leaf, *CHAIN, ROOT)),
    "in reverse": write("db1.pem", lambda leaf: pem(ROOT, *reversed(CHAIN), leaf)),
    "with text": write("db1.pem", lambda leaf: b"subject=/CN=db1\r\n" + pem(leaf, *CHAIN).replace(b"\n", b"\r\n")),
    "pkcs7 in pem": write("db1.p7b", lambda leaf: pkcs7.serialize_certificates([*CHAIN, leaf], Encoding.PEM)),
    "pkcs7 in der": write("db1.p7c", lambda leaf: pkcs7.serialize_certificates([leaf, *CHAIN], Encoding.DER)),
    "der beside a chain": two_files,
    "another name": write("ticket 4711.PEM", lambda leaf: pem(leaf, *CHAIN)),
}


def test_requests_go_out_once_and_the_list_says_what_is_wanted(place: Path, host: Host) -> None:
    done = sign(place, host.request())
    folder = place / "requests"
    assert done.waiting == {"db1": f"{folder}/db1.csr waits for its certificate (it has none yet)."}
    assert (done.certificates, done.refused) == ({}, {})
    assert done.changes == [f"write {folder}/db1.csr"]
    before = (folder / "db1.csr").read_text()
    assert "db1.csr: server db1.example, 192.0.2.1; serverAuth; P-256; now (no_certificate)" in _list(place)
    again = sign(place, host.request())
    assert (again.changes, (folder / "db1.csr").read_text()) == ([], before)
    host.key.write_text(openssl.new_key("P-256"))
    assert sign(place, host.request()).changes == [f"write {folder}/db1.csr"]


def _list(place: Path) -> str:
    return (place / "requests" / "requests.txt").read_text()


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_is_taken_in_any_form(place: Path, host: Host, form: str) -> None:
    sign(place, host.request())
    leaf = host.signed()
    FORMS[form](place / "requests", leaf)
    done = sign(place, host.request())
    assert done.certificates == {"db1": pem(leaf, *CHAIN).decode()}
    assert (done.refused, done.waiting, done.warnings) == ({}, {}, [])
    assert not (place / "requests" / "db1.csr").exists()
    assert _list(place) == ""
    lines = [json.loads(line) for line in (place / "ca" / "ledger.jsonl").read_text().splitlines()]
    assert [(one["id"], one["authority"], one["source"]) for one in lines] == [("db1", "server", "files")]


def test_an_answer_can_be_fetched_again_and_is_recorded_once(place: Path, host: Host) -> None:
    sign(place, host.request())
    FORMS["pem"](place / "requests", host.signed())
    first = sign(place, host.request())
    assert sign(place, host.request()).certificates == first.certificates
    assert len((place / "ca" / "ledger.jsonl").read_text().splitlines()) == 1


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "names": ({"names": ["db1.example"]}, "san_missing: 192.0.2.1"),
    "usage": ({"usages": [certificate.CLIENT_AUTH]}, "profile: extended key usage"),
    "of a CA": ({"is_ca": True}, "profile: that of a CA"),
    "expired": ({"days": 0.5}, "expired_12h_ago"),
    "not yet": ({"start": NOW + 9 * DAY}, "not_valid_for_another_8d"),
    "nearly over": ({"days": 1.1}, "expires_in_2h"),
    "root": ({"of": OTHER}, "chain: none leads from issuer 'Other Issuing 1' to 'Example Root'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_answer_is_refused_with_the_difference(place: Path, host: Host, kind: str) -> None:
    more, difference = WRONG[kind]
    sign(place, host.request())
    chain = [OTHER.issuing[0].certificate, OTHER.policy.certificate, *CHAIN]
    (place / "requests" / "db1.pem").write_bytes(pem(host.signed(**more), *chain))
    done = sign(place, host.request())
    assert f"db1.pem: not as requested: {difference}" in done.refused["db1"]
    assert "Have db1.csr signed as it is" in done.refused["db1"]
    assert (place / "requests" / "db1.csr").exists()
    assert (done.certificates, done.waiting) == ({}, {})


def test_a_chain_that_lacks_a_ca_is_refused(place: Path, host: Host) -> None:
    sign(place, host.request())
    (place / "requests" / "db1.pem").write_bytes(pem(host.signed(), CHAIN[0]))
    assert "chain: none leads from issuer 'Example Issuing 1'" in sign(place, host.request()).refused["db1"]


def forger(of: companies.Authority) -> companies.Authority:
    return of._replace(key=OTHER.issuing[0].key)


@pytest.mark.parametrize("forged", ["leaf", "issuing CA", "policy CA"])
def test_a_forged_signature_is_no_chain(place: Path, host: Host, forged: str) -> None:
    policy, issuing = COMPANY.policy, COMPANY.issuing[0]
    if forged == "policy CA":
        policy = companies.authority("Example Policy", forger(COMPANY.root), start=NOW)
        issuing = companies.authority("Example Issuing 1", policy, start=NOW)
    elif forged == "issuing CA":
        issuing = companies.authority("Example Issuing 1", forger(policy), start=NOW)
    signer = forger(issuing) if forged == "leaf" else issuing
    sign(place, host.request())
    leaf = companies.leaf(signer, host.public_key, "db1.example", NAMES)
    (place / "requests" / "db1.pem").write_bytes(pem(leaf, issuing.certificate, policy.certificate))
    assert "chain: none leads from issuer 'Example Issuing 1'" in sign(place, host.request()).refused["db1"]


def test_swapped_answers_are_told_by_their_keys(place: Path, host: Host) -> None:
    other = Host(place, "db2", ["db2.example"])
    sign(place, host.request(), other.request())
    (place / "requests" / "db1.pem").write_bytes(pem(other.signed(names=["db1.example", "192.0.2.1"]), *CHAIN))
    done = sign(place, host.request(), other.request())
    assert "db1.pem: not for the key of db1.csr." in done.refused["db1"]
    assert "db1.pem: not as requested: san_missing: db2.example" in done.refused["db2"]


def test_half_of_them_come_and_one_comes_twice(place: Path) -> None:
    hosts = [Host(place, f"db{number}", [f"db{number}.example"]) for number in range(4)]
    sign(place, *(one.request() for one in hosts))
    for one in hosts[:2]:
        (place / "requests" / f"{one.id}.pem").write_bytes(pem(one.signed(), *CHAIN))
    (place / "requests" / "again.pem").write_bytes(pem(hosts[0].signed(1), COMPANY.issuing[1].certificate))
    done = sign(place, *(one.request() for one in hosts))
    assert sorted(done.certificates) == ["db0", "db1"]
    assert sorted(done.waiting) == ["db2", "db3"]
    assert done.refused == {}
    assert "db0.csr" not in _list(place)
    assert "db3.csr: server db3.example" in _list(place)


def test_renewal_with_the_same_key_waits_for_another_certificate(place: Path, host: Host) -> None:
    sign(place, host.request())
    leaf = host.signed()
    (place / "requests" / "db1.pem").write_bytes(pem(leaf, *CHAIN))
    sign(place, host.request())
    serial = f"{leaf.serial_number:x}"
    waits = sign(place, host.request(serial))
    assert waits.waiting["db1"].endswith("db1.csr waits for its certificate (needed by 2028-01-15T08:00:00Z).")
    assert "by 2028-01-15T08:00:00Z (no_certificate)" in _list(place)
    (place / "requests" / "db1 again.pem").write_bytes(pem(host.signed(1), COMPANY.issuing[1].certificate))
    assert list(sign(place, host.request(serial)).certificates) == ["db1"]


def renewed(place: Path, host: Host, name: str, replaces: str = "", **more: Any) -> str:
    """Have the company answer, and the host get the certificate. Return its serial number."""
    sign(place, host.request(replaces), now=NOW + 2 * DAY)
    leaf = host.signed(**more)
    (place / "requests" / name).write_bytes(pem(leaf, *CHAIN))
    assert sign(place, host.request(replaces), now=NOW + 2 * DAY).certificates["db1"] == pem(leaf, *CHAIN).decode()
    return f"{leaf.serial_number:x}"


# By its name the oldest is looked at first, or last. A company may sign with any dates
@pytest.mark.parametrize("names", [("1.pem", "2.pem", "3.pem"), ("3.pem", "2.pem", "1.pem")])
@pytest.mark.parametrize("starts", [(0, 1, 1.5), (0, 0, 0), (1.5, 1, 0)], ids=["later", "same", "earlier"])
def test_old_answers_for_a_key_that_stays_are_passed_over(
    place: Path, host: Host, names: tuple[str, ...], starts: tuple[float, ...]
) -> None:
    start = [int(NOW + days * DAY) for days in starts]
    first = renewed(place, host, names[0], start=start[0])
    second = renewed(place, host, names[1], first, start=start[1])
    done = sign(place, host.request(second), now=NOW + 2 * DAY)
    assert (list(done.waiting), done.refused, done.certificates) == (["db1"], {}, {})
    third = renewed(place, host, names[2], second, start=start[2])
    again = sign(place, host.request(second), now=NOW + 2 * DAY)  # a run died before the host got it
    assert f"{leaf_of(again).serial:x}" == third
    assert list(sign(place, host.request(third), now=NOW + 2 * DAY).waiting) == ["db1"]


def leaf_of(done: signing.SigningResult) -> certificate.Certificate:
    return certificate.read_pem(done.certificates["db1"], "chain")[0]


def test_an_old_answer_that_has_expired_is_not_a_wrong_one(place: Path, host: Host) -> None:
    first = renewed(place, host, "2024.pem", days=10)
    second = renewed(place, host, "2025.pem", first)
    done = sign(place, host.request(second), now=NOW + 300 * DAY)
    assert (list(done.waiting), done.refused) == (["db1"], {})
    (place / "requests" / "2026.pem").write_bytes(pem(host.signed(start=NOW + 300 * DAY), *CHAIN))
    assert leaf_of(sign(place, host.request(second), now=NOW + 300 * DAY)).not_before == NOW + 300 * DAY


def test_the_ledger_is_read_once_for_all_requests(place: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [Host(place, f"db{number}", [f"db{number}.example"]) for number in range(2, 5)]
    first = renewed(place, host, "db1.pem")
    sign(place, *(one.request() for one in others))
    reads: list[int] = []
    matching = ledger.matching
    monkeypatch.setattr(ledger, "matching", lambda *given: reads.append(1) or matching(*given))
    done = sign(place, *(one.request(first) for one in (host, *others)))
    assert len(done.waiting) == 4
    assert len(reads) == 1


def test_the_answer_to_a_former_key_may_stay(place: Path, host: Host) -> None:
    sign(place, host.request())
    (place / "requests" / "db1.pem").write_bytes(pem(host.signed(), *CHAIN))
    sign(place, host.request())
    host.key.write_text(openssl.new_key("P-256"))
    assert list(sign(place, host.request("5ac6")).waiting) == ["db1"]


def test_a_role_is_a_common_name_and_its_file_has_no_slash(place: Path) -> None:
    app = Host(place, "app1/www/orders", [], "orders")
    done = sign(place, app.request())
    assert list(done.waiting) == ["app1/www/orders"]
    assert "app1+www+orders.csr: client role orders; clientAuth; P-256" in _list(place)
    (place / "requests" / "x.pem").write_bytes(pem(app.signed(), *CHAIN))
    assert list(sign(place, app.request()).certificates) == ["app1/www/orders"]
    other = Host(place, "app1/www/report", [], "report")
    (place / "requests" / "y.pem").write_bytes(
        pem(companies.leaf(COMPANY.issuing[0], other.public_key, "orders"), *CHAIN)
    )
    assert "common_name: orders instead of report" in sign(place, other.request()).refused["app1/www/report"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"common_name": "postgres"},
        {"names": parse_all([*NAMES, "db9.example"], "names")},
        {"names": []},
    ],
)
def test_a_host_that_asks_for_other_names_gets_no_request_out(place: Path, host: Host, wrong: dict[str, Any]) -> None:
    done = sign(place, host.request(**wrong))
    assert "requests[db1].csr: it asks for " in done.refused["db1"]
    assert list((place / "requests").glob("*.csr")) == []


def test_a_host_cannot_write_the_line_of_another_request(place: Path, host: Host) -> None:
    request = {**host.request(), "reasons": ["due)\ndb2.csr: server db2.example (due", "\x1b[31mforced"]}
    sign(place, request)
    (line,) = [one for one in _list(place).splitlines() if not one.startswith("#")]
    assert line.endswith("; now (due) db2.csr: server db2.example (due; [31mforced)")


def test_files_that_are_none_are_named_and_stop_nobody(place: Path, host: Host) -> None:
    sign(place, host.request())
    (place / "requests" / "notes.pem").write_text("tomorrow")
    (place / "requests" / "oops.pem").write_text(host.key.read_text())
    (place / "requests" / "readme.txt").write_text("not looked at")
    done = sign(place, host.request())
    assert list(done.waiting) == ["db1"]
    told = [warning.partition(" is left out: ")[2] for warning in done.warnings]
    assert [one[:18] for one in told] == ["there is no certif", "it holds a private"]
    assert host.key.read_text() not in str(done)


def test_a_file_that_cannot_be_read_is_named_and_stops_nobody(place: Path, host: Host) -> None:
    other = Host(place, "db2", ["db2.example"])
    sign(place, host.request(), other.request())
    companies.unreadable(place / "requests" / "a.pem")
    companies.unreadable(place / "requests" / "db2.pem")
    FORMS["pem"](place / "requests", host.signed())
    done = sign(place, host.request(), other.request())
    assert (list(done.certificates), list(done.waiting), done.refused) == (["db1"], ["db2"], {})
    found = [re.sub(r"\(.*\)", "(...)", warning) for warning in done.warnings]
    folder = place / "requests"
    assert found == [f"{folder}/{name} is left out: it cannot be read (...)." for name in ("a.pem", "db2.pem")]
    assert trusted(place, 4711).warnings == []


def unusable_roots(place: Path) -> str:
    (place / "roots.pem").unlink()
    (place / "roots.pem").mkdir()
    return f"sources.server: {place}/roots.pem: expected a regular file, found another kind"


def unusable_list(place: Path) -> str:
    (place / "requests" / "requests.txt").unlink()
    (place / "requests" / "requests.txt").mkdir()
    return f"sources.server: {place}/requests/requests.txt: expected a regular file, found another kind"


@pytest.mark.parametrize("fault", [unusable_roots, unusable_list])
def test_files_that_cannot_be_used_stop_only_the_requests_to_this_source(
    place: Path, host: Host, fault: Callable[[Path], str]
) -> None:
    given = {"server": sources(place)["server"]}
    keeping.keep(keeping.Wish(str(place / "ca"), "P-256", None, sources=parse(given, "sources")), NOW, is_dry=False)
    own = {**Host(place, "app1/www/orders", [], "orders").request(), "authority": "client"}
    sign(place, host.request())
    message = fault(place)
    order = signing.Order(str(place / "ca"), None, "server", [own, host.request()], "90d", given)
    done = signing.sign(order, NOW + DAY, is_dry=False)
    assert list(done.certificates) == ["app1/www/orders"]
    assert done.refused["db1"].startswith(message)
    assert "Correct its owner, its mode or the free space, then rerun." in done.refused["db1"]


def test_check_mode_writes_nothing_and_says_who_would_wait(place: Path, host: Host) -> None:
    request = {**host.request(), "csr": ""}
    done = sign(place, request, is_dry=True)
    assert list(done.waiting) == ["db1"]
    assert not (place / "requests").exists()
    assert not (place / "ca" / "ledger.jsonl").exists()


def foreseen(place: Path, host: Host, replaces: str = "") -> signing.SigningResult:
    """Return what check mode says, which has no CSR, and changes nothing."""
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    done = sign(place, {**host.request(replaces), "csr": ""}, is_dry=True)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert done.certificates == {}
    return done


def test_check_mode_foresees_that_a_certificate_is_taken(place: Path, host: Host) -> None:
    sign(place, host.request())
    assert list(foreseen(place, host).waiting) == ["db1"]
    leaf = host.signed()
    (place / "requests" / "db1.pem").write_bytes(pem(leaf, *CHAIN))
    done = foreseen(place, host)
    assert (done.waiting, done.refused, done.warnings) == ({}, {}, [])
    assert done.changes[0].startswith("get a server certificate from the source of type files for db1: db1.example")
    assert list(sign(place, host.request()).certificates) == ["db1"]
    # No request is out for the next one
    assert list(foreseen(place, host, f"{leaf.serial_number:x}").waiting) == ["db1"]


def test_check_mode_foresees_that_a_certificate_is_refused(place: Path, host: Host) -> None:
    sign(place, host.request())
    other = Host(place, "db2", ["db2.example"])
    for leaf, message in (
        (host.signed(names=["db1.example"]), "not as requested: san_missing: 192.0.2.1"),
        (other.signed(), "not for the key of db1.csr"),
    ):
        (place / "requests" / "db1.pem").write_bytes(pem(leaf, *CHAIN))
        assert f"db1.pem: {message}" in foreseen(place, host).refused["db1"]
        assert f"db1.pem: {message}" in sign(place, host.request()).refused["db1"]


@pytest.mark.parametrize("csr", [None, "", "no request"])
def test_without_a_request_no_answer_is_wrong_in_check_mode(place: Path, host: Host, csr: str | None) -> None:
    sign(place, host.request())
    (place / "requests" / "db1.pem").write_bytes(pem(host.signed(), *CHAIN))
    (place / "requests" / "db1.csr").unlink()
    if csr is not None:
        (place / "requests" / "db1.csr").write_text(csr)
    done = foreseen(place, host)
    assert (list(done.waiting), done.refused) == (["db1"], {})


def test_two_runs_at_once_answer_alike(place: Path, host: Host) -> None:
    sign(place, host.request())
    (place / "requests" / "db1.pem").write_bytes(pem(host.signed(), *CHAIN))
    results: list[Any] = []
    runs = [threading.Thread(target=lambda: results.append(sign(place, host.request()))) for _run in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert results[0].certificates == results[1].certificates != {}
    assert len((place / "ca" / "ledger.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected a file with the root's certificate in PEM, found nothing"),
        (COMPANY.policy.pem, "expected a root, found only 'Example Policy'"),
        ("no pem", "expected PEM certificates"),
        (pem(companies.leaf(COMPANY.issuing[0], COMPANY.root.key.public_key(), "x")).decode(), "a leaf"),
    ],
)
def test_roots_that_are_none_are_an_error(place: Path, content: str | None, message: str) -> None:
    (place / "roots.pem").unlink()
    if content is not None:
        (place / "roots.pem").write_text(content)
    declared = parse(sources(place), "sources")["server"]
    with pytest.raises(TlsError, match=message):
        registry.source(declared, str(place / "ca")).trust(NOW)
    refused = sign(place, Host(place).request()).refused
    assert message in refused["db1"]


# Lists of revoked certificates


def trusted(
    place: Path, *revoked: int, without: str = "", now: int = NOW + DAY, are_lists_used: bool = False
) -> contract.Trust:
    """Return what the company says that has revoked certificates of its first issuing CA."""
    issuers = {"Root": COMPANY.root, "Policy": COMPANY.policy, "Issuing": COMPANY.issuing[0]}
    serials = {"Issuing": revoked}
    made = [companies.revocation_list(one, *serials.get(name, ())) for name, one in issuers.items() if name != without]
    lists = [x509.load_der_x509_crl(one).public_bytes(Encoding.PEM) for one in made]
    (place / "company.crl").write_bytes(b"".join(lists))
    given = parse({"server": {**sources(place)["server"], "crls": str(place / "company.crl")}}, "sources")
    return registry.source(given["server"], str(place / "ca"), are_lists_used=are_lists_used).trust(now)


def answered(place: Path, host: Host) -> x509.Certificate:
    sign(place, host.request())
    leaf = host.signed()
    FORMS["pem"](place / "requests", leaf)
    assert sign(place, host.request()).certificates
    return leaf


def test_lists_of_the_company_count_only_for_certificates_of_this_fleet(place: Path, host: Host) -> None:
    leaf = answered(place, host)
    assert (trusted(place, 4711).crls, trusted(place, 4711).revoked) == ("", [])
    found = trusted(place, 4711, leaf.serial_number)
    assert found.crls.count("BEGIN X509 CRL") == 3
    assert (found.revoked, found.warnings) == ([f"{leaf.serial_number:x}"], [])


def test_lists_that_would_refuse_everybody_are_not_deployed(place: Path, host: Host) -> None:
    leaf = answered(place, host)
    found = trusted(place, leaf.serial_number, without="Policy")
    assert (found.crls, found.revoked) == ("", [f"{leaf.serial_number:x}"])
    assert "there is no list of 'Example Policy'" in found.warnings[0]
    (place / "requests" / "db1.pem").unlink()  # and with it the CAs that it was below
    (place / "roots.pem").write_text(COMPANY.root.pem + COMPANY.issuing[1].pem + COMPANY.policy.pem)
    assert trusted(place, leaf.serial_number).crls == ""


def test_lists_that_are_used_stay_when_they_revoke_nothing_of_this_fleet_any_more(place: Path, host: Host) -> None:
    answered(place, host)
    found = trusted(place, 4711, are_lists_used=True)
    assert (found.crls.count("BEGIN X509 CRL"), found.revoked, found.warnings) == (3, [], [])


def test_lists_are_taken_away_before_they_would_refuse_everybody(place: Path, host: Host) -> None:
    leaf = answered(place, host)
    soon = trusted(place, leaf.serial_number, now=NOW + 30 * DAY - revocations.NEXT_RUN - 1, are_lists_used=True)
    assert soon.crls.count("BEGIN X509 CRL") == 3
    assert "ends on" in soon.warnings[0]
    late = trusted(place, leaf.serial_number, now=NOW + 30 * DAY - revocations.NEXT_RUN, are_lists_used=True)
    assert (late.crls, late.revoked) == ("", [f"{leaf.serial_number:x}"])
    assert "outlives the next nightly run" in late.warnings[0]


def away(place: Path, now: int) -> contract.Trust:
    """Return what is trusted of a mount that gives no answer, and had lists before."""
    one = {"type": "openbao", "url": "https://127.0.0.1:1", "role": "server", "token": "hvs.x"}
    given = parse({"server": one}, "sources")
    pem = companies.as_pem(companies.revocation_list(COMPANY.root, 1, days=3))
    before = contract.Trust("openbao", [COMPANY.root.read], crls=pem, revoked=["1"])
    remembered.write({"server": before}, given, str(place / "ca"))
    return remembered.trust(given["server"], str(place / "ca"), now, are_lists_used=False)


def test_lists_of_a_mount_that_is_away_are_used_until_they_end(place: Path) -> None:
    found = away(place, NOW + DAY)
    assert "BEGIN X509 CRL" in found.crls
    assert len(found.warnings) == 1
    found = away(place, NOW + 2 * DAY)
    assert (found.crls, found.revoked) == ("", ["1"])
    assert "takes them away: revoked certificates are accepted again" in found.warnings[1]


def test_a_file_of_lists_that_is_missing_or_something_else_stops_the_run(place: Path) -> None:
    source = {**sources(place)["server"], "crls": str(place / "company.crl")}
    one = registry.source(parse({"server": source}, "sources")["server"], str(place / "ca"))
    for content, expected in ((None, "found nothing"), (ROOT.public_bytes(Encoding.PEM), "found certificates")):
        if content:
            (place / "company.crl").write_bytes(content)
        with pytest.raises(TlsError, match=rf"^sources\.server\.crls: .*{expected}"):
            one.trust(NOW)
