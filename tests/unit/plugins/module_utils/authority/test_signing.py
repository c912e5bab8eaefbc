from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, keeping, ledger, signing, store
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name
from ansible_collections.pgops.tls.tests.shared import DAY, FIVE_YEARS


@pytest.fixture
def directory(tmp_path: Path, now: int) -> Path:
    keeping.keep(keeping.Wish(str(tmp_path / "ca"), "P-256", None), now, is_dry=False)
    return tmp_path / "ca"


@pytest.fixture
def db1(csr: str) -> dict[str, Any]:
    return {"id": "db1", "csr": csr, "names": ["db1.example", "192.0.2.1"], "reasons": ["no_certificate"]}


@pytest.fixture
def orders(csr: str) -> dict[str, Any]:
    return {"id": "app1/www/orders", "csr": csr, "role": "orders", "reasons": []}


def sign(
    directory: Path, now: int, *requests: dict[str, Any], authority: str = "server", lifetime: str = "90d",
    passphrase: str | None = None, is_dry: bool = False,
) -> signing.SigningResult:  # fmt: skip
    return signing.sign(signing.Order(str(directory), passphrase, authority, requests, lifetime), now, is_dry=is_dry)


def recorded(directory: Path) -> list[dict[str, Any]]:
    path = directory / ledger.FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_chain_is_the_leaf_and_its_issuing_ca(directory: Path, now: int, db1: dict[str, Any]) -> None:
    done = sign(directory, now, db1)
    leaf, issuer = certificate.read_pem(done.certificates["db1"], "chain")
    assert issuer.pem == (directory / "server" / "0001" / "issuing.crt").read_text()
    assert leaf.issuer == issuer.subject
    assert leaf.names == (Name("dns", "db1.example"), Name("ip", "192.0.2.1"))
    assert (leaf.not_before, leaf.not_after) == (now - 300, now + 90 * DAY)
    assert done.not_after == clock.instant(now + 90 * DAY)
    assert done.changes == ["issue a server certificate for db1: db1.example, 192.0.2.1 (no_certificate)"]


def test_a_clients_certificate_carries_its_role_alone(directory: Path, now: int, orders: dict[str, Any]) -> None:
    leaf = certificate.read_pem(
        sign(directory, now, orders, authority="client").certificates["app1/www/orders"], "chain"
    )[0]
    assert leaf.common_name == "orders"
    assert leaf.names == ()
    assert leaf.extended_key_usage == (certificate.CLIENT_AUTH,)


def test_every_certificate_is_recorded(directory: Path, now: int, db1: dict[str, Any], orders: dict[str, Any]) -> None:
    done = sign(directory, now, db1, {**db1, "id": "db2"})
    done.certificates.update(sign(directory, now + 1, orders, authority="client").certificates)
    assert [line["id"] for line in recorded(directory)] == ["db1", "db2", "app1/www/orders"]
    for line in recorded(directory):
        leaf = certificate.read_pem(done.certificates[line["id"]], "chain")[0]
        assert int(line["serial"], 16) == leaf.serial
        assert line["sha256"] == leaf.sha256
        assert line["key_sha256"] == hashlib.sha256(leaf.public_key).hexdigest()
        assert line["issuer"] == leaf.authority_key_id
        assert line["not_after"] == clock.instant(leaf.not_after)
    assert recorded(directory)[0] | {"serial": "", "sha256": "", "key_sha256": "", "issuer": ""} == {
        "serial": "",
        "authority": "server",
        "id": "db1",
        "subject": "db1.example",
        "names": ["db1.example", "192.0.2.1"],
        "not_before": "2027-01-15T07:55:00Z",
        "not_after": "2027-04-15T08:00:00Z",
        "issued": "2027-01-15T08:00:00Z",
        "issuer": "",
        "reasons": ["no_certificate"],
        "sha256": "",
        "key_sha256": "",
    }


