# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server whose certificate somebody else puts there and renews: checked, taken over, proven, never requested."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import difference, removal
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.companies import Company
from ansible_collections.pgops.tls.tests.keepers import Keeper
from ansible_collections.pgops.tls.tests.servers import HBA, TODAY, Server
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

PASSPHRASE = "never-to-be-seen-0815"


@pytest.fixture(scope="module")
def company() -> Company:
    """Make the company's CAs."""
    return companies.company(start=TODAY - 400 * DAY)


@pytest.fixture
def keeper(server: Server, company: Company) -> Iterator[Keeper]:
    """Give a server whose files root keeps in a directory of its own, where the server's OS user cannot read."""
    directory = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/opt" if os.geteuid() == 0 else None))
    found = Keeper(company, directory)
    server.options.update(
        existing={"certificate": str(found.certificate), "key": str(found.key)}, roots=company.root.pem, issuing=""
    )
    yield found
    shutil.rmtree(directory)


def refuse(server: Server, *said: str, **changes: Any) -> None:
    """Have a run, in check mode and without, end with this, and leave everything as it is."""
    before = server.disk()
    for check_mode in (True, False):
        with pytest.raises(TlsError) as failure:
            server.converge(check_mode=check_mode, **changes)
        for text in (*said, "Nothing was changed"):
            assert text in failure.value.message
        assert PASSPHRASE not in failure.value.message
    assert server.disk() == before


def test_files_of_others_are_taken_into_a_generation_and_proven(server: Server, keeper: Keeper) -> None:
    leaf = keeper.renew()
    foreseen = server.converge(check_mode=True)
    assert not server.directory.exists()
    done = server.converge()
    assert (done.request, done.changes) == (None, foreseen.changes)
    assert done.changes[0] == "certificate: no_certificate"
    assert done.leaf is not None
    assert server.served() == done.leaf.sha256 == leaf
    key = server.directory / "current" / "server.key"
    assert (key.owner(), key.stat().st_mode & 0o777) == (server.cluster.account, 0o600)
    assert key.read_bytes() == keeper.key.read_bytes()
    assert not [path for path in server.directory.rglob("*") if "pending" in path.parts and path.is_file()]
    inodes, signals = server.inodes(), server.cluster.log().count("SIGHUP")
    assert server.converge().changes == server.converge(check_mode=True).changes == []
    assert (server.inodes(), server.cluster.log().count("SIGHUP")) == (inodes, signals)
    server.restart()
    assert server.served() == leaf


def test_new_files_are_installed_by_the_next_run_and_the_former_ones_come_back_with_a_roll_back(
    server: Server, keeper: Keeper
) -> None:
    first = keeper.renew()
    server.converge()
    second = keeper.renew(1)
    assert server.served() == first
    foreseen = server.converge(check_mode=True)
    assert foreseen.changes == ["certificate: file_changed"]
    [shown] = difference.of_plan(foreseen.plan, foreseen.target, foreseen.leaf_before, foreseen.ssl_conf_before)
    assert "key: RSA-2048" in shown["after"]
    assert "to be issued" not in shown["after"]
    assert server.converge().changes == ["certificate: file_changed"]
    assert server.served() == second
    assert server.converge().changes == []
    back = server.roll_back()
    assert server.served() == first
    assert back.next_run == ["certificate: file_changed"]
    keeper.certificate.unlink()
    assert server.roll_back().changes == [], "a roll-back does not look at what is lost"


def test_another_ca_above_the_same_leaf_is_a_change_too(server: Server, keeper: Keeper) -> None:
    key = rsa.generate_private_key(65537, 2048)
    chain = keeper.issued(key)
    root = keeper.company.root.certificate
    leaf = keeper.put(key, [chain[0], *reversed(chain[1:]), root])
    server.converge()
    assert server.converge().changes == []
    text = (server.directory / "current" / "server.crt").read_text()
    assert text.count("BEGIN") == 3, "the chain without the root, in the order of its issuers"
    policy = keeper.company.policy
    renewed = companies.authority("Example Policy", keeper.company.root, start=TODAY - 20 * DAY, key=policy.key)
    keeper.put(key, [*chain[:2], renewed.certificate])
    [change] = server.converge().changes
    assert change.startswith("server.crt: without 'Example Policy' signed by 'Example Root' and with 'Example Policy'")
    assert server.served() == leaf
    assert server.converge().changes == []


def test_a_server_that_shows_these_files_already_keeps_them(server: Server, keeper: Keeper) -> None:
    leaf = keeper.renew()
    keeper.directory.chmod(0o755)
    server.cluster.serve(keeper.certificate, keeper.key, keeper.certificate)
    assert server.served() == leaf
    done = server.converge()
    assert done.changes[0] == "certificate: no_certificate"
    assert not [one for one in done.warnings if "verify" in one], "nothing is lost for its clients"
    assert server.served() == leaf
    assert server.cluster.psql("SHOW ssl_cert_file").startswith(str(server.directory))
    assert server.converge().changes == []
    server.restart()


