# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can get in: what the evaluator tells of made-up rules and maps is what the server does with real connections."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.postgres import access, lexer, rule
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import Facts
from ansible_collections.pgops.tls.tests import hba_files
from ansible_collections.pgops.tls.tests.shared import IS_THOROUGH

FILE_COUNT, CONNECTIONS, SEED = 80 if IS_THOROUGH else 30, 14, 20261121  # connections for each file
ROLE_NAMES = ["app", "app", "boss", "boss", "staff", "all", "+staff", "Report", "gone"]
MEMBERS = {
    **{role: [role] for role in ("boss", "staff", "all", "+staff", "Report", "postgres")},
    "crew": ["crew", "staff"],
    "app": ["app", "crew", "staff"],
}
DATABASE_NAMES = ["postgres", "app", "shop", "staff", "all", "replication", "Shop", "/^s"]
DATABASE_WORDS = [
    "all", "all", "sameuser", "samerole", "samegroup", "replication", "shop", "app,shop", "Shop", '"all"', '"sameuser"',
    '"replication"', "/^s", '"/op$"', "/^(app|staff)$", "/s{2}|h", "/[[:upper:]]",
]  # fmt: skip
ROLE_WORDS = [
    "all", "all", "app", "+staff", "+boss", '"+staff"', '"all"', "boss,app", "/^a", r"/^\w+$", '"/ss$"', "Report",
    "+gone",
]  # fmt: skip
CLIENT_ADDRESSES = ["127.0.0.1", "127.0.0.7", "127.1.2.3", "::1"]
ADDRESS_WORDS = [
    "all", "127.0.0.1/32", "127.0.0.0/24", "127.0.0.0 255.255.0.0", "127.0.0.6/31", "::1/128", "::/0", "0.0.0.0/0",
    "samehost", "samenet", "localhost", "LOCALHOST", ".example", '"samenet"', "127.1.0.0 255.255.0.255",
]  # fmt: skip
# All that may stand for an address: as in the tests of the grammar, and so that who comes from here is meant or not
ADDRESS_FORMS = [
    *hba_files.ADDRESSES, *ADDRESS_WORDS, "127.1/32", "127.1 255.255.255.255", "0x7f.1/8", "0177.1/32",
    "2130706433/32", "127.0.0.7 0.0.0.255", "127.1.2.3 255.0.255.0", "127.1 0.0.0.3", '"127.1" "255.0.0.0"',
    "0x7f000007/32", "127.1.515/32", "127.66051/32", "10.0.0.1 128.0.0.1", "::1 ::ffff", "0:0::0:1/128", "::1%1/128",
    "fe80::1%lo ::f", "fe80::1%lo/0", '"::1" "::"', "::ffff:127.0.0.1/128", "::3/127", "::3/126", "127.1 0x7f",
]  # fmt: skip
METHOD_TEXTS = [
    "password", "cert", "cert", "cert map=people", "cert map=people", "cert map=people clientname=DN",
    "trust clientcert=verify-full", "trust clientcert=verify-ca", "password clientcert=verify-full", "reject", "trust",
    "cert map=people,clientname=DN", "trust clientcert=verify-ca,clientcert=verify-full",
]  # fmt: skip
MAP_LINES = [
    "people alice app", "people Alice boss", "people alice all", 'people alice "all"', "people boss +staff",
    "others alice app", r"people /^(.*)$ \1", r"people /^(a)l x\1pp", r"people /^CN=(\w+)$ \1", "people CN=alice boss",
    "people /^al /^bo", r"people /ice$ \1", "people OSUSER app", "people OSUSER +staff", "people /^OSUSER$ boss",
]  # fmt: skip
CERTIFICATE_ROLES = ["", "app", "boss", "alice", "all"]  # '': none
OS_USER = pwd.getpwuid(os.geteuid()).pw_name


