# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan for a REST API does about what was found, and what stops it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pairs import Kept
from ansible_collections.pgops.tls.plugins.module_utils.patroni.api import Answer
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings
from ansible_collections.pgops.tls.plugins.module_utils.restapi import former, plan, refusals, target
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.tests.restapis import CLIENTS, all_options, sign
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding


def request() -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


TARGET = target.read(all_options())
CHAINS = {name: sign(name, request()) for name in ("api", "ctl")}
LEAF = read_pem(CHAINS["api"], "chain")[0]
OTHER = issuing.new_authority("other", "P-256", TODAY)
KEEPS_NOTHING = former.written(former.Former({section: dict.fromkeys(keys) for section, keys in TARGET.values.items()}))
YML = "restapi:\n  listen: 127.0.0.1:8008\n"


def settings(restapi: dict[str, str], ctl: dict[str, str] | None = None, **changes: Any) -> Settings:
    sections = {"restapi": {"listen": "127.0.0.1:8008", **restapi}, "ctl": ctl or {}}
    return Settings("shop", "a", sections, {}, {}, uses_socket=True)._replace(**changes)


def found(**changes: Any) -> plan.Found:
    """Return what there is where everything is as declared."""
    lines = "".join(f"  {key}: {path}\n" for key, path in TARGET.values["restapi"].items())
    ctl = "".join(f"  {key}: {path}\n" for key, path in TARGET.values["ctl"].items())
    generation = {
        "api.crt": CHAINS["api"].encode(),
        "api.key": b"key",
        "trusted-clients.crt": TARGET.pair.trusted_clients.encode(),
        "ctl.crt": CHAINS["ctl"].encode(),
        "ctl.key": b"key",
        "root.crt": TARGET.pair.roots.encode(),
        "former.json": KEEPS_NOTHING,
    }
    kept = Kept("0001", generation, repairs=(), unfit={})
    present = plan.Found(
        kept=kept._replace(**{name: changes.pop(name) for name in Kept._fields if name in changes}),
        config="/p/patroni.yml",
        text=f"{YML}{lines}ctl:\n{ctl}",
        settings=settings(TARGET.values["restapi"], TARGET.values["ctl"]),
        answer=Answer(LEAF, 200),
    )
    return present._replace(**changes)


def without_tls(**changes: Any) -> plan.Found:
    nothing: dict[str, Any] = {"current": None, "generation": {}, "text": YML, "settings": settings({})}
    return found(**{**nothing, "answer": Answer(None, 200), **changes})


def made(wanted: dict[str, Any] | None = None, now: int = TODAY, **changes: Any) -> plan.Plan:
    return plan.make(target.read(all_options(**(wanted or {}))), found(**changes), now)


def test_nothing_is_to_be_done_where_all_is_as_declared() -> None:
    assert made() == plan.Plan({"api": [], "ctl": []}, None, None, [], reloads=False)


def test_the_first_plan_writes_both_sections_and_keeps_what_was_there() -> None:
    coming = plan.make(TARGET, without_tls(), TODAY)
    assert coming.reasons == {"api": ["no_certificate"], "ctl": ["no_certificate"]}
    assert coming.reloads
    assert (coming.text or "").count("/p/patroni/current/") == 6
    assert json.loads((coming.contents or {})["former.json"])["values"]["restapi"]["certfile"] is None


@pytest.mark.parametrize(
    ("wanted", "api", "ctl", "reloads"),
    [
        ({"trusted_clients": CLIENTS.root.pem + OTHER.root.pem}, ["trust_changed"], [], True),
        ({"roots": AUTHORITIES["server"].root.pem + OTHER.root.pem}, [], [], False),
        ({"names": ["127.0.0.1"]}, ["san_not_wanted: pg1.example.com"], [], True),
        ({"client_revoked": [f"{read_pem(CHAINS['ctl'], 'c')[0].serial:x}"]}, [], ["revoked"], False),
        ({"renew": True}, ["forced"], ["forced"], True),
    ],
)
def test_what_patroni_reads_only_with_a_new_leaf_gets_one(
    wanted: dict[str, Any], api: list[str], ctl: list[str], reloads: bool
) -> None:
    coming = made(wanted)
    assert coming.reasons == {"api": api, "ctl": ctl}
    assert coming.reloads is reloads
    assert coming.contents is not None
    assert coming.text is None


def test_a_certificate_that_comes_later_stays_if_it_only_has_to_be_renewed() -> None:
    later = {"api": "", "ctl": CHAINS["ctl"]}
    coming = made({"renew": True, "certificates": later})
    assert coming.reasons == {"api": [], "ctl": ["forced"]}
    assert not coming.reloads
    other = made({"names": ["127.0.0.1"], "certificates": later})
    assert other.reasons["api"] == ["san_not_wanted: pg1.example.com"]
    trusting = {"trusted_clients": CLIENTS.root.pem + OTHER.root.pem, "certificates": later}
    assert made(trusting).reasons["api"] == ["trust_changed"], "Patroni takes it with a new leaf only"


def test_a_chain_that_gets_shorter_is_shown_by_a_new_leaf_only() -> None:
    longer = CHAINS["api"] + OTHER.root.pem
    coming = made(generation={**found().generation, "api.crt": longer.encode()})
    assert coming.reasons == {"api": ["chain_changed"], "ctl": []}