def test_where_only_the_log_could_prove_it_and_cannot_be_read_nothing_changes(server: Server, keeper: Keeper) -> None:
    keeper.renew()
    server.cluster.serve(keeper.certificate, keeper.key, keeper.certificate)
    server.cluster.append("postgresql.conf", "lc_messages = 'C'\nlog_min_messages = panic\nlog_destination = syslog\n")
    server.cluster.psql("SELECT pg_reload_conf()")
    refuse(server, "only its log can show that it loads the change, and its log cannot be read here")


def wrong_name(keeper: Keeper) -> None:
    keeper.renew(names=("localhost", "db2.example"))


def expired(keeper: Keeper) -> None:
    keeper.renew(start=TODAY - 20 * DAY, days=19)


def not_yet(keeper: Keeper) -> None:
    keeper.renew(start=TODAY + 3 * DAY)


def clients_only(keeper: Keeper) -> None:
    keeper.renew(usages=[ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string])


def another_root(keeper: Keeper) -> None:
    keeper.renew(issuer=companies.authority("Other Root", start=TODAY - 20 * DAY))


def no_chain(keeper: Keeper) -> None:
    key = rsa.generate_private_key(65537, 2048)
    keeper.put(key, keeper.issued(key)[:1])


def forged_chain(keeper: Keeper) -> None:
    """Change the last bit of a certificate: only its signature tells."""
    key = rsa.generate_private_key(65537, 2048)
    leaf, *above = keeper.issued(key)
    encoded = leaf.public_bytes(Encoding.DER)
    keeper.put(key, [x509.load_der_x509_certificate(encoded[:-1] + bytes([encoded[-1] ^ 1])), *above])


def swapped_key(keeper: Keeper) -> None:
    keeper.put(rsa.generate_private_key(65537, 2048), keeper.issued(rsa.generate_private_key(65537, 2048)))


def ca_first(keeper: Keeper) -> None:
    key = rsa.generate_private_key(65537, 2048)
    keeper.put(key, keeper.issued(key)[::-1])


def no_key(keeper: Keeper) -> None:
    keeper.key.unlink()


def no_file(keeper: Keeper) -> None:
    keeper.certificate.unlink()


def half_file(keeper: Keeper) -> None:
    keeper.certificate.write_bytes(keeper.certificate.read_bytes()[:700])


def directory(keeper: Keeper) -> None:
    keeper.key.unlink()
    keeper.key.mkdir()


def encrypted_key(keeper: Keeper) -> None:
    key = rsa.generate_private_key(65537, 2048)
    keeper.put(key, keeper.issued(key), PASSPHRASE)


UNFIT: dict[Callable[[Keeper], None], tuple[str, ...]] = {
    wrong_name: ("it lacks the names 127.0.0.1 (its alternative names: localhost, db2.example)",),
    expired: ("it expired 1d ago",),
    not_yet: ("it is not valid for another 3d",),
    clients_only: ("its extended key usage has no serverAuth",),
    another_root: ("no chain in it leads from issuer 'Other Root' to a root that clients trust ('Example Root')",),
    no_chain: ("no chain in it leads from issuer 'Example Issuing 1' to a root",),
    forged_chain: ("certificate signature failure",),
    swapped_key: ("tls.key does not belong to", "tls.crt, or one of them is damaged: key values mismatch"),
    ca_first: ("expected the server's certificate first, found the CA 'Example Policy'",),
    no_key: ("existing.key: ", "tls.key: expected a file, found none"),
    no_file: ("existing.certificate: ", "tls.crt: expected a file, found none"),
    directory: ("tls.key: expected a regular file, found another kind",),
    encrypted_key: ("has a passphrase, which the server cannot get at a reload: ssl_passphrase_command is not set",),
}


@pytest.mark.parametrize("broken", UNFIT)
def test_what_does_not_fit_is_refused_by_name_and_what_is_in_use_stays(
    server: Server, keeper: Keeper, broken: Callable[[Keeper], None]
) -> None:
    leaf = keeper.renew()
    server.converge()
    broken(keeper)
    refuse(server, *UNFIT[broken])
    assert server.served() == leaf
    if keeper.key.is_dir():
        keeper.key.rmdir()
    assert keeper.renew() != leaf
    assert server.converge().changes == ["certificate: file_changed"], "the remedy helps"


def test_all_differences_are_named_at_once(server: Server, keeper: Keeper) -> None:
    keeper.renew(names=("db2.example",), start=TODAY - 20 * DAY, days=19, usages=["1.3.6.1.5.5.7.3.2"])
    refuse(server, "it expired 1d ago; it lacks the names localhost, 127.0.0.1", "; its extended key usage has no")


def test_a_wildcard_covers_a_name_and_a_certificate_without_usages_is_for_all(server: Server, keeper: Keeper) -> None:
    keeper.renew(names=("*.shop.example", "127.0.0.1"), usages=())
    refuse(server, "it lacks the names shop.example, a.b.shop.example", names=["shop.example", "a.b.shop.example"])
    assert server.converge(names=["db1.shop.example", "127.0.0.1"]).changes
    assert server.converge(names=["db1.shop.example", "127.0.0.1"]).changes == []