def test_nothing_is_handed_out_that_could_not_be_recorded(
    directory: Path, now: int, db1: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error", "the disk")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(TlsError, match="Input/output error"):
        sign(directory, now, db1)
    assert recorded(directory) == []


def test_without_requests_not_even_the_directory_is_looked_at(now: int) -> None:
    assert sign(Path("/nonexistent"), now) == signing.SigningResult({}, {}, "", [], [])


def test_a_dry_run_checks_and_issues_nothing(directory: Path, now: int, db1: dict[str, Any]) -> None:
    done = sign(directory, now, {**db1, "csr": None}, is_dry=True)
    assert done.certificates == {}
    assert done.changes == sign(directory, now, db1).changes
    with pytest.raises(TlsError, match="longer than the issuer's"):
        sign(directory, now, db1, lifetime="6y", is_dry=True)
    bad = sign(directory, now, {**db1, "csr": "garbage"}, is_dry=True)
    assert "expected a certificate request" in bad.refused["db1"]
    assert bad.changes == []
    assert len(recorded(directory)) == 1


def test_a_dry_run_before_the_first_run_has_no_authority_and_needs_none(
    tmp_path: Path, now: int, db1: dict[str, Any]
) -> None:
    assert sign(tmp_path / "ca", now, db1, is_dry=True).changes
    with pytest.raises(TlsError, match=r"there is no server CA in this directory.*certificate_authority"):
        sign(tmp_path / "ca", now, db1)


def test_a_dry_run_finds_a_ledger_that_cannot_be_written_to(directory: Path, now: int, db1: dict[str, Any]) -> None:
    (directory / ledger.FILE).symlink_to("/dev/null")
    with pytest.raises(TlsError, match=r"ledger\.jsonl: expected a place"):
        sign(directory, now, db1, is_dry=True)


def test_one_bad_request_is_refused_alone(directory: Path, now: int, db1: dict[str, Any]) -> None:
    done = sign(directory, now, {**db1, "csr": "garbage"}, {**db1, "id": "db2"}, {**db1, "id": "db3", "csr": None})
    assert list(done.certificates) == ["db2"]
    assert certificate.read_pem(done.certificates["db2"], "chain")[0].names[0].value == "db1.example"
    assert done.refused == {
        "db1": "requests[db1].csr: expected a certificate request in PEM, found none that can be read.",
        "db3": "requests[db3].csr: expected a certificate request in PEM, found nothing.",
    }
    assert [line["id"] for line in recorded(directory)] == ["db2"]
    assert done.changes == ["issue a server certificate for db2: db1.example, 192.0.2.1 (no_certificate)"]


def test_where_all_requests_are_bad_nothing_changes(directory: Path, now: int, db1: dict[str, Any]) -> None:
    done = sign(directory, now, {**db1, "names": []})
    assert (done.certificates, list(done.refused), done.changes, done.not_after) == ({}, ["db1"], [], "")
    assert recorded(directory) == []


def test_what_is_wrong_with_all_requests_stops_them_all(directory: Path, now: int, db1: dict[str, Any]) -> None:
    with pytest.raises(TlsError, match="appears twice"):
        sign(directory, now, db1, {**db1, "csr": "garbage"})
    (directory / "server" / "0001" / "issuing.key").unlink()
    with pytest.raises(TlsError, match=r"issuing\.key: this file of the authority is missing"):
        sign(directory, now, db1, {**db1, "id": "db2", "csr": "garbage"})
    assert recorded(directory) == []


def test_a_lifetime_longer_than_the_issuers_is_an_error_that_names_both(
    directory: Path, now: int, db1: dict[str, Any]
) -> None:
    both = r"^lifetime: 1826d is longer than the issuer's: (?=.*until 2032-01-14)(?=.*lives 1825d)"
    with pytest.raises(TlsError, match=both):
        sign(directory, now, db1, lifetime="1826d")
    assert recorded(directory) == []
    leaf = certificate.read_pem(sign(directory, now, db1, lifetime="5y").certificates["db1"], "chain")[0]
    assert leaf.not_after == now + FIVE_YEARS


@pytest.mark.parametrize(("left", "is_cut"), [(90 * DAY, False), (90 * DAY - 1, True), (30 * DAY, True)])
def test_a_leaf_ends_with_its_issuer_and_the_run_says_so(
    directory: Path, now: int, db1: dict[str, Any], left: int, is_cut: bool
) -> None:
    done = sign(directory, now + FIVE_YEARS - left, db1)
    leaf, issuer = certificate.read_pem(done.certificates["db1"], "chain")
    assert leaf.not_after == issuer.not_after
    assert bool(done.warnings) is is_cut
    assert all("2032-01-14T08:00:00Z" in warning for warning in done.warnings)


def test_an_issuer_with_less_than_a_third_of_the_lifetime_left_issues_nothing(
    directory: Path, now: int, db1: dict[str, Any]
) -> None:
    with pytest.raises(TlsError, match=r"lifetime: 90d was asked for, but the issuing CA .* ends in 29d"):
        sign(directory, now + FIVE_YEARS - 30 * DAY + 1, db1)
    assert sign(directory, now + FIVE_YEARS - 30 * DAY + 1, db1, lifetime="30d").warnings


def test_an_expired_issuer_issues_nothing(directory: Path, now: int, db1: dict[str, Any]) -> None:
    with pytest.raises(TlsError, match="expired on"):
        sign(directory, now + FIVE_YEARS, db1, lifetime="1m")


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        (0, r"^The billing CA 'PostgreSQL billing issuing CA \S+' expired on 2027-01-15T08:00:00Z, and all .*\.key"),
        (29 * DAY, r"^lifetime: 90d was asked for, but the issuing CA .* ends in 29d, .*Copy the key of its root to"),
    ],
    ids=["ended", "ends too soon"],
)
@pytest.mark.parametrize("is_dry", [False, True])
def test_an_authority_that_cannot_issue_refuses_its_own_requests_alone(
    directory: Path, now: int, db1: dict[str, Any], orders: dict[str, Any], *, left: int, reason: str, is_dry: bool
) -> None:
    store.create(str(directory), issuing.new_authority("billing", "P-256", now + left - FIVE_YEARS), None)
    server, client = ({**one, "authority": name} for one, name in ((db1, "server"), (orders, "client")))
    bills = [{**orders, "id": f"app{number}/www/bills", "role": "bills", "authority": "billing"} for number in (1, 2)]
    done = sign(directory, now, bills[0], server, bills[1], client, is_dry=is_dry)
    issued = [] if is_dry else ["db1", "app1/www/orders"]
    assert (list(done.certificates), [line["id"] for line in recorded(directory)]) == (issued, issued)
    assert [change.split()[2] for change in done.changes] == ["server", "client"]
    assert done.not_after == clock.instant(now + 90 * DAY)
    assert list(done.refused) == ["app1/www/bills", "app2/www/bills"]
    for message in done.refused.values():
        assert re.search(reason, message), message
    mixed = sign(directory, now, bills[0], {**server, "csr": "garbage"}, is_dry=is_dry)
    assert mixed.refused["db1"].startswith("requests[db1]")
    assert mixed.refused[bills[0]["id"]] == done.refused[bills[0]["id"]]
    with pytest.raises(TlsError, match=reason):  # what all requests need is no matter of single ones
        sign(directory, now, *bills, is_dry=is_dry)