def test_another_certificate_in_use_than_on_disk_is_a_reload_alone() -> None:
    coming = made(answer=Answer(None, 200))
    assert (coming.contents, coming.text, coming.reloads) == (None, None, True)
    assert coming.changes == ["reload: the REST API shows another certificate than its file"]


def test_a_file_of_patroni_that_somebody_rewrote_is_written_again() -> None:
    coming = made(text=YML, settings=settings({}))
    assert coming.text is not None
    assert coming.contents is None, "the same files"
    assert coming.reasons == {"api": [], "ctl": []}


def test_who_issues_the_rest_api_of_somebody_else_is_trusted_until_all_members_have_moved() -> None:
    own = {"certfile": "/etc/x.crt", "keyfile": "/etc/x.key", "cafile": "/etc/ca.crt"}
    before = without_tls(settings=settings(own), own_trust=(OTHER.root.pem + TARGET.pair.roots).encode())
    contents = plan.make(TARGET, before, TODAY).contents or {}
    assert contents["root.crt"].decode() == TARGET.pair.roots + OTHER.root.pem
    kept = former.read(contents)
    assert kept is not None
    assert kept.values["restapi"] == own
    kept_files = {name: contents[name] for name in ("former.json", "root.crt")}
    after = found(generation={**found().generation, **kept_files})
    assert plan.make(TARGET, after, TODAY).changes == []
    ended = plan.make(TARGET._replace(ends_former_trust=True), after, TODAY)
    assert (ended.contents or {})["root.crt"].decode() == TARGET.pair.roots
    assert not ended.reloads, "clients read it at each connection"
    assert former.read(ended.contents or {}) == kept._replace(trust="")


@pytest.mark.parametrize(
    ("address", "names", "is_covered"),
    [
        ("127.0.0.1:8008", ["127.0.0.1"], True),
        ("[::1]:8008", ["0:0:0:0:0:0:0:1"], True),
        ("10.0.0.1:8008", ["127.0.0.1", "10.0.0.1.example.com"], False),
        ("PG1.example.com.:8008", ["pg1.example.com"], True),
        ("pg1.example.com:8008", ["*.example.com"], True),
        ("a.pg1.example.com:8008", ["*.example.com"], False),
        ("example.com:8008", ["*.example.com", "pg1.example.com"], False),
    ],
)
def test_the_host_that_members_connect_to_must_be_a_name(address: str, names: list[str], is_covered: bool) -> None:
    wanted = target.read(all_options(names=names))
    there = found(settings=settings({"connect_address": address}))
    if is_covered:
        refusals.refuse_other_name(wanted, there)
        return
    with pytest.raises(TlsError, match=r"restapi\.connect_address") as failure:
        refusals.refuse_other_name(wanted, there)
    assert failure.value.code == "patroni_name_missing"


def test_a_ca_that_may_add_names_is_judged_by_what_it_has_issued() -> None:
    server = AUTHORITIES["server"]
    options = all_options(names=["pg1.example.com"], server_issuing=server.issuing.pem + server.root.pem)
    for address, is_covered in (("127.0.0.1:8008", True), ("192.0.2.1:8008", False)):
        there = found(settings=settings({"connect_address": address}))
        refusals.refuse_other_name(target.read(options), there)
        came = target.read(
            {**options, "certificates": {"api": CHAINS["api"]}}
        )  # with 127.0.0.1, which nobody asked for
        if is_covered:
            refusals.refuse_other_name(came, there)
            continue
        with pytest.raises(TlsError, match=r"none of the names of this server \(pg1\.example\.com, 127\.0\.0\.1\)"):
            refusals.refuse_other_name(came, there)


def test_what_would_cut_members_off_is_refused() -> None:
    own = {"certfile": "/etc/x.crt", "cafile": "/etc/ca.crt"}
    verifying = without_tls(settings=settings({**own, "verify_client": "Optional"}))
    with pytest.raises(TlsError, match="verify_client is Optional") as failure:
        refusals.refuse_foreign_clients(TARGET, verifying)
    assert failure.value.code == "patroni_verify_client"
    refusals.refuse_foreign_clients(TARGET, without_tls(settings=settings(own)))
    trusting_others = without_tls(settings=settings(own), own_trust=OTHER.root.pem.encode())
    with pytest.raises(TlsError, match="which lacks 'PostgreSQL server root CA") as failure:
        refusals.refuse_foreign_trust(TARGET, trusting_others)
    assert failure.value.code == "patroni_trust_missing"
    refusals.refuse_foreign_trust(TARGET, trusting_others._replace(own_trust=TARGET.pair.roots.encode()))
    refusals.refuse_foreign_trust(TARGET, without_tls(settings=settings({"certfile": "/etc/x.crt"})))
    with pytest.raises(TlsError, match="PATRONI_CTL_CACERT"):
        refusals.refuse_environment(TARGET, found(settings=settings({}, environment=("PATRONI_CTL_CACERT",))))
    refusals.refuse_environment(TARGET, found(settings=settings({}, environment=("PATRONI_RESTAPI_LISTEN",))))
    with pytest.raises(TlsError, match="gives no answer"):
        refusals.refuse_silence(found(answer=None))
    assert made({"renew": True}, answer=None).reloads, "then it is refused"


def test_certificates_that_expire_are_due() -> None:
    assert made(now=TODAY + 80 * DAY).reasons == {"api": ["expires_in_9d"], "ctl": ["expires_in_9d"]}