def test_half_a_file_is_refused(server: Server, keeper: Keeper) -> None:
    keeper.renew()
    half_file(keeper)
    with pytest.raises(TlsError, match=r"existing\.certificate: \S+tls\.crt: expected PEM certificates, found 700"):
        server.converge()


def test_a_certificate_that_nobody_renews_fails_runs_in_time_and_holds_nothing_else_up(
    server: Server, keeper: Keeper
) -> None:
    leaf = keeper.renew(start=TODAY - 76 * DAY, days=90)
    done = server.converge()
    assert done.late is not None
    assert "this certificate ends in 14d" in done.late.message
    assert "nobody has renewed it: expected one with at least 15d left" in done.late.message
    assert server.served() == leaf
    again = server.converge(hba=f"hostssl postgres app samenet cert\n{HBA}")
    assert again.changes == ["pg_hba.conf: changed"]
    assert again.late is not None
    assert server.converge(renew_before="10d").late is None
    keeper.renew()
    assert server.converge().late is None


def test_another_root_is_taken_only_if_that_is_confirmed(server: Server, keeper: Keeper) -> None:
    former = keeper.renew()
    server.converge()
    other = companies.authority("Other Root", start=TODAY - 20 * DAY)
    both = keeper.company.root.pem + other.pem
    coming = keeper.renew(issuer=other)
    refuse(server, "its root is 'Other Root', and the certificate in use is from 'Example Issuing 1'", roots=both)
    assert server.served() == former
    assert server.converge(roots=both, renew=True).changes == ["certificate: file_changed"]
    assert server.served() == coming
    assert server.converge(roots=both, renew=True).changes == [], "a confirmation renews nothing"


def test_a_certificate_of_our_own_and_one_of_others_follow_each_other(server: Server, keeper: Keeper) -> None:
    keeper.renew()
    given = dict(server.options)
    server.options.clear()
    ours = server.settle()
    server.options.update(given)
    assert ours.leaf is not None
    refuse(server, "Clients that trust only the former root would be shut out")
    assert server.converge(renew=True).changes[0] == "certificate: file_changed"
    server.options.clear()
    with pytest.raises(TlsError, match="Hosts that still trust the old authorities would be shut out"):
        server.converge()
    assert server.settle(renew=True).changes
    assert server.settle().changes == []


def test_a_self_signed_certificate_is_its_own_root(server: Server, keeper: Keeper) -> None:
    """Make one by the commands of PostgreSQL's documentation, with the names that clients use."""
    command = ["openssl", "req", "-new", "-x509", "-days", "365", "-nodes", "-out", keeper.certificate]
    command += ["-keyout", keeper.key, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    roots = keeper.certificate.read_text()
    now = int(time.time())
    assert server.converge(roots=roots, now=now).changes
    assert server.converge(roots=roots, now=now).changes == []


def commanded(server: Server, command: str) -> None:
    server.ssl.update(ssl_passphrase_command=command, ssl_passphrase_command_supports_reload="on")


def test_a_key_with_a_passphrase_works_where_the_server_can_get_it_at_a_reload(server: Server, keeper: Keeper) -> None:
    encrypted_key(keeper)
    refuse(server, "ssl_passphrase_command is not set")
    server.ssl["ssl_passphrase_command"] = f"echo {PASSPHRASE}"
    refuse(server, "ssl_passphrase_command_supports_reload is off")
    commanded(server, "echo wrong")
    refuse(server, "tls.key has another passphrase than ssl_passphrase_command says")
    commanded(server, f"echo {PASSPHRASE} >&2; exit 1")
    refuse(server, "ssl_passphrase_command ended with status 1 as OS user")
    commanded(server, f"echo {PASSPHRASE}")
    assert server.converge().changes
    assert server.converge().changes == server.converge(check_mode=True).changes == []
    assert PASSPHRASE.encode() not in (server.directory / "current" / "server.key").read_bytes()
    encrypted_key(keeper)
    assert server.converge().changes == ["certificate: file_changed"]
    server.restart()
    assert server.roll_back().changes
    assert server.converge(kind=removal.Removal).changes, "its own settings have no TLS"


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone reads for others")
def test_nobody_can_have_root_read_another_file(server: Server, keeper: Keeper) -> None:
    keeper.renew()
    planted = server.cluster.home / "planted"
    planted.mkdir()
    shutil.chown(planted, server.cluster.account)
    for name in ("tls.crt", "tls.key"):
        (planted / name).symlink_to(keeper.directory / name)
    existing = {"certificate": str(planted / "tls.crt"), "key": str(planted / "tls.key")}
    refuse(server, "could have root read another file, because that user may change", str(planted), existing=existing)
    (keeper.directory / "link").symlink_to("tls.key")
    given = {"certificate": str(keeper.certificate), "key": str(keeper.directory / "link")}
    keeper.directory.chmod(0o777)
    refuse(server, f"because that user may change {keeper.directory}.", existing=given)
    keeper.directory.chmod(0o700)
    assert server.converge(existing=given).changes
