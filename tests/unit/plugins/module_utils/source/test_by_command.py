# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that signs: what it is asked, which answers are taken, and what is said of those that are not."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, planning, signing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.source import programs, registry
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import parse
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

COMPANY, OTHER = companies.company(), companies.company("Other")
NAMES = ["db1.example", "192.0.2.1"]
SECRET = "-----BEGIN PRIVATE KEY-----\nnever-to-be-seen\n-----END PRIVATE KEY-----\n"


class Place:
    """A host of the authorities with a program, and a key of a host whose certificate is wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program, self.seen = folder / "sign", folder / "seen.json"
        (folder / "ca").mkdir()
        (folder / "roots.pem").write_text(COMPANY.root.pem)
        (folder / "db1.key").write_text(openssl.new_key("P-256"))
        self.says({})

    def script(self, text: str, mode: int = 0o755) -> None:
        self.program.unlink(missing_ok=True)
        self.program.write_text(text)
        self.program.chmod(mode)

    def says(self, answer: Any) -> None:
        """Have the program keep what it is asked, and answer."""
        (self.folder / "answer.json").write_text(answer if isinstance(answer, str) else json.dumps(answer))
        self.script(f"#!/bin/sh\ncat > {self.seen}\ncat {self.folder}/answer.json\n")

    def request(self, id_: str = "db1", role: str = "", **wrong: Any) -> dict[str, Any]:
        usage = certificate.CLIENT_AUTH if role else certificate.SERVER_AUTH
        wanted = openssl.Wanted(role or NAMES[0], [] if role else parse_all(NAMES, "names"), usage)
        csr = openssl.new_request(str(self.folder / "db1.key"), None, wanted._replace(**wrong))
        return {"id": id_, "csr": csr, "reasons": ["due"], **({"role": role} if role else {"names": NAMES})}

    def leaf(self, of: companies.Company = COMPANY, names: list[str] | None = None, **more: Any) -> x509.Certificate:
        key = x509.load_pem_x509_csr(self.request()["csr"].encode()).public_key()
        return companies.leaf(of.issuing[0], more.pop("key", key), NAMES[0], NAMES if names is None else names, **more)

    def source(self, **more: Any) -> dict[str, Any]:
        return {"type": "command", "command": [str(self.program)], "roots": str(self.folder / "roots.pem"), **more}

    def sign(self, *requests: dict[str, Any], is_dry: bool = False, **more: Any) -> signing.SigningResult:
        wanted = list(requests or [self.request()])
        authority = "client" if "role" in wanted[0] else "server"
        sources = {authority: self.source(dedicated=True, **more)}
        order = signing.Order(str(self.folder / "ca"), None, authority, wanted, "90d", sources)
        return signing.sign(order, NOW + DAY, is_dry=is_dry)

    def ledger(self) -> list[dict[str, Any]]:
        path = self.folder / "ca" / "ledger.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def pem(*certificates: x509.Certificate) -> str:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates).decode()


CHAIN = (COMPANY.issuing[0].certificate, COMPANY.policy.certificate)
ROOT = COMPANY.root.certificate


def test_the_question_says_what_is_wanted_and_the_answer_is_recorded(place: Place) -> None:
    leaf = place.leaf()
    place.says({"chains": {"db1": pem(leaf, *CHAIN)}})
    done = place.sign(place.request())
    asked = json.loads(place.seen.read_text())
    assert (asked["authority"], asked["lifetime"]) == ("server", 90 * DAY)
    (request,) = asked["requests"]
    assert "BEGIN CERTIFICATE REQUEST" in request.pop("csr")
    assert request == {
        "id": "db1",
        "common_name": "db1.example",
        "dns": ["db1.example"],
        "ip": ["192.0.2.1"],
        "usage": "serverAuth",
        "replaces": "",
    }
    assert done.certificates == {"db1": pem(leaf, *CHAIN)}
    assert (done.refused, done.waiting, done.warnings) == ({}, {}, [])
    assert done.changes == [
        "get a server certificate from the source of type command for db1: db1.example, 192.0.2.1 (due)"
    ]
    (line,) = place.ledger()
    assert (line["serial"], line["source"]) == (f"{leaf.serial_number:x}", "command")


def test_a_role_is_asked_for_by_its_common_name(place: Place) -> None:
    place.says({"refused": {"app1/www/app": "no"}})
    place.sign(place.request("app1/www/app", "app"))
    (request,) = json.loads(place.seen.read_text())["requests"]
    assert (request["common_name"], request["usage"], request["dns"]) == ("app", "clientAuth", [])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 2], [2, 1, 0]])
def test_certificates_come_in_any_order_with_or_without_root(place: Place, order: list[int]) -> None:
    leaf = place.leaf()
    found = (leaf, *CHAIN, ROOT)
    place.says({"chains": {"db1": pem(*(found[number] for number in order))}})
    assert place.sign().certificates == {"db1": pem(leaf, *CHAIN)}


def other_key(place: Place) -> x509.Certificate:
    return place.leaf(key=COMPANY.root.key.public_key())


WRONG: dict[str, tuple[Callable[[Place], x509.Certificate], str]] = {
    "key": (other_key, "key: of another request"),
    "names": (lambda place: place.leaf(names=["db2.example"]), r"san_missing: db1\.example; san_missing: 192\.0\.2\.1"),
    "usage": (lambda place: place.leaf(usages=[certificate.CLIENT_AUTH]), "not as requested: "),
    "dates": (lambda place: place.leaf(start=NOW - 90 * DAY, days=1), "not as requested: expired"),
    "of a CA": (lambda place: place.leaf(is_ca=True), "not as requested: profile: that of a CA"),
    "root": (lambda place: place.leaf(OTHER), "chain: none leads from issuer 'Other Issuing 1' to 'Example Root'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_certificate_is_refused_with_the_difference(place: Place, kind: str) -> None:
    leaf, message = WRONG[kind]
    place.says({"chains": {"db1": pem(leaf(place), *CHAIN)}})
    done = place.sign()
    assert (done.certificates, place.ledger()) == ({}, [])
    assert re.search(rf"requests\[db1\]: {place.program} returned something else: .*{message}", done.refused["db1"])


def test_each_request_has_its_own_answer(place: Place) -> None:
    wanted = [place.request(id_) for id_ in ("db1", "db2", "db3", "db4", "db5")]
    place.says(
        {
            "chains": {"db1": pem(place.leaf(), *CHAIN), "db4": "x"},
            "refused": {"db2": "not in\nthe  register\x1b[31m", "db4": "both"},
            "waiting": {"db3": "ticket 4711 is open"},
        }
    )
    done = place.sign(*wanted)
    assert list(done.certificates) == ["db1"]
    assert done.waiting == {"db3": "db3: ticket 4711 is open"}
    assert done.refused["db2"] == f"requests[db2]: {place.program} refuses it: not in the register [31m."
    assert f"requests[db4]: expected one answer of {place.program}, found 2. Have it put" in done.refused["db4"]
    assert "requests[db5]: expected one answer of" in done.refused["db5"]
    assert [line["id"] for line in place.ledger()] == ["db1"]
    assert len(done.changes) == 1


def test_a_host_cannot_ask_for_other_names(place: Place) -> None:
    done = place.sign(place.request(common_name="db9.example"))
    assert "it asks for db9.example" in done.refused["db1"]
    assert not place.seen.exists(), "nothing is left to ask"


def request_with(
    place: Place, *extensions: x509.Extension[Any], attributes: Sequence[tuple[x509.ObjectIdentifier, bytes, int]] = ()
) -> str:
    """Return a CSR, with a valid signature, that says whatever is wanted."""
    key: Any = load_pem_private_key((place.folder / "db1.key").read_bytes(), None)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAMES[0])])
    builder = x509.CertificateSigningRequestBuilder(subject, list(extensions), list(attributes))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def extension(value: x509.ExtensionType) -> x509.Extension[Any]:
    return x509.Extension(value.oid, False, value)


def raw(oid: str, value: bytes) -> x509.Extension[Any]:
    return extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value))


def usages(*found: str) -> x509.Extension[Any]:
    return extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(one) for one in found]))


def key_usage(**more: bool) -> x509.Extension[Any]:
    kinds = ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
    others = {**dict.fromkeys((*kinds, "key_cert_sign", "crl_sign"), False), **more}
    return extension(x509.KeyUsage(digital_signature=True, key_encipherment=True, **others))


RIGHT = extension(x509.SubjectAlternativeName([x509.DNSName(NAMES[0]), x509.IPAddress(ip_address(NAMES[1]))]))
SERVER = usages(certificate.SERVER_AUTH)
OF_MICROSOFT = x509.ObjectIdentifier("1.3.6.1.4.1.311.2.1.14")
MORE = {
    "a CA": ([extension(x509.BasicConstraints(True, None))], r"BasicConstraints \(2\.5\.29\.19\)"),
    "signing": ([key_usage(key_cert_sign=True)], r"KeyUsage \(2\.5\.29\.15\)"),
    "lists": ([key_usage(crl_sign=True)], "KeyUsage"),
    "another usage": ([usages(certificate.SERVER_AUTH, certificate.CLIENT_AUTH)], "ExtendedKeyUsage"),
    "only another usage": ([usages(certificate.CLIENT_AUTH)], "ExtendedKeyUsage"),
    "a CA for Netscape": ([raw("2.16.840.1.113730.1.1", b"\x03\x02\x00\x07")], r"UnrecognizedExtension \(2\.16\.840"),
}


@pytest.mark.parametrize("kind", MORE)
def test_a_host_cannot_ask_for_more_than_names_and_usage(place: Place, kind: str) -> None:
    extensions, message = MORE[kind]
    done = place.sign({**place.request(), "csr": request_with(place, RIGHT, *extensions)})
    assert re.match(
        rf"requests\[db1\]\.csr: it asks for {message}.*, expected names and one usage alone\.", done.refused["db1"]
    )
    assert not place.seen.exists(), "nothing is left to ask"


def test_a_host_cannot_hide_what_it_asks_for_behind_another_list(place: Place) -> None:
    """OpenSSL reads the list of PKCS#9 wherever it stands, and others the first one."""
    names = RIGHT.value.public_bytes()
    inner = b"\x06\x03\x55\x1d\x11\x04" + bytes([len(names)]) + names
    one = b"\x30" + bytes([len(inner)]) + inner
    ca = [RIGHT, SERVER, key_usage(key_cert_sign=True), extension(x509.BasicConstraints(True, None))]
    csr = request_with(place, *ca, attributes=[(OF_MICROSOFT, one, 0x30)])
    found = x509.load_pem_x509_csr(csr.encode()).extensions
    assert [type(one.value) for one in found] == [x509.SubjectAlternativeName], "the library sees names alone"
    done = place.sign({**place.request(), "csr": csr})
    assert "csr: it asks for several lists of extensions, expected names" in done.refused["db1"]
    assert not place.seen.exists()


