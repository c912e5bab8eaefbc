# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our issuing CA below a company's root: request, answer, renewal by the clock, and the ways there and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    keeping,
    lineage,
    planning,
    signing,
    store,
)
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.source import declared
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl, revocations
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.shared import DAY, NOW, PASSPHRASE
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

YEAR = 365 * DAY


@pytest.fixture(scope="module")
def company() -> companies.Company:
    return companies.company()


@pytest.fixture(scope="module")
def other() -> companies.Company:
    return companies.company("Other")


class Fleet:
    """A directory of the authorities, one for requests, and what the inventory says."""

    def __init__(self, folder: Path, company: companies.Company) -> None:
        self.ca, self.requests, self.company = folder / "ca", folder / "requests", company
        self.roots = folder / "roots.pem"
        self.roots.write_text(company.root.pem)
        entry = {"type": "own", "directory": str(self.requests), "roots": str(self.roots)}
        self.sources: dict[str, Any] = {"server": entry}
        self.passphrase: str | None = None
        self.name = "server"

    def at(self, moment: int = 0, *, is_dry: bool = False, **wished: Any) -> keeping.KeepingResult:
        """Return what a run does ``moment`` seconds after the start."""
        wish = keeping.Wish(
            str(self.ca),
            "P-256",
            self.passphrase,
            "90d",
            sources=declared.parse(self.sources, "sources"),
            companies=declared.below_company(self.sources, "sources"),
        )
        return keeping.keep(wish._replace(**wished), NOW + moment, is_dry=is_dry)

    def phase(self, phase: str, moment: int = 0) -> keeping.KeepingResult:
        return self.at(moment, change=planning.Change(phase, ["server"], trust=["none"]))

    def sign(self, moment: int = 0, *, is_dry: bool = False) -> signing.SigningResult:
        """Return what becomes of a request for a leaf."""
        key = openssl.new_key("P-256")
        (self.roots.parent / "leaf.key").write_text(key)
        wanted = openssl.Wanted("db1", [], certificate.SERVER_AUTH)
        csr = openssl.new_request(str(self.roots.parent / "leaf.key"), None, wanted)
        request = {"id": "db1", "csr": csr, "names": ["db1"]}
        order = signing.Order(str(self.ca), self.passphrase, "server", [request], "90d", self.sources)
        return signing.sign(order, NOW + moment, is_dry=is_dry)

    @property
    def request(self) -> x509.CertificateSigningRequest:
        return x509.load_pem_x509_csr((self.requests / f"issuing-ca-{self.name}.csr").read_bytes())

    def answer(self, name: str = "", *, of: Any = None, start: int = 0, **wrong: Any) -> None:
        """Have the company sign the request, and put it there with what is above it."""
        of = of or self.company
        signed = companies.intermediate(of.issuing[0], self.request, start=NOW + start, **wrong)
        above = [of.issuing[0].certificate, of.policy.certificate]
        (self.requests / (name or f"issuing-ca-{self.name}.pem")).write_bytes(pem([signed, *above]))

    def files(self) -> list[str]:
        return sorted(path.name for path in self.requests.iterdir())

    def folders(self) -> list[str]:
        return sorted(path.name for path in (self.ca / "server").iterdir())


