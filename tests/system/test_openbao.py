# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates from a real OpenBao: what a role may do to them, and what may be wrong with the server."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, planning, signing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential import due, spec
from ansible_collections.pgops.tls.plugins.module_utils.source import declared, registry
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests import baos, guides, relays

NAMES = ["db1.example", "192.0.2.1"]
DAY = 86_400
NO_CHANGE = planning.Change()
# As guide_sources says: the mount makes new lists by itself, long before they end
LONG_LISTS = {"expiry": "720h", "auto_rebuild": True, "auto_rebuild_grace_period": "240h"}


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[baos.Bao]:
    """Run a server."""
    with baos.with_pki(tmp_path_factory.mktemp("bao")) as found:
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Give the directory of the ledger, and the key of a host."""
    (tmp_path / "ca").mkdir()
    (tmp_path / "db1.key").write_text(openssl.new_key("P-256"))
    return tmp_path


def request(place: Path, role: str = "") -> dict[str, Any]:
    names = [] if role else parse_all(NAMES, "names")
    usage = certificate.CLIENT_AUTH if role else certificate.SERVER_AUTH
    csr = openssl.new_request(str(place / "db1.key"), None, openssl.Wanted(role or NAMES[0], names, usage))
    asked = {"id": "app1/www/app", "role": role} if role else {"id": "db1", "names": NAMES}
    return {"csr": csr, "reasons": ["no_certificate"], **asked}


def sign(place: Path, source: dict[str, Any], role: str = "", lifetime: str = "90d") -> signing.SigningResult:
    authority = "client" if role else "server"
    given = {authority: {**source, "dedicated": True}}
    order = signing.Order(str(place / "ca"), None, authority, [request(place, role)], lifetime, given)
    done = signing.sign(order, int(time.time()), is_dry=False)
    assert str(source.get("token", "never")) not in str(done)
    return done


def chain_of(done: signing.SigningResult) -> list[certificate.Certificate]:
    assert done.refused == {}
    (text,) = done.certificates.values()
    return certificate.read_pem(text, "chain")


def test_the_commands_of_the_guide(bao: baos.Bao, place: Path) -> None:
    block = guides.commands_of("guide_sources", "test_openbao")
    environment = {**os.environ, "BAO_ADDR": bao.url, "BAO_CACERT": bao.ca_file, "BAO_TOKEN": baos.ROOT_TOKEN}
    environment["PATH"] = f"{baos.program().parent}:{environment['PATH']}"
    for command, _output in block.commands():
        done = subprocess.run(
            ["bash", "-c", command], env=environment, cwd=place, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
    source = bao.declared("server", "postgres-server", token=done.stdout.strip())
    assert "Allow it in this role" in sign(place, source).refused["db1"]
    bao.write(
        "postgres-server/roles/server", allow_any_name=True, allow_ip_sans=True, client_flag=False, key_type="any"
    )
    done_with_token = sign(place, source)
    assert chain_of(done_with_token)[0].issuer_common_name == "PostgreSQL servers"


def trust(source: dict[str, Any], place: Path, later: int = 0) -> Any:
    (one,) = declared.parse({"server": source}, "sources").values()
    return registry.source(one, str(place / "ca")).trust(int(time.time()) + later)


@pytest.mark.parametrize("mount", ["pki", "below"])
@pytest.mark.parametrize("role", ["", "app", "app_rw", "älice", "DB Admin"])
def test_certificates_are_as_the_inventory_wants_them(bao: baos.Bao, place: Path, mount: str, role: str) -> None:
    done = sign(place, bao.declared("client" if role else "server", mount), role)
    assert done.warnings == []
    leaf, *above = chain_of(done)
    assert leaf.common_name == (role or NAMES[0])
    assert sorted(one.value for one in leaf.names) == ([] if role else sorted(NAMES))
    assert leaf.extended_key_usage == (certificate.CLIENT_AUTH if role else certificate.SERVER_AUTH,)
    assert [one.common_name for one in above] == (["below Issuing"] if mount == "below" else [])
    found = trust(bao.declared("server", mount), place)
    wish = spec.Spec(role or None, (), "P-256", leaf.extended_key_usage[0], [*found.issuing, *found.roots])
    assert due.needed(due.Present([leaf, *above], True, True), wish, int(time.time())) == []
    (line,) = map(json.loads, (place / "ca" / "ledger.jsonl").read_text().splitlines())
    assert (line["serial"], line["source"]) == (f"{leaf.serial:x}", "openbao")


def test_trust_is_read_without_a_token(bao: baos.Bao, place: Path) -> None:
    found = trust(bao.declared("server", "below", token="worthless"), place)
    assert [one.common_name for one in found.roots] == ["pki Root"]
    assert [one.common_name for one in found.issuing] == ["below Issuing"]
    facts = found.facts()
    assert [one.common_name for one in certificate.read_pem(facts["issuing"], "issuing")] == [
        "below Issuing",
        "pki Root",
    ]
    assert (facts["phase"], facts["crls"], facts["revoked"]) == ("steady", "", [])


def test_what_a_role_names_after_the_csr_is_what_the_inventory_wants(bao: baos.Bao, place: Path) -> None:
    for number, by_csr in enumerate((True, False)):
        bao.role("pki", f"csr{number}", use_csr_common_name=by_csr, use_csr_sans=by_csr)
        leaf = chain_of(sign(place, bao.declared(f"csr{number}")))[0]
        assert sorted(one.value for one in leaf.names) == sorted(NAMES)


ROLES: dict[str, tuple[dict[str, Any], str]] = {
    "names": ({"allow_any_name": False, "allowed_domains": ["other.example"]}, "refuses it: .*Allow it in this role"),
    "addresses": ({"allow_ip_sans": False}, "refuses it: .*Allow it in this role: .*allow_ip_sans"),
    "usage": ({"server_flag": False, "client_flag": True}, "issued something else: .*profile.*Set .*server_flag=true"),
    "time": ({"not_before_duration": "30s", "not_after": "2020-01-01T00:00:00Z"}, "refuses it|something else"),
    "key": ({"key_type": "rsa", "key_bits": 2048}, "refuses it: "),
    "issuer": ({"issuer_ref": "gone"}, "refuses it: .*unable to find PKI issuer.*Change that setting of the role"),
}


@pytest.mark.parametrize("kind", ROLES)
def test_what_a_role_does_not_give_is_said(bao: baos.Bao, place: Path, kind: str) -> None:
    settings, message = ROLES[kind]
    bao.role("pki", f"bad-{kind}", **settings)
    done = sign(place, bao.declared(f"bad-{kind}"))
    assert done.certificates == {}
    assert re.search(message, done.refused["db1"]), done.refused
    assert not (place / "ca" / "ledger.jsonl").exists()


def test_a_host_cannot_have_other_names_signed(bao: baos.Bao, place: Path) -> None:
    other = openbao_request(place, [*NAMES, "db9.example"])
    given = {"server": bao.declared("server")}
    order = signing.Order(str(place / "ca"), None, "server", [{**request(place), "csr": other}], "90d", given)
    done = signing.sign(order, int(time.time()), is_dry=False)
    assert done.certificates == {}
    assert "requests[db1].csr: it asks for db1.example, 192.0.2.1, db1.example, db9.example, and" in done.refused["db1"]


def openbao_request(place: Path, names: list[str]) -> str:
    wanted = openssl.Wanted(names[0], parse_all(names, "names"), certificate.SERVER_AUTH)
    return openssl.new_request(str(place / "db1.key"), None, wanted)


def test_a_cut_lifetime_and_both_usages_are_told(bao: baos.Bao, place: Path) -> None:
    bao.role("pki", "odd", max_ttl="24h", client_flag=True)
    done = sign(place, bao.declared("odd"))
    assert chain_of(done)[0].not_after - time.time() < DAY + 60
    assert [warning.partition(" of ")[0] for warning in done.warnings] == ["Role odd", "Role odd"]
    assert "90d was asked for, 1d came" in done.warnings[0] or "90d was asked for, 23h came" in done.warnings[0]
    assert "Set client_flag=false in it" in done.warnings[1]


def test_an_approle_logs_in_and_gives_its_token_back(bao: baos.Bao, place: Path) -> None:
    login = bao.approle()
    before = bao.call("LIST", "auth/token/accessors")["data"]["keys"]
    assert sign(place, bao.declared("server", token=None, approle=login)).certificates
    after = bao.call("LIST", "auth/token/accessors")["data"]["keys"]
    assert len(after) <= len(before) + 1  # declared() has made one
    wrong = {**login, "secret_id": "00000000-1111-2222-3333-444444444444"}
    refused = sign(place, bao.declared("server", token=None, approle=wrong)).refused["db1"]
    assert "sources.server.approle: " in refused
    assert "refuses the login" in refused
    assert wrong["secret_id"] not in refused


def test_a_token_file_is_read(bao: baos.Bao, place: Path) -> None:
    path = place / "token"
    source = bao.declared("server", token=None, token_file=str(path))
    assert "expected a token, found none" in sign(place, source).refused["db1"]
    path.write_text(f"{bao.token()}\n")
    assert sign(place, source).certificates


def revoked_token(bao: baos.Bao) -> dict[str, Any]:
    token = bao.token()
    bao.write("auth/token/revoke", token=token)
    return bao.declared("server", token=token)


SERVER: dict[str, tuple[Callable[[baos.Bao], dict[str, Any]], str]] = {
    "token": (revoked_token, "refuses the token: .*has expired, or its policy"),
    "role": (lambda bao: bao.declared("nobody"), r"sources\.server\.role: .*unknown role.*Correct the name"),
    "mount": (lambda bao: bao.declared("server", "gone"), r"sources\.server\.mount: there is nothing at .*gone"),
    "port": (lambda bao: bao.declared("server", url="https://127.0.0.1:1"), "gives no answer: .*refused"),
    "ca": (lambda bao: bao.declared("server", ca_file=None), "gives no answer: .*certificate.*ca_file, which verifies"),
    "ca_file": (lambda bao: bao.declared("server", ca_file="/nonexistent"), r"ca_file: /nonexistent: expected a file"),
}


@pytest.mark.parametrize("kind", SERVER)
def test_what_is_wrong_with_the_server_is_said_and_nothing_is_recorded(bao: baos.Bao, place: Path, kind: str) -> None:
    source, message = SERVER[kind]
    done = sign(place, source(bao))
    assert done.certificates == {}
    assert re.search(message, done.refused["db1"]), done.refused
    assert not (place / "ca" / "ledger.jsonl").exists()


class Front:
    """What stands in front of an OpenBao. ``says`` has odd answers by an expression for METHOD PATH BODY."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.says: dict[str, bytes] = {}
        self.tokens: list[str] = []

    def odd(self, asked: str) -> bytes:
        return next((text for pattern, text in self.says.items() if re.search(pattern, asked)), b"")