def test_programs_may_say_in_a_request_that_it_is_for_a_leaf(place: Place) -> None:
    place.says({"chains": {"db1": pem(place.leaf(), *CHAIN)}})
    public_key = x509.load_pem_x509_csr(place.request()["csr"].encode()).public_key()
    key_id = extension(x509.SubjectKeyIdentifier.from_public_key(public_key))
    leaf = (RIGHT, SERVER, key_usage(content_commitment=True), extension(x509.BasicConstraints(False, None)), key_id)
    assert place.sign({**place.request(), "csr": request_with(place, *leaf)}).refused == {}


@pytest.mark.parametrize(
    "values", [[b"no DER"], [b"\x30\x00", b"\x30\x00"], [b"\x30\x02\xa3\x00"]], ids=["garbage", "twice", "of X.400"]
)
def test_a_request_that_makes_no_sense_stops_nobody_else(place: Place, values: list[bytes]) -> None:
    place.says({"chains": {"db1": pem(place.leaf(), *CHAIN)}})
    nonsense = [raw("2.5.29.17", value) for value in values]
    done = place.sign({**place.request("db9"), "csr": request_with(place, *nonsense)}, place.request())
    assert list(done.certificates) == ["db1"]
    assert done.refused["db9"].startswith("requests[db9].csr: its subject or its extensions cannot be read. Run the")