def test_where_several_authorities_cannot_issue_each_says_so_itself(
    directory: Path, now: int, db1: dict[str, Any], orders: dict[str, Any]
) -> None:
    done = sign(directory, now + FIVE_YEARS, db1, {**orders, "authority": "client"})
    assert (done.certificates, done.changes, done.not_after) == ({}, [], "")
    assert done.refused["db1"].startswith("The server CA ")
    assert done.refused["app1/www/orders"].startswith("The client CA ")
    assert not (directory / ledger.FILE).exists()


@pytest.mark.parametrize("damage", ["clock", "lifetime", "key", "folder"])
def test_what_is_wrong_with_one_authority_otherwise_stops_all_requests(
    directory: Path, now: int, db1: dict[str, Any], orders: dict[str, Any], damage: str
) -> None:
    lifetime = "90d"
    if damage == "clock":
        now -= 400
    elif damage == "lifetime":
        lifetime = "6y"
    elif damage == "key":
        (directory / "client/0001/issuing.key").write_text("garbage")
    else:
        shutil.rmtree(directory / "client")
    with pytest.raises(TlsError):
        sign(directory, now, db1, {**orders, "authority": "client"}, lifetime=lifetime)
    assert recorded(directory) == []


def test_a_leaf_does_not_start_before_its_issuer(directory: Path, now: int, db1: dict[str, Any]) -> None:
    leaf, issuer = certificate.read_pem(sign(directory, now - 200, db1).certificates["db1"], "chain")
    assert leaf.not_before == issuer.not_before == now - 300


