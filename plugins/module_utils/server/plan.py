# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands between a server as it is and its target: a pure decision on what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File
from ansible_collections.pgops.tls.plugins.module_utils.core.later import later
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration, lexer, settings
from ansible_collections.pgops.tls.plugins.module_utils.server import holder
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target, authorities
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509 import reissue
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_pem

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.postgres import clientcert_upgrade
    from ansible_collections.pgops.tls.plugins.module_utils.postgres.rules import Fault
else:
    clientcert_upgrade = later("postgres.clientcert_upgrade")

# The files of a generation and their permission bits; the manifest says what it was made for.
CERTIFICATE, KEY, TRUSTED, CONF = "server.crt", "server.key", "trusted-clients.crt", "ssl.conf"
LISTS = settings.LISTS_FILE  # of revoked certificates, as long as there are any
DECLARED = (TRUSTED, LISTS, CONF)  # those that hold what is declared, as it is
MODES = {CERTIFICATE: 0o644, KEY: 0o600, TRUSTED: 0o644, LISTS: 0o644, CONF: 0o644}


class Found(NamedTuple):
    """What there is: bytes and repairs of the current generation, texts of the server's files, what it serves.

    ``repairs`` says which files have a wrong owner or mode, ``unfit`` why certificate and key are of no use together.
    ``served`` is the fingerprint of the leaf that the server shows, '' when it offers no TLS, ``drift`` which settings
    it uses otherwise than its files say. ``observable``: the log would tell of a refused reload. ``major`` is the
    server's version.
    """

    generation: dict[str, bytes]
    repairs: list[str]
    config: str
    hba: str
    ident: str
    served: str
    unfit: str = ""
    drift: tuple[str, ...] = ()
    observable: bool = True
    major: int = lexer.NEWEST


class Rewrite(NamedTuple):
    """A file outside the generations that is to get another text."""

    name: str
    before: str
    after: str


class Plan(NamedTuple):
    """Why a certificate is needed, which generation to stage (None: keep it), which files to rewrite, in words.

    ``relies_on_log``: the leaf stays and cannot show that the server took the change; its log has to. ``left``: the
    generation that is rolled back from, '' for any other change.
    """

    reasons: list[str]
    contents: dict[str, bytes] | None
    config: Rewrite | None
    rules: list[Rewrite]
    changes: list[str]
    relies_on_log: bool
    left: str = ""

    @property
    def is_empty(self) -> bool:
        """Return whether everything is as declared."""
        return not self.changes


class Management(NamedTuple):
    """The local connection that must always stay: the role and the OS user that this module works as."""

    role: str
    os_user: str


def make(target: Target, found: Found, management: Management, now: int) -> Plan:
    """Return the plan that leads from ``found`` to ``target``. ``now`` is in Unix seconds. Raises TlsError."""
    chain = _chain(found)
    leaf = chain[0] if chain else None
    if chain and not target.renew:
        place = reissue.Place(f"{target.directory}/current/{CERTIFICATE}", "postgres_server_renew")
        reissue.refuse_another_root(chain, place, target.offer, now)
    reasons = reissue.reasons(leaf, target.wish, now)
    if KEY not in found.generation and leaf is not None:
        reasons.append("key_missing")
    elif leaf is not None and not reasons and reissue.issuer_of(leaf, target.issuing) not in chain:
        reasons.append("chain_incomplete")
    elif found.unfit and leaf is not None and not reasons:
        reasons.append(f"unusable: {found.unfit}")
    wanted = {TRUSTED: target.trusted_clients.encode(), CONF: target.ssl_conf.encode()}
    if target.crls:
        wanted[LISTS] = target.crls.encode()
    differing = [name for name in DECLARED if found.generation.get(name) != wanted.get(name)]
    kept = {name: content for name, content in found.generation.items() if name not in DECLARED}
    fitted = fitting(chain, target, now) if chain and not reasons else chain
    shortened = []
    if fitted != chain:
        shortened = [f"{CERTIFICATE}: {chains.difference(chain, fitted)}"]
        kept[CERTIFICATE] = chains.pem(fitted)
    config = _rewrite("postgresql.conf", found.config, _with_include(target, found))
    is_shown = leaf is not None and found.served == leaf.sha256
    relies_on_log = is_shown and not reasons and bool(differing or shortened or found.repairs or config or found.drift)
    if relies_on_log and not found.observable:
        # The leaf is what a handshake shows of a generation. Where no log tells of a refused reload, only a new leaf
        # proves that the server took the change.
        reasons.append("reload_not_observable")
    rules = [
        rewrite
        for rewrite in (
            _rewrite("pg_ident.conf", found.ident, _ident(target, found)),
            _rewrite("pg_hba.conf", found.hba, _hba(target, found, management)),
        )
        if rewrite
    ]
    stage = reasons or differing or shortened or found.repairs
    changes = [
        *(f"certificate: {reason}" for reason in reasons),
        *found.repairs,
        *shortened,
        *(difference(name, found, target) for name in differing),
        *(f"{rewrite.name}: changed" for rewrite in [config, *rules] if rewrite),
    ]
    if not stage and not is_shown:
        changes.append("reload: the server shows another certificate than the one on disk")
    if relies_on_log and not stage and not config:
        changes += [f"reload: {setting}" for setting in found.drift]
    return Plan(reasons, {**kept, **wanted} if stage else None, config, rules, changes, relies_on_log)