def answer(status: int, body: str, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} odd", *headers, *([] if headers else [f"Content-Length: {len(body)}"])]
    return "\r\n".join([*head, "Connection: close", "", body]).encode()


@contextlib.contextmanager
def in_front_of(bao: baos.Bao) -> Iterator[Front]:
    """Run a server that passes on what it has no odd answer for."""

    class Passing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            front.tokens += [self.headers["X-Vault-Token"]] if self.headers["X-Vault-Token"] else []
            asked = f"{self.command} {self.path} {body.decode()}"
            self.wfile.write(front.odd(asked) or self.passed_on(body))

        do_POST = do_GET  # noqa: N815

        def passed_on(self, body: bytes) -> bytes:
            headers = {"X-Vault-Token": self.headers["X-Vault-Token"] or ""}
            request = urllib.request.Request(f"{bao.url}{self.path}", body or None, headers, method=self.command)  # noqa: S310
            context = ssl.create_default_context(cafile=bao.ca_file)
            try:
                with urllib.request.urlopen(request, timeout=30, context=context) as came:  # noqa: S310
                    return answer(came.status, came.read().decode())
            except urllib.error.HTTPError as error:
                return answer(error.code, error.read().decode())

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Passing) as server:
        front = Front(f"https://127.0.0.1:{server.server_address[1]}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(bao.directory / "vault-cert.pem", bao.directory / "vault-key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield front
        server.shutdown()


def test_a_redirection_is_refused_and_gets_no_token(bao: baos.Bao, place: Path) -> None:
    with in_front_of(bao) as front:
        front.says[""] = answer(307, "", f"Location: {bao.url}/v1/pki/issuers")
        done = sign(place, bao.declared("server", url=front.url))
    assert not front.tokens
    assert "redirects to 'https://127.0.0.1:" in done.refused["db1"]
    assert "Declare the address of the active server" in done.refused["db1"]


def test_a_sealed_server_says_so(bao: baos.Bao, place: Path) -> None:
    source = bao.declared("server")
    bao.write("sys/seal")
    try:
        with pytest.raises(TlsError, match=r"is sealed, or not ready: .*Unseal it"):
            trust(source, place)
        assert "is sealed" in sign(place, source).refused["db1"]
    finally:
        bao.call("POST", "sys/unseal", key=bao.unseal_key)
    assert sign(place, source).certificates


def test_a_mount_without_its_root_takes_it_from_a_file(bao: baos.Bao, place: Path) -> None:
    root = bao.pki("rootless", below="pki", with_root=False)
    bao.role("rootless", "server")
    source = bao.declared("server", "rootless")
    with pytest.raises(TlsError, match="the mount rootless has no root, only 'rootless Issuing'"):
        trust(source, place)
    (place / "root.pem").write_text(root)
    with_root = {**source, "roots": str(place / "root.pem")}
    assert [one.common_name for one in trust(with_root, place).roots] == ["pki Root"]
    assert [one.common_name for one in chain_of(sign(place, with_root))] == ["db1.example", "rootless Issuing"]


def revoke(bao: baos.Bao, mount: str, leaf: certificate.Certificate) -> None:
    serial = f"{leaf.serial:040x}"
    bao.write(f"{mount}/revoke", serial_number=":".join(serial[at : at + 2] for at in range(0, 40, 2)))


def test_a_list_of_revoked_certificates_is_used_as_soon_as_it_has_one(bao: baos.Bao, place: Path) -> None:
    bao.pki("revoking")
    bao.role("revoking", "server")
    bao.write("revoking/config/crl", **LONG_LISTS)
    source = bao.declared("server", "revoking")
    leaf = chain_of(sign(place, source))[0]
    assert trust(source, place).crls == ""
    revoke(bao, "revoking", leaf)
    assert bao.call("GET", "revoking/crl/rotate")["data"]["success"] is True
    found = trust(source, place)
    assert found.revoked == [f"{leaf.serial:x}"]
    assert "BEGIN X509 CRL" in found.crls
    assert found.warnings == []
    wish = spec.Spec(None, (), "P-256", certificate.SERVER_AUTH, found.roots, revoked=found.revoked)
    assert due.reasons(leaf, wish, int(time.time())) == ["revoked"]


def test_a_list_of_a_mount_as_it_is_made_by_default_is_told_to_end_and_taken_away_in_time(
    bao: baos.Bao, place: Path
) -> None:
    bao.pki("ending")
    bao.role("ending", "server")
    source = bao.declared("server", "ending")
    revoke(bao, "ending", chain_of(sign(place, source))[0])
    (warning,) = trust(source, place).warnings
    assert "a list of revoked certificates ends on" in warning
    late = trust(source, place, 71 * 3600)
    assert (late.crls, len(late.revoked)) == ("", 1)
    assert "that outlives the next nightly run" in late.warnings[0]


def test_lists_stay_in_use_when_the_mount_forgets_what_has_ended(bao: baos.Bao, place: Path) -> None:
    bao.pki("forgetting")
    bao.role("forgetting", "server")
    bao.write("forgetting/config/crl", **LONG_LISTS)
    source = bao.declared("server", "forgetting")
    short = bao.write("forgetting/issue/server", common_name="db1.example", ttl="3s", key_type="ec", key_bits=256)
    bao.write("forgetting/revoke", serial_number=short["serial_number"])
    bao.call("GET", "forgetting/crl/rotate")
    keep(place, {"server": source})
    time.sleep(4)
    bao.write("forgetting/tidy", tidy_revoked_certs=True, safety_buffer="1s")
    patience = time.monotonic() + 20
    while bao.call("GET", "forgetting/tidy-status")["data"]["state"] != "Finished" and time.monotonic() < patience:
        time.sleep(0.2)
    bao.call("GET", "forgetting/crl/rotate")
    assert trust(source, place).revoked == []
    assert trust(source, place).crls == ""
    assert "BEGIN X509 CRL" in keep(place, {"server": source}).elsewhere["server"].crls


def keep(place: Path, sources: dict[str, Any], change: planning.Change = NO_CHANGE, **more: Any) -> Any:
    given = declared.parse(sources, "sources")
    wish = keeping.Wish(str(place / "ca"), "P-256", None, sources=given, change=change, **more)
    return keeping.keep(wish, int(time.time()), is_dry=False)


def test_the_authorities_are_kept_beside_it(bao: baos.Bao, place: Path) -> None:
    done = keep(place, {"server": bao.declared("server", "below")})
    assert list(done.lineages) == ["client"]
    assert [one.common_name for one in done.elsewhere["server"].roots] == ["pki Root"]
    assert sorted(path.name for path in (place / "ca").iterdir()) == ["client", "source-server.json"]
    assert keep(place, {"server": bao.declared("server", "below")}).changes == []


def test_one_that_cannot_be_asked_is_trusted_as_before(bao: baos.Bao, place: Path) -> None:
    relay = relays.Relay([("127.0.0.1", bao.port)])
    source = bao.declared("server", "below", url=f"https://127.0.0.1:{relay.port}")
    with relay.leading():
        before = keep(place, {"server": source})
        content = (place / "ca" / "source-server.json").read_text()
        assert source["token"] not in content
        assert keep(place, {"server": source}).warnings == []
    after = keep(place, {"server": {**source, "token": "hvs.another"}})
    assert after.elsewhere["server"].facts() == before.elsewhere["server"].facts()
    (warning,) = after.warnings
    assert "gives no answer" in warning
    assert "This run trusts what that source said before." in warning
    assert (place / "ca" / "source-server.json").read_text() == content
    assert "gives no answer" in sign(place, source).refused["db1"]
    with pytest.raises(TlsError, match="gives no answer"):
        keep(place, {"server": {**source, "mount": "pki"}})


NO_LEADER = '{"errors": ["local node not active but active cluster node not found"]}'
ODD: dict[str, tuple[bytes, str]] = {
    "no leader": (answer(500, NO_LEADER), "cannot answer now: local node not active .*leads to an active node"),
    "leader that died": (answer(307, "", "Location: https://127.0.0.1:1/"), "redirects to 'https://127.0.0.1:1/'"),
    "load balancer": (answer(502, "<html>"), "gives no answer: HTTP status 502. Start the server behind"),
    "limited": (answer(429, '{"errors": ["quota exceeded"]}'), "limits requests: quota exceeded. Rerun later"),
    "behind": (answer(412, '{"errors": ["required index state not present"]}'), "cannot answer now: required index"),
    "secondary": (answer(472, "{}"), "cannot answer now: HTTP status 472"),
    "standby": (answer(473, '{"errors": 1}'), "cannot answer now: HTTP status 473"),
    "cut refusal": (answer(500, "1", "Transfer-Encoding: chunked"), "cannot answer now: HTTP status 500"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", r"gives no answer: what comes is not HTTP, .*\(BadStatusLine\)"),
    "cut": (answer(200, '{"data": {', "Content-Length: 99"), r"not HTTP, or not all of it \(IncompleteRead\)"),
    "cut chunk": (answer(200, "ff\r\n{", "Transfer-Encoding: chunked"), r"not all of it \(IncompleteRead\)"),
    "no JSON": (answer(200, "<html>"), r"answers without data\.keys.*Correct the address"),
    "no data": (answer(200, '{"errors": []}'), r"answers without data\.keys"),
    "null": (answer(200, '{"data": null}'), r"answers without data\.keys"),
    "other data": (answer(200, '{"data": {"keys": 5}}'), r"answers without data\.keys"),
    "deep": (answer(200, "[" * 100_000), r"answers without data\.keys"),
}


def test_one_that_does_not_answer_properly_is_trusted_as_before(bao: baos.Bao, place: Path) -> None:
    with in_front_of(bao) as front:
        source = bao.declared("server", "below", url=front.url)
        before = keep(place, {"server": source}).elsewhere["server"].facts()
        for kind, (text, message) in ODD.items():
            front.says = {"/issuers": text}
            after = keep(place, {"server": source})
            assert after.elsewhere["server"].facts() == before, kind
            (warning,) = after.warnings
            assert re.search(f"{message}.*This run trusts what that source said before", warning), (kind, warning)
        assert re.search(message, sign(place, source).refused["db1"])
        assert not front.tokens
        for kind, (text, message) in ODD.items():
            front.says = {"POST .*/sign/": text}
            refused = sign(place, source).refused["db1"]
            assert re.search(message.replace("keys", "certificate"), refused), (kind, refused)


def test_one_that_limits_requests_is_trusted_as_before(bao: baos.Bao, place: Path) -> None:
    bao.pki("limited")
    bao.role("limited", "server")
    source = bao.declared("server", "limited")
    before = keep(place, {"server": source})
    bao.write("sys/quotas/rate-limit/tests", path="limited/", rate=0.01, interval="60s")
    try:
        after = keep(place, {"server": source})
        refused = sign(place, source).refused["db1"]
    finally:
        bao.call("DELETE", "sys/quotas/rate-limit/tests")
    assert after.elsewhere["server"].facts() == before.elsewhere["server"].facts()
    (warning,) = after.warnings
    assert "limits requests: " in warning
    assert "Rerun later, or raise the rate limit quota" in refused
    assert sign(place, source).certificates


def test_a_list_that_does_not_come_is_not_taken_for_none(bao: baos.Bao, place: Path) -> None:
    """Whoever is revoked would be let in again."""
    bao.pki("listing")
    bao.role("listing", "server")
    bao.write("listing/config/crl", **LONG_LISTS)
    revoke(bao, "listing", chain_of(sign(place, bao.declared("server", "listing")))[0])
    assert bao.call("GET", "listing/crl/rotate")["data"]["success"] is True
    with in_front_of(bao) as front:
        source = bao.declared("server", "listing", url=front.url)
        before = keep(place, {"server": source})
        assert "BEGIN X509 CRL" in before.elsewhere["server"].crls
        cut = answer(200, "-----BEGIN X509 CRL-----", "Content-Length: 999")
        for odd in (answer(500, NO_LEADER), answer(429, "{}"), answer(307, "", "Location: /"), cut):
            front.says["/crl/pem"] = odd
            assert keep(place, {"server": source}).elsewhere["server"].facts() == before.elsewhere["server"].facts()
        front.says["/crl/pem"] = answer(400, '{"errors": ["odd"]}')
        with pytest.raises(TlsError, match="/crl/pem: odd"):
            keep(place, {"server": source})


def test_a_mount_without_an_issuer_is_no_outage(bao: baos.Bao, place: Path) -> None:
    bao.pki("emptied")
    source = bao.declared("server", "emptied")
    keep(place, {"server": source})
    bao.write("emptied/root/generate/internal", common_name="next", key_type="ec", key_bits=256)
    bao.call("DELETE", "emptied/issuer/default")
    with pytest.raises(TlsError, match="no default issuer currently configured") as failure:
        keep(place, {"server": source})
    assert failure.value.code == "source_refused"


def test_a_request_at_which_it_fails_stops_no_other(bao: baos.Bao, place: Path) -> None:
    with in_front_of(bao) as front:
        front.says["POST .*/sign/.*common_name.: .app_rw"] = answer(500, '{"errors": ["odd"]}')
        given = {"client": {**bao.declared("client", url=front.url), "dedicated": True}}
        asked = [{**request(place, role), "id": f"app1/www/{role}"} for role in ("app_rw", "app")]
        order = signing.Order(str(place / "ca"), None, "client", asked, "90d", given)
        done = signing.sign(order, int(time.time()), is_dry=False)
    assert list(done.certificates) == ["app1/www/app"]
    assert "cannot answer now: odd" in done.refused["app1/www/app_rw"]


def test_a_login_without_a_token_is_refused(bao: baos.Bao, place: Path) -> None:
    with in_front_of(bao) as front:
        front.says["/login"] = answer(200, '{"auth": null}')
        source = bao.declared("server", token=None, url=front.url, approle=bao.approle())
        assert "answers without auth.client_token" in sign(place, source).refused["db1"]
        front.says["/login"] = answer(500, NO_LEADER)
        assert "cannot answer now: local node" in sign(place, source).refused["db1"]


def test_what_only_the_other_ca_can_do_is_refused(bao: baos.Bao, place: Path) -> None:
    source = bao.declared("server", "below")
    sign(place, source)
    keep(place, {"server": source})
    with pytest.raises(TlsError, match=r"rotate: .*source of type openbao .*cannot rotate from here.*default issuer"):
        keep(place, {"server": source}, planning.Change("stage", ["server"]))
    with pytest.raises(TlsError, match=r"drop: .*cannot drop from here.*Delete the issuers"):
        keep(place, {"server": source}, planning.Change(drop="server"))
    with pytest.raises(TlsError, match=r"revoked: the certificate of db1 with serial .*cannot revoke.*bao write"):
        keep(place, {"server": source}, revoked=[{"host": "db1"}])
    assert not (place / "ca" / "revoked.jsonl").exists()
    assert keep(place, {"server": source}, planning.Change("stage")).changes, "the own authority goes ahead"


def test_what_hosts_have_in_use_is_recorded_again_after_the_ledger_was_lost(bao: baos.Bao, place: Path) -> None:
    source = bao.declared("server", "below")
    leaf = chain_of(sign(place, source))[0]
    before = (place / "ca" / "ledger.jsonl").read_text()
    (place / "ca" / "ledger.jsonl").unlink()
    shown = [{"id": "db1", "certificate": leaf.pem}, {"id": "db2", "certificate": trust(source, place).roots[0].pem}]
    done = keep(place, {"server": source}, unrecorded={"server": shown})
    assert [change for change in done.changes if "put back" in change] == [
        f"put back into the ledger: db1 (server certificate {leaf.serial:x}, until {json.loads(before)['not_after']})"
    ]
    (line,) = map(json.loads, (place / "ca" / "ledger.jsonl").read_text().splitlines())
    assert (line["serial"], line["source"]) == (f"{leaf.serial:x}", "openbao")


def test_one_root_for_two_authorities_is_refused(bao: baos.Bao, place: Path) -> None:
    both = {"server": bao.declared("server", "below"), "client": {**bao.declared("client", "pki"), "dedicated": True}}
    with pytest.raises(TlsError, match="the authorities server and client have the same root, 'pki Root'"):
        keep(place, both)
    assert list((place / "ca").iterdir()) == []


def test_a_source_of_an_authority_that_no_server_uses_is_refused(bao: baos.Bao, place: Path) -> None:
    with pytest.raises(TlsError, match="no server uses an authority billing"):
        keep(place, {"billing": {**bao.declared("client"), "dedicated": True}})