def pem(found: Iterable[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in found)


@pytest.fixture
def fleet(tmp_path: Path, company: companies.Company) -> Fleet:
    return Fleet(tmp_path, company)


@pytest.fixture
def issuing(fleet: Fleet) -> Fleet:
    """Give a fleet whose issuing CA the company has signed."""
    fleet.at()
    fleet.answer()
    fleet.at()
    return fleet


def test_the_first_run_writes_a_request_and_says_what_is_wanted(fleet: Fleet) -> None:
    done = fleet.at()
    path = fleet.requests / "issuing-ca-server.csr"
    assert done.waiting == {
        "server": f"{path} waits for the certificate of an issuing CA (nothing is issued below that root yet)."
    }
    assert f"write {path}, the request for an issuing CA (no_issuing_ca)" in done.changes
    assert list(done.lineages) == ["client"]
    assert [one.common_name for one in done.elsewhere["server"].roots] == ["Example Root"]
    line = (
        "issuing-ca-server.csr: issuing CA for PostgreSQL server certificates; CA:TRUE, pathlen:0; keyCertSign, "
        "cRLSign; serverAuth; P-256; now (no_issuing_ca)"
    )
    assert line in (fleet.requests / "requests.txt").read_text()
    extensions = fleet.request.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert fleet.folders() == ["requested"]
    again = fleet.at(DAY)
    assert (again.changes, again.waiting) == ([], done.waiting)


def test_requests_of_hosts_wait_as_long(fleet: Fleet) -> None:
    fleet.at()
    done = fleet.sign()
    path = fleet.requests / "issuing-ca-server.csr"
    assert done.waiting == {"db1": f"the server CA cannot issue it yet, because {path} waits to be signed."}
    assert (done.certificates, done.refused) == ({}, {})


def test_the_server_ca_may_be_awaited_where_the_client_ca_has_issued(fleet: Fleet, csr: str) -> None:
    fleet.at()
    order = signing.Order(
        str(fleet.ca), None, "client", [{"id": "a/b/c", "csr": csr, "role": "c"}], "90d", fleet.sources
    )
    assert signing.sign(order, NOW, is_dry=False).certificates
    assert list(fleet.at(creates=False).waiting) == ["server"]


def test_check_mode_writes_nothing(fleet: Fleet) -> None:
    done = fleet.at(is_dry=True)
    assert list(done.waiting) == ["server"]
    assert not fleet.ca.exists()
    assert not fleet.requests.exists()
    fleet.at()
    fleet.answer()
    assert "take the issuing CA of server from the company" in fleet.at(is_dry=True).changes[0]
    assert fleet.folders() == ["requested"]


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_the_next_run_takes_the_answer_and_issues_below_the_company(fleet: Fleet, passphrase: str | None) -> None:
    fleet.passphrase = passphrase
    fleet.at()
    fleet.answer()
    done = fleet.at()
    assert fleet.files() == ["issuing-ca-server.pem", "requests.txt"]
    assert (done.waiting, done.warnings) == ({}, [])
    assert fleet.folders() == ["0001"]
    facts = lineage.facts(done.lineages["server"])
    assert facts["roots"] == fleet.company.root.pem
    chain = certificate.read_pem(fleet.sign().certificates["db1"], "chain")
    names = [one.common_name for one in chain]
    assert names[2:] == ["Example Issuing 1", "Example Policy"]
    assert names[1].startswith("PostgreSQL server issuing CA ")
    assert fleet.at(DAY).changes == []


def test_certificates_are_in_the_order_of_their_dates_below_a_young_issuing_ca_too(issuing: Fleet) -> None:
    first, second = (certificate.read_pem(issuing.sign(moment).certificates["db1"], "chain") for moment in (30, 60))
    assert first[0].not_before < second[0].not_before


def test_openssl_verifies_what_is_issued_with_the_root_alone(issuing: Fleet, run: Callable[..., Any]) -> None:
    chain = certificate.read_pem(issuing.sign().certificates["db1"], "chain")
    folder = issuing.ca
    (folder / "leaf.pem").write_text(chain[0].pem)
    (folder / "above.pem").write_text("".join(one.pem for one in chain[1:]))
    done = run(
        "openssl", "verify", "-purpose", "sslserver", "-attime", str(NOW), "-CAfile", issuing.roots,
        "-untrusted", folder / "above.pem", folder / "leaf.pem"
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def whole(fleet: Fleet) -> list[x509.Certificate]:
    """Return our issuing CA as the company signs it, and the company's own CAs, the root last."""
    signed = companies.intermediate(fleet.company.issuing[0], fleet.request)
    return [signed, *(one.certificate for one in (fleet.company.issuing[0], fleet.company.policy, fleet.company.root))]


FORMS: dict[str, Callable[[Sequence[x509.Certificate]], dict[str, bytes]]] = {
    "with its root": lambda found: {"ca.crt": pem(found)},
    "in reverse": lambda found: {"ca.pem": pem(reversed(found))},
    "pkcs7 in der": lambda found: {"ca.p7b": pkcs7.serialize_certificates(list(found[:3]), Encoding.DER)},
    "der, and a chain": lambda found: {
        "ticket 4711.cer": found[0].public_bytes(Encoding.DER),
        "chain.p7c": pkcs7.serialize_certificates(list(found[1:]), Encoding.PEM),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_is_taken_in_any_form(fleet: Fleet, form: str) -> None:
    fleet.at()
    for name, content in FORMS[form](whole(fleet)).items():
        (fleet.requests / name).write_bytes(content)
    assert [one.common_name for one in fleet.at().lineages["server"].chain[1:]] == [
        "Example Issuing 1",
        "Example Policy",
    ]


BASIC, USAGE, PURPOSE = x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage


def usage(**some: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: some.get(name, False) for name in names})


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a leaf": (
        {"leave": [BASIC, USAGE], "instead": [x509.BasicConstraints(False, None)]},
        "basicConstraints: CA:FALSE instead of CA:TRUE",
    ),
    "no lists": ({"leave": [USAGE], "instead": [usage(key_cert_sign=True)]}, "keyUsage: cRLSign is missing"),
    "no signing": ({"leave": [USAGE], "instead": [usage(crl_sign=True)]}, "keyUsage: keyCertSign is missing"),
    "another purpose": (
        {"leave": [PURPOSE], "instead": [PURPOSE([x509.ObjectIdentifier(certificate.CLIENT_AUTH)])]},
        "does not allow serverAuth",
    ),
    "shorter than a leaf": ({"days": 60}, "in 60d, and certificates are to live 90d"),
    "from tomorrow on": ({"start": 2 * DAY}, "dates: it is valid only from"),
    "ended": ({"start": -30 * DAY, "days": 10}, "dates: it ended on"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_answer_is_named_with_the_difference_and_stops_only_who_needs_it(fleet: Fleet, mistake: str) -> None:
    fleet.at()
    wrong, difference = WRONG[mistake]
    fleet.answer(**wrong)
    done = fleet.at()
    assert fleet.folders() == ["requested"]
    assert "What came is wrong: issuing-ca-server.pem: not as requested: " in done.waiting["server"]
    assert difference in done.waiting["server"]
    refused = fleet.sign().refused["db1"]
    assert difference in refused
    assert "Have issuing-ca-server.csr signed as requests.txt says, and replace that file." in refused
    fleet.answer("the right one.pem")
    assert fleet.at().waiting == {}


def test_an_answer_below_another_root_or_for_another_key_is_named(fleet: Fleet, other: companies.Company) -> None:
    fleet.at()
    fleet.answer(of=other)
    expected = "chain: none leads from issuer 'Other Issuing 1' to 'Example Root'"
    assert expected in fleet.at().waiting["server"]
    (fleet.requests / "issuing-ca-server.pem").write_text(other.issuing[0].pem)
    assert "issuing-ca-server.pem: not for the key of issuing-ca-server.csr." in fleet.at().waiting["server"]


def test_files_that_cannot_be_read_are_named_and_stop_nobody(fleet: Fleet) -> None:
    fleet.at()
    companies.unreadable(fleet.requests / "issuing-ca-server.pem")
    companies.unreadable(fleet.requests / "ticket 4711.pem")
    done = fleet.at()
    assert "What came is wrong: issuing-ca-server.pem: it cannot be read (" in done.waiting["server"]
    (warning,) = done.warnings
    assert warning.startswith(f"{fleet.requests}/ticket 4711.pem is left out: it cannot be read (")
    assert "issuing-ca-server.pem: it cannot be read (" in fleet.sign().refused["db1"]
    fleet.answer("the right one.pem")
    assert (fleet.at().waiting, fleet.at().warnings) == ({}, [])
    assert list(fleet.sign().certificates) == ["db1"]


def test_files_of_the_company_that_cannot_be_used_are_named_themselves(fleet: Fleet) -> None:
    (fleet.requests / "requests.txt").mkdir(parents=True)
    message = rf"^sources\.server: {fleet.requests}/requests\.txt: expected a regular file.*Correct its owner, its mode"
    with pytest.raises(TlsError, match=message):
        fleet.at()
    (fleet.requests / "requests.txt").rmdir()
    fleet.at()
    fleet.roots.unlink()
    fleet.roots.mkdir()
    with pytest.raises(TlsError, match=f"^sources\\.server: {fleet.roots}: expected a regular file"):
        fleet.at()


def test_a_root_that_allows_too_few_cas_below_it_is_named(fleet: Fleet) -> None:
    root = companies.authority("Narrow Root", path_length=1)
    first = companies.authority("First", root)
    second = companies.authority("Second", first)
    fleet.roots.write_text(root.pem)
    fleet.at()
    signed = companies.intermediate(second, fleet.request)
    (fleet.requests / "ca.pem").write_bytes(pem([signed, second.certificate, first.certificate]))
    assert "pathlen: 'Narrow Root' has 1, and 3 CAs are below it" in fleet.at().waiting["server"]


def test_a_request_that_somebody_removed_goes_out_again(fleet: Fleet) -> None:
    fleet.at()
    before = (fleet.requests / "issuing-ca-server.csr").read_text()
    (fleet.requests / "issuing-ca-server.csr").unlink()
    assert [change for change in fleet.at().changes if "issuing-ca-server.csr" in change]
    assert (fleet.requests / "issuing-ca-server.csr").read_text() == before


def test_a_company_that_names_keys_in_its_own_way_works(fleet: Fleet) -> None:
    fleet.at()
    own = x509.SubjectKeyIdentifier(b"company's own way")
    signed = companies.intermediate(fleet.company.issuing[0], fleet.request, key_id=own)
    (fleet.requests / "ca.pem").write_bytes(pem([signed, *(one.certificate for one in above(fleet))]))
    fleet.at()
    chain = certificate.read_pem(fleet.sign().certificates["db1"], "chain")
    assert chain[0].authority_key_id == own.digest.hex()


def above(fleet: Fleet) -> list[companies.Authority]:
    return [fleet.company.issuing[0], fleet.company.policy]


# By the clock


def test_in_time_a_new_request_goes_out_and_the_old_issuing_ca_goes_on(issuing: Fleet) -> None:
    late = 1825 * DAY - 183 * DAY
    assert issuing.at(late - 2 * DAY).waiting == {}
    done = issuing.at(late + 2 * DAY)
    (text,) = done.waiting.values()
    assert "issuing-ca-server.csr waits for the certificate of an issuing CA (needed by 20" in text
    line = (issuing.requests / "requests.txt").read_text().splitlines()[-1]
    assert "; by 20" in line
    assert "(expires_in_" in line
    assert issuing.folders() == ["0001", "requested"]
    assert issuing.sign(late + 2 * DAY).certificates
    assert issuing.at(late + 3 * DAY).changes == []


def test_below_the_same_root_the_next_issuing_ca_takes_over_at_once(issuing: Fleet) -> None:
    before = lineage.facts(issuing.at().lineages["server"])
    late = 1825 * DAY - 100 * DAY
    (text,) = issuing.at(late).waiting.values()
    assert "wrong" not in text, "the answer of the first request is still there"
    issuing.answer("next.pem", start=late)
    done = issuing.at(late + DAY)
    after = lineage.facts(done.lineages["server"])
    assert (after["roots"], after["phase"]) == (before["roots"], "steady")
    found = certificate.read_pem(str(after["issuing"]), "issuing")
    assert [one.pem for one in found[1:2]] == certificate_pems(str(before["issuing"]))[:1]
    assert found[0].not_after > found[1].not_after
    assert issuing.folders() == ["0001", "0002"]
    assert issuing.sign(late + DAY).certificates
    assert f"put away what ended of the server CA: {found[1].common_name!r}" in issuing.at(late + 101 * DAY).changes
    assert issuing.folders() == ["0002", "retired"]


def certificate_pems(text: str) -> list[str]:
    return [one.pem for one in certificate.read_pem(text, "text")]


# A company that is late


@pytest.fixture
def billing(fleet: Fleet) -> Fleet:
    """Give a fleet with own authorities, and a client authority whose issuing CA a company has signed."""
    fleet.name = "billing"
    fleet.sources = {"billing": {**fleet.sources["server"], "dedicated": True}}
    fleet.at(clients=["client", "billing"])
    fleet.answer()
    fleet.at(clients=["client", "billing"])
    return fleet


END = 1825 * DAY  # of what the company has signed


def test_an_issuing_ca_that_the_company_lets_end_stops_only_who_needs_it(billing: Fleet, csr: str) -> None:
    def sign(moment: int) -> signing.SigningResult:
        request = {"id": "app1/www/orders", "csr": csr, "role": "orders"}
        bills = {**request, "id": "app2/www/bills", "authority": "billing"}
        server = {"id": "db1", "csr": csr, "names": ["db1"], "authority": "server"}
        order = signing.Order(str(billing.ca), None, "client", [bills, request, server], "90d", billing.sources)
        return signing.sign(order, NOW + moment, is_dry=False)

    remedy = (
        "Have the company sign the request issuing-ca-billing.csr, which site.yml has written "
        "(sources.billing.directory)."
    )
    clients = ["client", "billing"]
    assert billing.at(END - 20 * DAY, clients=clients).warnings == []
    soon = sign(END - 20 * DAY)
    assert (list(soon.certificates), list(soon.refused)) == (["app1/www/orders", "db1"], ["app2/www/bills"])
    assert soon.refused["app2/www/bills"].endswith(f"which is less than a third of that. {remedy}")

    done = billing.at(END, clients=clients)
    (warning,) = done.warnings
    assert warning.startswith("The billing CA 'PostgreSQL billing issuing CA ")
    assert warning.endswith(f"below it with it. It issues nothing, and the other authorities go on. {remedy}"), warning
    assert list(done.lineages) == ["server", "client", "billing"]
    assert "issuing-ca-billing.csr waits" in done.waiting["billing"]
    late = sign(END)
    assert (list(late.certificates), list(late.refused)) == (["app1/www/orders", "db1"], ["app2/www/bills"])
    assert late.refused["app2/www/bills"].endswith(
        f"expired on 2032-01-14T08:00:00Z, and all certificates below it with it. {remedy}"
    )

    billing.answer("at last.pem", start=END)
    done = billing.at(END + DAY, clients=clients)
    assert (done.warnings, done.waiting) == ([], {})
    assert len(sign(END + DAY).certificates) == 3


def test_a_root_that_the_company_lets_end_stops_only_who_needs_it(fleet: Fleet, other: companies.Company) -> None:
    def at(moment: int, phase: str = "") -> keeping.KeepingResult:
        change = planning.Change(phase, ["billing"], trust=["none"]) if phase else planning.Change()
        return fleet.at(moment, change=change, clients=["client", "billing"])

    fleet.name = "billing"
    fleet.sources = {"billing": {**fleet.sources["server"], "dedicated": True}}
    short = companies.authority("Short Root", days=400)
    fleet.roots.write_text(short.pem)
    at(0)
    (fleet.requests / "ca.pem").write_bytes(pem([companies.intermediate(short, fleet.request, days=399)]))
    at(0)
    (warning,) = at(400 * DAY).warnings
    assert "The billing CA 'Short Root' expired on " in warning
    remedy = "Put the company's next root in its place in the file sources.billing.roots, and run site.yml."
    assert warning.endswith(f"go on. {remedy}")
    fleet.roots.write_text(other.root.pem)
    assert list(at(400 * DAY).waiting) == ["billing"]
    fleet.answer(of=other, start=400 * DAY)
    for phase in ("stage", "switch", "retire", "finish"):
        done = at(401 * DAY, phase)
    assert (done.lineages["billing"].roots, done.warnings) == ([other.root.read], [])


@pytest.mark.parametrize("is_alone", [False, True])
def test_the_servers_authority_that_a_company_lets_end_leaves_clients_theirs(issuing: Fleet, is_alone: bool) -> None:
    for key in issuing.ca.rglob("root.key"):
        key.unlink()
    if is_alone:
        found, message = code(lambda: issuing.at(END + 10 * DAY))
        assert (found, message[:14]) == ("authority_expired", "The server CA ")
    else:
        assert [one[:14] for one in issuing.at(END - 1).warnings] == ["The client CA "]


# What the company must do, and the ways there and back


def code(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(TlsError) as raised:
        call()
    return raised.value.code, raised.value.message


def test_a_root_is_neither_staged_nor_dropped_without_the_company(issuing: Fleet) -> None:
    found, message = code(lambda: issuing.phase("stage"))
    assert found == "company_must_sign"
    assert "To move to another root of the company, put it into" in message
    drop = planning.Change(drop="server", confirmed="Example Root")
    found, message = code(lambda: issuing.at(change=drop))
    assert found == "company_must_sign"
    assert "Have the company revoke that issuing CA." in message
    assert issuing.folders() == ["0001"]


def test_from_own_to_the_company_and_back_by_phases(fleet: Fleet) -> None:
    entry = fleet.sources.pop("server")
    own = fleet.at().lineages["server"].roots[0]
    fleet.sources["server"] = entry
    assert "(own_root)" in fleet.at().changes[0]
    assert code(lambda: fleet.phase("stage"))[0] == "company_must_sign"
    fleet.answer()
    done = fleet.at(DAY)
    assert "Hosts do not trust its root 'Example Root' yet" in done.warnings[0]
    assert (done.unstageable, done.other_root, len(done.lineages["server"].roots)) == ([], ["server"], 1)
    there = [fleet.phase(phase, DAY).lineages["server"] for phase in ("stage", "switch", "retire", "finish")]
    assert [(one.phase, len(one.roots)) for one in there] == [
        ("staged", 2),
        ("switched", 2),
        ("retiring", 1),
        ("steady", 1),
    ]
    assert there[0].authority.issuing.issuer == own.subject
    assert there[1].authority.issuing.issuer_common_name == "Example Issuing 1"
    done = fleet.at(2 * DAY)
    assert (done.unstageable, done.other_root) == (["server"], [])
    del fleet.sources["server"]
    assert fleet.at(3 * DAY).other_root == ["server"]
    back = [fleet.phase(phase, 3 * DAY).lineages["server"] for phase in ("stage", "switch", "retire", "finish")]
    assert [one.phase for one in back] == ["staged", "switched", "retiring", "steady"]
    assert back[-1].roots[0].common_name.startswith("PostgreSQL server root CA")
    assert fleet.at(4 * DAY).other_root == []
    assert back[1].between[-1].common_name == "Example Policy"  # of chains that are still in use


def test_an_own_root_beside_that_of_the_company_is_dropped_alone(fleet: Fleet) -> None:
    """Its key may be stolen while hosts move to the company's root."""
    entry = fleet.sources.pop("server")
    own = str(fleet.at().lineages["server"].roots[0].common_name)
    fleet.sources["server"] = entry
    fleet.at()
    fleet.answer()

    def drop(confirmed: str = "") -> keeping.KeepingResult:
        return fleet.at(change=planning.Change(drop="server", confirmed=confirmed))

    fleet.phase("stage")
    assert code(lambda: drop(own))[0] == "company_must_sign", "it is the one that issues"
    fleet.phase("switch")
    assert code(drop)[0] == "drop_unconfirmed"
    assert code(lambda: drop("Example Root"))[0] == "company_must_sign"
    for _again in range(2):
        assert drop(own).lineages["server"].roots == [fleet.company.root.read]
    assert code(drop)[0] == "company_must_sign"


def staged_for_long(fleet: Fleet) -> tuple[keeping.KeepingResult, int]:
    """Bring the company's root to where it waits for ``switch`` until its issuing CA is due.

    Return what the run after the company's next answer is going to start from, and when that is.
    """
    entry = fleet.sources.pop("server")
    fleet.at()
    fleet.sources["server"] = entry
    fleet.at()
    fleet.answer(days=365)
    done, due = fleet.phase("stage"), 200 * DAY
    assert fleet.at(100 * DAY).changes == []
    assert "(expires_in_165d)" in fleet.at(due).changes[0]
    fleet.answer("another.pem", start=due)
    return done, due


def test_an_answer_below_a_staged_root_takes_the_staged_place_and_issues_only_after_switch(fleet: Fleet) -> None:
    """Hosts that have not been seen with the new root would be shut out."""
    before, due = staged_for_long(fleet)
    assert "replace the staged issuing CA of server by " in fleet.at(due, is_dry=True).changes[0]
    assert fleet.folders() == ["0001", "requested", "staged"]
    done = fleet.at(due)
    was, found = before.lineages["server"], done.lineages["server"]
    assert (found.phase, found.authority.issuing) == ("staged", was.authority.issuing)
    assert found.roots == was.roots
    assert found.staged.issuing.not_after > was.staged.issuing.not_after
    assert found.since == was.since, "kits have had that root since then"
    assert fleet.folders() == ["0001", "retired", "staged"]
    assert not list((fleet.ca / "server/retired").rglob("*.key"))
    assert fleet.files() == ["another.pem", "issuing-ca-server.pem", "requests.txt"]
    again = fleet.at(due + DAY)
    assert (again.changes, again.warnings, again.waiting) == ([], [], {})
    assert again.lineages["server"].since == was.since
    there = [fleet.phase(phase, due + DAY).lineages["server"] for phase in ("switch", "retire", "finish")]
    assert [one.phase for one in there] == ["switched", "retiring", "steady"]
    assert there[0].authority.issuing == found.staged.issuing
    assert fleet.sign(due + DAY).certificates
    assert there[2].roots == [fleet.company.root.read]
    assert fleet.at(due + 2 * DAY).changes == []


def test_a_run_that_dies_while_the_staged_one_is_replaced_leaves_the_root_to_be_staged(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    _before, due = staged_for_long(fleet)
    move = store.move

    def die(before: str, after: str) -> None:
        if after.endswith("staged"):
            raise OSError(28, "No space left on device", after)
        move(before, after)

    with monkeypatch.context() as patched:
        patched.setattr(store, "move", die)
        with pytest.raises(TlsError, match="No space left"):
            fleet.at(due)
    assert fleet.folders() == ["0001", "requested", "retired"]
    assert not list((fleet.ca / "server/retired").rglob("*.key"))
    done = fleet.at(due)
    assert done.lineages["server"].phase == "steady"
    assert "To let it issue, run ansible-playbook pgops.tls.rotate_ca." in done.warnings[0]
    done = fleet.phase("stage", due)
    assert done.lineages["server"].phase == "staged"
    again = fleet.at(due).lineages["server"]
    assert again.since == again.staged.issuing.not_before, "hosts may not have trusted it in between"


def test_another_root_of_the_company_waits_for_the_phases(issuing: Fleet, other: companies.Company) -> None:
    issuing.roots.write_text(other.root.pem)
    assert "(root_replaced)" in issuing.at().changes[0]
    issuing.answer("other.pem", of=other)
    assert "To let it issue, run ansible-playbook pgops.tls.rotate_ca." in issuing.at().warnings[0]
    assert [one.common_name for one in issuing.phase("stage").lineages["server"].roots] == [
        "Example Root",
        "Other Root",
    ]


def test_two_authorities_below_one_root_are_refused(fleet: Fleet) -> None:
    fleet.sources["client"] = {**fleet.sources["server"], "dedicated": True}
    found, message = code(fleet.at)
    assert found == "source_roots_shared"
    assert "'Example Root'" in message


def test_a_client_authority_below_a_company_says_whether_it_is_dedicated(fleet: Fleet) -> None:
    entry = fleet.sources.pop("server")
    fleet.sources["client"] = entry
    assert code(fleet.at)[0] == "source_not_dedicated"
    fleet.sources["client"] = {**entry, "dedicated": False}
    assert fleet.at().elsewhere["client"].facts()["shared"] is True
    signed = companies.intermediate(
        fleet.company.issuing[0], x509.load_pem_x509_csr((fleet.requests / "issuing-ca-client.csr").read_bytes())
    )
    (fleet.requests / "ca.pem").write_bytes(pem([signed, *(one.certificate for one in above(fleet))]))
    assert lineage.facts(fleet.at().lineages["client"])["shared"] is True
    fleet.sources["client"] = {**entry, "dedicated": True}
    assert lineage.facts(fleet.at().lineages["client"])["shared"] is False
    del fleet.sources["client"]
    assert lineage.facts(fleet.at().lineages["client"])["shared"] is False


# Revocation: who checks lists wants one of every CA in the chain


def lists(fleet: Fleet, *revoked: int, start: int = NOW) -> bytes:
    issuers = {fleet.company.root: (), fleet.company.policy: (), fleet.company.issuing[0]: revoked}
    made = [companies.revocation_list(issuer, *serials, start=start) for issuer, serials in issuers.items()]
    return b"".join(x509.load_der_x509_crl(one).public_bytes(Encoding.PEM) for one in made)


def revoking(fleet: Fleet, moment: int = 0) -> tuple[keeping.KeepingResult, list[certificate.Certificate]]:
    """Return what a run does that revokes a certificate, and its chain."""
    chain = certificate.read_pem(fleet.sign().certificates["db1"], "chain")
    return fleet.at(moment, revoked=[{"serial": f"{chain[0].serial:x}"}]), chain


def test_without_lists_of_the_company_nothing_below_it_is_revoked(issuing: Fleet) -> None:
    found, message = code(lambda: revoking(issuing))
    assert found == "revocation_list_missing"
    assert "sources.server.crls: expected a current list of revoked certificates of 'Example Issuing 1'" in message
    assert not (issuing.ca / "revoked.jsonl").exists()


def test_revocations_of_another_authority_do_not_need_lists_of_the_company(issuing: Fleet) -> None:
    done = issuing.at(revoked=[{"serial": "4711", "authority": "client"}])
    assert done.crls["server"] == ""
    assert done.crls["client"].count("BEGIN X509 CRL") == 2


def test_with_lists_of_the_company_openssl_refuses_what_is_revoked(issuing: Fleet, run: Callable[..., Any]) -> None:
    path = issuing.roots.parent / "company.crl"
    issuing.sources["server"]["crls"] = str(path)
    path.write_bytes(lists(issuing))
    done, revoked = revoking(issuing)
    assert done.crls["server"].count("BEGIN X509 CRL") == 4
    good = certificate.read_pem(issuing.sign().certificates["db1"], "chain")
    path.unlink()
    assert code(issuing.at)[0] == "source_lists_missing"
    del issuing.sources["server"]["crls"]
    assert issuing.at().crls == done.crls  # kept beside the issuing CA, as on the way to another source
    folder = issuing.ca
    (folder / "lists.pem").write_text(done.crls["server"])
    (folder / "above.pem").write_text("".join(one.pem for one in good[1:]))
    verify = ["openssl", "verify", "-crl_check_all", "-CRLfile", folder / "lists.pem", "-attime", str(NOW + 1)]
    verify += ["-CAfile", issuing.roots, "-untrusted", folder / "above.pem"]
    for leaf, said in ((good[0], ""), (revoked[0], "certificate revoked")):
        (folder / "leaf.pem").write_text(leaf.pem)
        verified = run(*verify, folder / "leaf.pem")
        assert (said in verified.stderr, verified.returncode == 0) == (True, not said), verified.stderr


def test_a_list_of_the_company_that_ends_is_warned_of_and_leaves_all_else_alone(issuing: Fleet) -> None:
    path = issuing.roots.parent / "company.crl"
    issuing.sources["server"]["crls"] = str(path)
    path.write_bytes(lists(issuing, start=NOW - 31 * DAY))
    assert "found one that ended on" in code(lambda: revoking(issuing))[1], "it would shut everybody out"
    path.write_bytes(lists(issuing))
    kept = revoking(issuing)[0].crls["server"]
    assert issuing.at(20 * DAY).warnings == []
    (first, *_others) = issuing.at(25 * DAY).warnings
    assert "sources.server.crls: the list of 'Example Issuing 1' ends on" in first
    late = issuing.at(31 * DAY)
    assert "sources.server.crls: the list of 'Example Issuing 1' has ended on" in late.warnings[0]
    assert set(ends(late.crls["server"])) >= {end for end in ends(kept) if end < NOW + 31 * DAY}
    path.write_bytes(lists(issuing, start=NOW + 30 * DAY))
    assert issuing.at(31 * DAY).warnings == []


def test_an_issuing_ca_that_the_company_revokes_is_asked_for_again(issuing: Fleet) -> None:
    path = issuing.roots.parent / "company.crl"
    issuing.sources["server"]["crls"] = str(path)
    path.write_bytes(lists(issuing))
    revoking(issuing)
    ours = issuing.at().lineages["server"].authority.issuing
    path.write_bytes(lists(issuing, ours.serial, start=NOW + DAY))
    done = issuing.at(2 * DAY)
    assert "(revoked_by_company)" in done.changes[0]
    assert "the company has revoked the issuing CA" in done.warnings[0]
    assert f"{ours.serial:x}" not in listed(done.crls["server"])
    issuing.answer("another.pem", start=2 * DAY)
    issuing.at(2 * DAY)
    after = issuing.at(2 * DAY)
    assert (after.warnings, after.waiting) == ([], {})
    assert f"{ours.serial:x}" in listed(after.crls["server"])


def ends(text: str) -> list[int]:
    return [one.next_update for one in revocations.read_pem(text, "lists")]


def listed(text: str) -> set[str]:
    return {f"{serial:x}" for one in revocations.read_pem(text, "lists") for serial in one.serials()}