def contents(
    plan: Plan, target: Target, generation: str, certificate: str | None, key: bytes | None
) -> dict[str, File]:
    """Return the files of the ``generation`` to stage, with the new certificate and key if there are any."""
    conf = settings.pinned(target.ssl_conf.encode(), target.directory, generation)
    conf = holder.marked(conf, target.host)
    staged = {**(plan.contents or {}), CONF: conf}
    if certificate is not None and key is not None:
        staged[CERTIFICATE], staged[KEY] = certificate.encode(), key
    return {name: File(staged[name], mode) for name, mode in MODES.items() if name in staged}


def in_steps(rewrites: Sequence[Rewrite], major: int) -> list[Rewrite]:
    """Return the rewrites of rules and maps so that after each of them all are let in who were before or will be.

    Between two files somebody else may reload or restart the server: rules that name a map of the other side would keep
    clients out. So the maps have the lines of both sides while the rules change.
    """
    files = {rewrite.name: rewrite for rewrite in rewrites}
    if len(files) < 2:
        return list(rewrites)
    ident, rules = files["pg_ident.conf"], files["pg_hba.conf"]
    before, after = ([line.text for line in lexer.read(text, major)] for text in (ident.before, ident.after))
    lost = [line for line in before if line not in after]
    if not lost:
        return [ident, rules]
    if all(line in before for line in after):
        return [rules, ident]
    both = "\n".join([ident.after.rstrip("\n"), *lost, ""])
    return [ident._replace(after=both), rules, ident._replace(before=both)]


def lasting(faults: Iterable[Fault], rewrites: Iterable[Rewrite], paths: Mapping[str, str], major: int) -> list[Fault]:
    """Return the faults that would still be there once the files are rewritten; ``paths`` says where the files are."""
    coming = {rewrite.name: lexer.read(rewrite.after, major) for rewrite in rewrites}

    def stays(fault: Fault) -> bool:
        lines = coming.get(fault.name)
        if lines is None or not fault.text:
            return True
        if fault.file == paths[fault.name]:
            return any(line.text == fault.text for line in lines)
        return any(line.fields[:1] and line.fields[0][0].text.startswith("include") for line in lines)

    return [fault for fault in faults if stays(fault)]


def leaf_of(chain: bytes | None) -> Certificate | None:
    """Return the leaf of a chain on disk; None when there is none or it is damaged."""
    try:
        return read_pem(chain.decode("ascii", "replace"), CERTIFICATE)[0] if chain else None
    except TlsError:
        return None


def fitting(chain: Sequence[Certificate], target: Target, now: int) -> list[Certificate]:
    """Return a chain (leaf first) as clients get on with it that trust the roots of the target."""
    return chains.fitting(chain, target.issuing, authorities(target.roots, "roots"), now)


def _chain(found: Found) -> list[Certificate]:
    """Return the chain in use, leaf first; an empty one when there is none."""
    if CERTIFICATE not in found.generation:
        return []
    try:
        return read_pem(found.generation[CERTIFICATE].decode("ascii", "replace"), CERTIFICATE)
    except TlsError:
        return []  # damaged: as good as none


def _with_include(target: Target, found: Found) -> str:
    return configuration.with_include(found.config, f"{target.directory}/current/{CONF}")


def _ident(target: Target, found: Found) -> str:
    return configuration.with_block(found.ident, target.ident, "pg_ident.conf")


def _hba(target: Target, found: Found, management: Management) -> str:
    lines = target.hba
    if target.hba_mode == "replace":
        return configuration.whole_file(f"{_local_line(management)}\n{lines}")
    rest = clientcert_upgrade.upgraded(found.hba, found.major) if target.upgrade_clientcert else found.hba
    if configuration.is_whole_file(rest):  # of a run with mode replace: what is no longer declared goes
        rest = f"{_local_line(management)}\n"
    elif any(line.fields[:1] and line.fields[0][0].text == "local" for line in lexer.read(lines, found.major)):
        lines = f"{_local_line(management)}\n{lines}"
    coming = configuration.with_block(rest, lines, "pg_hba.conf")
    if not lexer.read(coming, found.major):
        raise TlsError(
            "pg_hba.conf: no rule would be left in it, and with none the server takes no file. Declare one in "
            "postgres_server_hba, or write one below the managed block."
        )
    return coming


def _local_line(management: Management) -> str:
    """Return the rule that keeps this module's own connection; it comes before every other one."""
    if management.role != management.os_user:
        raise TlsError(
            f"login_user is {management.role!r}, the server runs as OS user {management.os_user!r}: local rules of "
            "your own, and postgres_server_hba_mode replace, need both to be the same, for the rule that keeps the "
            "management connection (local all ROLE peer)."
        )
    return f"local all {lexer.word(management.role)} peer"


def _rewrite(name: str, before: str, after: str) -> Rewrite | None:
    return Rewrite(name, before, after) if before != after else None


def difference(name: str, found: Found, target: Target) -> str:
    """Return in words how a file of the generation in use (trust or settings) is to change."""
    if name == LISTS and not target.crls:
        return f"{name}: removed, nothing is revoked"
    if name != CONF or CONF not in found.generation:
        return f"{name}: {'changed' if name in found.generation else 'new'}"
    try:
        before = settings.parse(found.generation[CONF].decode("utf-8", "replace"))
    except TlsError:
        return f"{name}: damaged, made anew"
    differing = [
        f"{key} {before.get(key, 'unset')!r} -> {target.settings.get(key, 'unset')!r}"
        for key in sorted({*before, *target.settings})
        if before.get(key) != target.settings.get(key)
    ]
    return f"{name}: {', '.join(differing) or 'changed'}"