ANSWERS = {
    "nothing": ("", "source_answer_unreadable", "expected a JSON object on the standard output .*, found nothing"),
    "text": ("Signed.", "source_answer_unreadable", "found something else.*everything else to its standard error"),
    "a list": ([], "source_answer_unreadable", "expected a JSON object"),
    "deep": ("[" * 100_000, "source_answer_unreadable", "expected a JSON object"),
    "other keys": ({"certificates": {}}, "source_answer_invalid", "expected chains, refused, waiting .*'certificates'"),
    "no texts": ({"chains": {"db1": ["x"]}}, "source_answer_invalid", "or other values than texts"),
    "no ids": ({"chains": "x"}, "source_answer_invalid", "each with texts by the ids"),
    "unknown id": ({"chains": {"db1": "x", "db9": "y"}}, "source_answer_unknown_id", "answers for 'db9', which is not"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_that_makes_no_sense_refuses_all_requests(place: Place, kind: str) -> None:
    answer, code, message = ANSWERS[kind]
    place.says(answer)
    expected = rf"sources\.server\.command: .*{message}"
    done = place.sign()
    assert re.search(expected, done.refused["db1"]), done.refused
    assert (done.certificates, place.ledger()) == ({}, [])
    assert code_of(place) == code


def code_of(place: Place) -> str:
    """Return the code of the error with which the source itself fails."""
    (one,) = parse({"server": place.source()}, "sources").values()
    wanted, _refused = signing.requests.parse_all("server", [place.request()], is_dry=False)
    with pytest.raises(TlsError) as caught:
        registry.source(one, str(place.folder / "ca")).sign(wanted, DAY, NOW + DAY, is_dry=False)
    return caught.value.code


FAILURES = {
    "exit code": ("#!/bin/sh\necho one >&2; echo 'no such profile' >&2; exit 3\n", "exit code 3, and says: .*profile"),
    "no words": ("#!/bin/sh\nexit 1\n", "exit code 1, and wrote nothing to its standard error"),
    "signal": ("#!/bin/sh\nkill -KILL $$\n", "ended with signal SIGKILL"),
    "interpreter": ("#!/nonexistent/python\n", "could not be started: .*No such file.*Check its first line"),
    "format": ("no program\n", r"could not be started: .*Exec format error"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_program_that_fails_is_told_with_its_own_words(place: Place, kind: str) -> None:
    text, message = FAILURES[kind]
    place.script(text)
    refused = place.sign().refused["db1"]
    assert re.search(rf"sources\.server\.command: {place.program}.*{message}", refused)
    assert place.ledger() == []


def test_a_key_in_its_words_is_not_shown(place: Place) -> None:
    (place.folder / "secret").write_text(SECRET)
    place.script(f"#!/bin/sh\ncat {place.folder}/secret >&2; exit 1\n")
    assert "never-to-be-seen" not in str(place.sign())
    place.says({"refused": {"db1": SECRET}})
    assert "never-to-be-seen" not in str(place.sign())
    place.says({"chains": {"db1": SECRET}})
    assert "never-to-be-seen" not in str(place.sign())


def test_a_slow_program_is_stopped_with_its_children(place: Place) -> None:
    mark = f"{300 + os.getpid() % 100}.{os.getpid()}"
    place.script(f"#!/bin/sh\nsleep {mark}\necho late\n")
    started = time.monotonic()
    refused = place.sign(timeout=1).refused["db1"]
    assert time.monotonic() - started < 20
    assert "did not end within 1 s and was stopped. Make it faster, or set a longer timeout." in refused
    lines = [Path(path, "cmdline") for path in Path("/proc").iterdir() if path.name.isdigit()]
    assert not any(mark.encode() in read(path) for path in lines)


@pytest.mark.parametrize("end", ["exit 0", "sleep 60"])
def test_nobody_waits_for_what_a_program_leaves_behind(place: Place, end: str) -> None:
    """It may be the web server that shows a proof, in a session of its own, and goes on writing its log."""
    pid, said, rest = (place.folder / name for name in ("pid", "said", "rest"))
    rest.write_text(f"echo $$ > {pid}; sleep 2; echo late; echo late >&2 && touch {said}; exec sleep 60\n")
    wait = f"until [ -s {pid} ]; do sleep 0.05; done"
    place.script(f"#!/bin/sh\necho done\nsetsid sh {rest} &\n{wait}\n{end}\n")
    started = time.monotonic()
    try:
        if end == "exit 0":
            assert programs.run([str(place.program)], {}, "place", 30) == "done\n"
        else:
            with pytest.raises(TlsError, match="did not end within 1 s and was stopped"):
                programs.run([str(place.program)], {}, "place", 1)
        took = time.monotonic() - started
        assert not said.exists(), f"{took} s: it has waited"
        while not said.exists():
            assert time.monotonic() - started < 30, "what was left behind could not write any more"
            time.sleep(0.05)
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def kept(place: Place, *, is_dry: bool = False, **more: Any) -> keeping.KeepingResult:
    sources = parse({"server": {**place.source(), **more}}, "sources")
    return keeping.keep(keeping.Wish(str(place.folder / "ca"), "P-256", None, sources=sources), NOW, is_dry=is_dry)


def remove(program: Path) -> None:
    program.unlink()


def replace_by_folder(program: Path) -> None:
    program.unlink()
    program.mkdir()


UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "mode": (lambda program: program.chmod(0o000), "found a file that user id [0-9]+ cannot execute"),
    "missing": (remove, r"sources\.server\.command: .*found nothing\. Install it there"),
    "folder": (replace_by_folder, "found another kind of file"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_program_that_cannot_be_started_is_found_by_every_run(place: Place, kind: str) -> None:
    """The first run stops; a later one trusts what it knew before, and warns."""
    break_it, expected = UNUSABLE[kind]
    before = place.program.read_text()
    assert kept(place, is_dry=True).warnings == []
    break_it(place.program)
    with pytest.raises(TlsError, match=expected):
        kept(place)
    shutil.rmtree(place.program) if place.program.is_dir() else place.program.unlink(missing_ok=True)
    place.script(before)
    known = kept(place)
    break_it(place.program)
    for is_dry in (True, False):
        found = kept(place, is_dry=is_dry)
        assert found.elsewhere["server"].facts() == known.elsewhere["server"].facts()
        assert re.search(f"{expected}.* This run trusts what that source said before", found.warnings[0])
    assert re.search(expected, place.sign().refused["db1"])


def test_what_is_remembered_counts_only_for_the_same_source_and_never_if_it_is_damaged(place: Place) -> None:
    kept(place)
    path = place.folder / "ca" / "source-server.json"
    content = path.read_text()
    place.program.unlink()
    assert kept(place).warnings
    with pytest.raises(TlsError, match="found nothing"):
        kept(place, timeout=7)
    for damaged in ("", "{", "[]", content.replace("BEGIN CERT", "BEGIN CART"), content.replace('"roots"', '"rots"')):
        path.write_text(damaged)
        with pytest.raises(TlsError, match="found nothing"):
            kept(place)


def test_a_dry_run_starts_nothing(place: Place) -> None:
    done = place.sign(is_dry=True)
    assert (done.refused, done.certificates) == ({}, {})
    assert done.changes == [
        "get a server certificate from the source of type command for db1: db1.example, 192.0.2.1 (due)"
    ]
    assert not place.seen.exists()


def test_a_certificate_may_begin_when_the_program_signs(place: Place) -> None:
    """The clock goes on while a CA takes its time; one that begins later still is refused."""
    for seconds, is_fit in ((1, True), (100, False)):
        place.says({"chains": {"db1": pem(place.leaf(start=NOW + DAY + seconds), *CHAIN)}})
        place.script(place.program.read_text().replace("\ncat", "\nsleep 1.1\ncat", 1))
        assert (place.sign().refused == {}) is is_fit


def test_the_program_sees_nothing_of_the_callers_environment(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_CA_PASSPHRASE", "never-to-be-seen")
    place.script(f"#!/bin/sh\nenv > {place.folder}/env\necho '{{}}'\n")
    place.sign()
    found = (place.folder / "env").read_text()
    assert "never-to-be-seen" not in found
    assert f"HOME={Path.home()}" in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (planning.Change("stage", ["server"]), "type command .*cannot rotate from here.*file of roots"),
        (planning.Change(drop="server"), "type command .*cannot drop from here.*Remove the root from the file"),
    ],
)
def test_what_only_the_other_ca_can_do_is_refused(place: Place, change: planning.Change, message: str) -> None:
    sources = parse({"server": place.source()}, "sources")
    wish = keeping.Wish(str(place.folder / "ca"), "P-256", None, sources=sources, change=change)
    with pytest.raises(TlsError, match=message):
        keeping.keep(wish, NOW, is_dry=False)


def test_a_revocation_is_up_to_the_other_ca(place: Place) -> None:
    place.says({"chains": {"db1": pem(place.leaf(), *CHAIN)}})
    place.sign()
    sources = parse({"server": place.source()}, "sources")
    wish = keeping.Wish(str(place.folder / "ca"), "P-256", None, sources=sources, revoked=[{"host": "db1"}])
    with pytest.raises(TlsError, match=r"cannot revoke from here.*Revoke it at the CA behind the command"):
        keeping.keep(wish, NOW + DAY, is_dry=False)