@pytest.mark.parametrize("lifetime", ["", "90", "0d", "-1d", "1.5d", "forever"])
def test_what_is_no_duration_is_named(directory: Path, now: int, db1: dict[str, Any], lifetime: str) -> None:
    with pytest.raises(TlsError, match=r"lifetime: .* is not a duration"):
        sign(directory, now, db1, lifetime=lifetime)


def test_a_wrong_passphrase_issues_nothing(tmp_path: Path, now: int, db1: dict[str, Any]) -> None:
    keeping.keep(keeping.Wish(str(tmp_path), "P-256", "correct horse"), now, is_dry=False)
    for wrong in (None, "wrong horse", "short"):
        with pytest.raises(TlsError, match="passphrase"):
            sign(tmp_path, now, db1, passphrase=wrong)
    assert recorded(tmp_path) == []
    assert sign(tmp_path, now, db1, passphrase="correct horse").certificates


def test_the_root_key_is_not_needed(directory: Path, now: int, db1: dict[str, Any]) -> None:
    (directory / "server" / "0001" / "root.key").unlink()
    assert sign(directory, now, db1).certificates


def test_the_lock_is_held_while_signing(
    directory: Path, now: int, db1: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    original = ledger.append

    def look(*arguments: Any) -> None:
        descriptor = os.open(directory, os.O_RDONLY)
        held.append(_is_locked(descriptor))
        os.close(descriptor)
        original(*arguments)

    monkeypatch.setattr(ledger, "append", look)
    sign(directory, now, db1)
    assert held == [True]


def test_two_certificates_never_share_a_serial(directory: Path, now: int, db1: dict[str, Any]) -> None:
    sign(directory, now, *({**db1, "id": f"db{number}"} for number in range(50)))
    assert len({line["serial"] for line in recorded(directory)}) == 50


def test_the_newest_generation_signs(directory: Path, now: int, db1: dict[str, Any]) -> None:
    other = keeping.keep(keeping.Wish(str(directory.parent / "other"), "P-256", None), now, is_dry=False)
    (directory.parent / "other" / "server" / "0001").rename(directory / "server" / "0002")
    chain = certificate.read_pem(sign(directory, now, db1).certificates["db1"], "chain")
    assert chain[1].pem == other.authorities["server"].issuing.pem
    assert store.folders(str(directory), "server").numbered[-1] == str(directory / "server" / "0002")


def test_500_leaves_are_signed_fast_enough(
    directory: Path, now: int, csr_of: Callable[[Any], str], leaf_keys: dict[str, Any]
) -> None:
    """The aim is 1,500 a second; a busy machine may take four times as long before this fails."""
    csr = csr_of(leaf_keys["P-256"])
    wanted = [{"id": f"db{n}", "csr": csr, "names": [f"db{n}.example", "192.0.2.1"], "reasons": []} for n in range(500)]
    started = time.process_time()
    done = sign(directory, now, *wanted)
    assert len(done.certificates) == len(recorded(directory)) == 500
    assert 500 / (time.process_time() - started) > 375


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