class Clients:
    """Makes connections to one server, and tells what it logs of each."""

    def __init__(self, cluster: Any, certificates: Mapping[str, Sequence[Path]] | None = None) -> None:
        self.cluster = cluster
        self.contexts = {name: _context(*(certificates or {}).get(name, ())) for name in CERTIFICATE_ROLES}

    def told(self, attempt: access.Attempt) -> str:
        """Connect with a wrong password and return what is logged until the session begins or is refused."""
        start = self.cluster.log_path.stat().st_size
        with self._connected(attempt) as connection, connection.makefile("rwb") as stream:
            options = {"user": attempt.role, "database": attempt.database or ""}
            options.update({"replication": "true"} if attempt.is_replication else {})
            body = b"".join(f"{name}\0{value}\0".encode() for name, value in options.items() if value) + b"\0"
            stream.write(struct.pack("!ii", len(body) + 8, 196608) + body)
            stream.flush()
            kind = b""
            while kind not in (b"E", b"Z"):
                kind, size = struct.unpack("!ci", stream.read(5))
                content = stream.read(size - 4)
                if (kind, content) == (b"R", struct.pack("!i", 3)):
                    stream.write(b"p" + struct.pack("!i", 6) + b"x\0")
                    stream.flush()
        log: bytes = self.cluster.log_path.read_bytes()
        return log[start:].decode("utf-8", "replace")

    @contextlib.contextmanager
    def _connected(self, attempt: access.Attempt) -> Iterator[socket.socket]:
        if attempt.is_local:
            with socket.socket(socket.AF_UNIX) as local:
                local.connect(f"{self.cluster.socket_directory}/.s.PGSQL.{self.cluster.port}")
                yield local
            return
        address = str(attempt.address)
        target = "::1" if ":" in address else "127.0.0.1"
        with socket.create_connection((target, self.cluster.port), 10, (address, 0)) as connection:
            if not attempt.tls:
                yield connection
                return
            connection.sendall(struct.pack("!ii", 8, 80877103))
            assert connection.recv(1) == b"S"
            shown = attempt.certificate
            name = str(shown.common_name) if isinstance(shown, access.Certificate) else ""
            with self.contexts[name].wrap_socket(connection) as session:
                yield session


def _context(*files: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if files:
        context.load_cert_chain(*files)
    return context


def test_an_address_means_what_it_means_to_the_server(cluster: Any) -> None:
    rules = [f"hostnossl all role{number} {address} reject" for number, address in enumerate(ADDRESS_FORMS)]
    rules_text = "\n".join(["local postgres postgres trust", *rules, ""])
    cluster.append("postgresql.conf", "listen_addresses = '*'\n")
    cluster.write("pg_hba.conf", rules_text)
    cluster.stop("fast")
    cluster.start()
    facts = _facts(int(cluster.psql("SHOW server_version_num")) // 10000)
    declared, clients = [rule.read(line) for line in lexer.read(rules_text, facts.major)], Clients(cluster)
    matches = Counter[bool]()
    for number, form in enumerate(ADDRESS_FORMS):
        for address in filter(_is_there, CLIENT_ADDRESSES):
            attempt = access.Attempt(f"role{number}", "postgres", address=address, tls=False, certificate=False)
            decision = access.answer(declared, [], attempt, facts).decision
            assert decision is not None, f"everything is known: {attempt}\n{form}"
            told, log = expected(decision, attempt, facts.major), clients.told(attempt)
            assert re.search(told, log), f"{form} for {address}: expected {told}, found\n{log}"
            matches[decision.rule is not None] += 1
    print(f"\nAddresses on {facts.major}: {matches[True]} match, {matches[False]} do not")
    assert min(matches.values()) > len(ADDRESS_FORMS)


def test_the_rule_that_decides_is_the_one_that_the_server_uses(
    cluster: Any, server_authority: Any, client_authority: Any
) -> None:
    cluster.psql("CREATE ROLE staff; CREATE ROLE crew; CREATE ROLE app LOGIN; CREATE ROLE boss LOGIN")
    cluster.psql('CREATE ROLE "all" LOGIN; CREATE ROLE "+staff" LOGIN; CREATE ROLE "Report" LOGIN')
    cluster.psql("GRANT staff TO crew; GRANT crew TO app")
    cluster.append("postgresql.conf", "listen_addresses = '*'\n")
    cluster.serve(*server_authority.issue("server", "serverAuth", "DNS:localhost"), client_authority.root)
    cluster.stop("fast")
    cluster.start()
    dice = random.Random(SEED)  # noqa: S311
    major = int(cluster.psql("SHOW server_version_num")) // 10000
    facts, kinds = _facts(major), Counter[str]()
    clients = Clients(cluster, {name: client_authority.issue(name, "clientAuth") for name in CERTIFICATE_ROLES if name})
    addresses = [one for one in CLIENT_ADDRESSES if _is_there(one)]
    for number in range(FILE_COUNT):
        rules, maps = made_up_rules(dice, major), "\n".join(dice.sample(MAP_LINES, 5)).replace("OSUSER", OS_USER) + "\n"
        cluster.write("pg_hba.conf", rules)
        cluster.write("pg_ident.conf", maps)
        start = len(cluster.log())
        cluster.reload()
        assert "was not reloaded" not in cluster.log()[start:], rules + cluster.log()[start:]
        declared = [rule.read(line) for line in lexer.read(rules, major)]
        mappings = lexer.read(maps, major)
        for _connection in range(CONNECTIONS):
            attempt = made_up_attempt(dice, addresses)
            decision = access.answer(declared, mappings, attempt, facts).decision
            assert decision is not None, f"everything is known: {attempt}\n{rules}"
            told, log = expected(decision, attempt, major), clients.told(attempt)
            assert re.search(told, log), f"file {number}\n{rules}\n{maps}\n{attempt}\n{decision}\n{told}\n{log}"
            kinds[f"{decision.verdict} {decision.rule.method if decision.rule else ''}"] += 1
    print(f"\n{sum(kinds.values())} connections on {major}: {dict(sorted(kinds.items()))}")
    assert sum(kinds.values()) == FILE_COUNT * CONNECTIONS
    assert len(kinds) >= 8, "one kind alone would prove little"


def made_up_rules(dice: random.Random, major: int) -> str:
    """Return a text of pg_hba.conf whose first rule is for the tests themselves."""
    lines = ["local postgres postgres trust"]
    for _line in range(dice.randint(4, 12)):
        kind = dice.choice(
            ["local", "host", "hostssl", "hostssl", "hostssl", "hostnossl", "hostnogssenc", "hostgssenc"]
        )
        methods = ["peer", "peer map=people", "password", "trust"] if kind == "local" else METHOD_TEXTS
        method = dice.choice([one for one in methods if kind in ("local", "hostssl") or "cert" not in one])
        method = "password" if major < 14 and "clientname" in method else method
        words = [dice.choice(["all", dice.choice(one)]) for one in (DATABASE_WORDS, ROLE_WORDS)]
        addresses = ["all", dice.choice(ADDRESS_WORDS), dice.choice(ADDRESS_FORMS)]
        words += [] if kind == "local" else [dice.choice(addresses)]
        words.append(method)
        lines.append(" ".join([kind, *words]))
    return "\n".join([*lines, ""])


def made_up_attempt(dice: random.Random, addresses: list[str]) -> access.Attempt:
    """Return a connection of which everything is known."""
    role, is_local, tls = dice.choice(ROLE_NAMES), dice.random() < 0.15, dice.random() < 0.7
    shown = dice.choice([*CERTIFICATE_ROLES, *[role if role in CERTIFICATE_ROLES else "alice"] * 5])
    is_replication = not is_local and dice.random() < 0.1
    return access.Attempt(
        role,
        None if is_replication else dice.choice(DATABASE_NAMES),
        is_local=is_local,
        address=None if is_local else dice.choice(addresses),
        tls=False if is_local else tls,
        certificate=access.Certificate(shown, f"CN={shown}") if shown and tls and not is_local else False,
        os_user=OS_USER if is_local else None,
        is_replication=is_replication,
    )


def expected(decision: access.Decision, attempt: access.Attempt, major: int) -> str:
    """Return what the server logs where it decides likewise; it names the line, but not of every kind."""
    one = decision.rule
    if one is None:
        return "no pg_hba.conf entry for"
    if one.method == "reject":
        return "pg_hba.conf rejects"
    if one.clientcert and attempt.certificate is False:
        return "connection requires a valid client certificate"
    line = one.line.number
    if decision.verdict == access.ACCEPTED:
        names_line = major >= (17 if one.method == "trust" else 14)
        return rf"connection authenticated: .*pg_hba\.conf:{line}\)" if names_line else "connection authorized: "
    return rf"authentication failed for user[^\n]*\n(?:.*\n)?.*pg_hba\.conf\"? line {line}\b"


def _facts(major: int) -> Facts:
    """Return all that decides besides the files."""
    return Facts(major, MEMBERS, ["127.0.0.1/8", "::1/128"], {one: _name_of(one) for one in CLIENT_ADDRESSES})


def _is_there(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as one, contextlib.suppress(OSError):
        one.bind((address, 0))
        return True
    return False


def _name_of(address: str) -> str:
    """Return the name of an address that resolves back to it, as the server looks it up; '' for none."""
    with contextlib.suppress(OSError):
        name = socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
        if address in {found[4][0] for found in socket.getaddrinfo(name, None)}:
            return name
    return ""
