# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that lead from an OS user's files to their target: a pure decision on what was found."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import leftovers, service_file, user_files
from ansible_collections.pgops.tls.plugins.module_utils.client.home import (
    CERTIFICATE,
    CLIENTS,
    DERIVED,
    KEY,
    LISTS,
    MANIFEST,
    SECRET,
    TRUST,
    TRUSTSTORE,
    HomeFiles,
)
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.client.user_files import Credential
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_chain, read_pem

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client import managed
else:
    managed = lazy_import("client.managed")


class Layout(NamedTuple):
    """What the files outside the generations must be: the default links, and the service file (path, bytes).

    ``former``: links that go, each with the file that comes back (None: there was none).
    """

    links: Mapping[str, str]
    service_path: str
    service: bytes | None
    former: Mapping[str, str | None] = {}


class Needs(NamedTuple):
    """Why new certificates are needed, by identity, and the identities for which none arrived yet.

    ``shortened`` says what the other chains will lose, in words.
    """

    reasons: Mapping[str, list[str]]
    waiting: list[Identity]
    shortened: Sequence[str] = ()


class Plan(NamedTuple):
    """What is to be done for one OS user.

    ``reasons`` say, by identity, why a certificate is needed; ``waiting`` are those that have none yet. ``generation``
    is whether a new generation is needed, ``changes`` everything in words. ``left``: the generation that is rolled back
    from, '' for any other change. ``former``: links that go, as in a layout. ``hooks``: the identities whose
    ``after_change`` has to run.
    """

    reasons: Mapping[str, list[str]]
    waiting: list[Identity]
    generation: bool
    links: Mapping[str, str]
    service: bytes | None
    directories: list[str]
    changes: list[str]
    left: str = ""
    former: Mapping[str, str | None] = {}
    hooks: Sequence[Identity] = ()


def fitted(credential: Credential, identity: Identity, target: Target, now: int) -> Credential:
    """Return a credential whose chain is accepted by every server that trusts the identity's authority for logins."""
    authority = target.issuer(identity)
    chain = read_pem(credential.chain.decode("ascii", "replace"), CERTIFICATE)
    coming = chains.fitting(chain, authority.issuing, authority.roots, now)
    return credential if coming == chain else credential._replace(chain=chains.pem(coming))


def shortened(
    identities: Sequence[Identity], needed: Mapping[str, list[str]], found: HomeFiles, target: Target, now: int
) -> list[str]:
    """Return what the chains of certificates that stay will lose, in words."""
    changes = []
    for one in identities:
        credential = None if needed.get(one.name) else user_files.installed(found, one.name)
        coming = fitted(credential, one, target, now) if credential is not None else None
        if credential is not None and coming is not None and coming is not credential:
            before, after = (read_pem(each.chain.decode("ascii"), CERTIFICATE) for each in (credential, coming))
            changes.append(f"{one.id}: {CERTIFICATE} {chains.difference(before, after)}")
    return changes


def reasons(identity: Identity, found: HomeFiles, target: Target, now: int) -> list[str]:
    """Return why an identity needs a new certificate. ``now`` is in Unix seconds."""
    chain = found.contents.get(f"{identity.name}/{CERTIFICATE}")
    present = due.Present(read_chain(chain, CERTIFICATE), chain is not None, f"{identity.name}/{KEY}" in found.contents)
    is_answered = identity.id in target.certificates and not came(identity, found, target)
    forced = target.is_asked(identity) and not is_answered
    return due.needed(present, target.spec(identity, forced=forced), now)


def key_in_use(identity: Identity, found: HomeFiles, target: Target, why: Sequence[str]) -> bytes | None:
    """Return the public half of the key that stays with the next certificate; None when that needs a new key.

    ``why`` are the reasons for the next certificate. A key whose owner or mode was wrong may be known to others.
    """
    credential = user_files.installed(found, identity.name)
    is_exposed = any(f"{identity.name}/{file}" in found.faults for file in SECRET)
    if credential is None or target.new_keys or is_exposed or not due.may_keep_key(why):
        return None
    return credential.leaf.public_key


def refuse_another_root(identity: Identity, found: HomeFiles, target: Target, place: str, now: int) -> None:
    """Raise TlsError when the certificate of an identity, which is in ``place``, is from authorities that are replaced.

    ``now`` is in Unix seconds. An unusable certificate does not stop the run. Nor does a requested renewal, unless the
    servers still use the old authorities. They did not when an earlier run was asked for it.
    """
    credential = user_files.installed(found, identity.name)
    may_replace = (target.renew and target.renew_to_new_root) or identity.id in target.wished
    if credential is not None and not may_replace:
        chain = read_pem(credential.chain.decode("ascii"), CERTIFICATE)
        due.refuse_another_root(chain, place, target.offer(identity), now)


def came(identity: Identity, found: HomeFiles, target: Target) -> bool:
    """Return whether a certificate that is not installed yet arrived for an identity."""
    chain, credential = target.certificates.get(identity.id), user_files.installed(found, identity.name)
    return chain is not None and not (credential and credential.leaf.der == chain[0].der)


def unanswered(
    identities: Sequence[Identity], needed: Mapping[str, list[str]], found: HomeFiles, target: Target
) -> list[Identity]:
    """Return the identities whose certificate must be requested.

    A call with certificates answers one without. An identity that became due only in between, or is due again at once,
    waits for the next run. Raises TlsError if it has no certificate until then.
    """
    open_ones = [one for one in identities if needed.get(one.name) and one.id not in target.certificates]
    if not target.is_answer:
        return open_ones
    open_ones = [one for one in open_ones if one.id not in target.later]
    for one in open_ones:
        if user_files.installed(found, one.name) is None:
            raise TlsError(
                f"certificates: there is none for {one.id}, which needs one ({', '.join(needed[one.name])}), "
                "although others arrived.",
                remedy="Check the messages of the authority, then rerun.",
                code="certificate_missing",
            )
    return []


def make(identities: Sequence[Identity], needs: Needs, found: HomeFiles, target: Target, layout: Layout) -> Plan:
    """Return the plan for one OS user."""
    needed = needs.reasons
    changes = [
        f"{one.id}: new certificate ({', '.join(needed[one.name])})" for one in identities if needed.get(one.name)
    ]
    changes += needs.shortened
    changes += _other_contents(identities, needed, found, target)
    for one in identities if found.generation is not None else ():
        changes += [] if needed.get(one.name) else _derived_in_words(one, found, target)
    generation = bool(changes)
    directories = sorted(found.directories)
    links = {path: to for path, to in layout.links.items() if found.links.get(path) != to}
    service = layout.service if layout.service != found.service else None
    changes += [found.directories[path] for path in directories]
    changes += [_link_in_words(path, to, found.links.get(path)) for path, to in links.items()]
    changes += former_in_words(layout.former)
    if service is not None:
        names = [name for one in identities for name in service_file.services(one)]
        what = f"services {', '.join(names)}" if names else "the services of this collection are removed"
        changes.append(f"{layout.service_path}: {what}")
    return Plan(
        reasons={name: why for name, why in needed.items() if why},
        waiting=needs.waiting,
        generation=generation,
        links=links,
        service=service,
        directories=directories,
        changes=changes,
        former=layout.former,
    )


def former_in_words(former: Mapping[str, str | None]) -> list[str]:
    """Return what happens to links that go, in words."""
    return [
        f"{path}: {f'{os.path.basename(kept)} is back' if kept else 'the link is removed'}"
        for path, kept in former.items()
    ]


def _other_contents(
    identities: Sequence[Identity], needed: Mapping[str, list[str]], found: HomeFiles, target: Target
) -> list[str]:
    """Return what else a new generation is needed for, in words."""
    if found.generation is None:
        return [_trust_in_words(identities, target), *_outside_in_words(identities, found, target)]
    coming = user_files.lists(target).get(LISTS)
    certified = {one.name for one in identities if one.has_certificate}
    user, kept = identities[0].os_user, {name for name in certified if not needed.get(name)}
    changes = leftovers.in_words(identities, found)
    if found.contents.get(TRUST) != user_files.trust(target):
        changes.append(_trust_in_words(identities, target))
    if found.contents.get(LISTS) != coming:
        what = "new" if LISTS not in found.contents else "changed" if coming else "removed, nothing is revoked"
        changes.append(f"{user}: {LISTS}: {what}")
    changes += _truststore_in_words(identities, found, target)
    changes += _outside_in_words(identities, found, target)
    stay = {"", *kept, *(one.name for one in identities if one.is_managed)}
    changes += [fault for path, fault in found.faults.items() if os.path.dirname(path) in stay]
    credentials = {name: user_files.installed(found, name) for name in kept}
    manifest = user_files.manifest({name: one for name, one in credentials.items() if one}, found)
    if not changes and not any(needed.values()) and found.contents.get(MANIFEST) != manifest:
        changes.append(f"{user}: {MANIFEST} does not describe its generation")
    return changes


def _outside_in_words(identities: Sequence[Identity], found: HomeFiles, target: Target) -> list[str]:
    """Return how the roots for servers outside the inventory change."""
    return managed.in_words(identities, found, managed.files(identities, target)) if target.trust else []


def _derived_in_words(identity: Identity, found: HomeFiles, target: Target) -> list[str]:
    """Return which files beside certificate and key change for an identity whose certificate stays."""
    credential = user_files.installed(found, identity.name)
    coming = user_files.derived(identity, credential, target, found) if credential else {}
    changes = []
    for file in DERIVED:
        path = f"{identity.name}/{file}"
        before, after = found.contents.get(path), coming.get(path)
        if before != after:
            what = _what(before, after)
            if file == CLIENTS and after is not None:
                trusted = target.authorities[identity.authority].trusted
                what = f"holds {', '.join(repr(one.common_name) for one in trusted)}"
            changes.append(f"{identity.id}: {file}: {what}")
    return changes


def _truststore_in_words(identities: Sequence[Identity], found: HomeFiles, target: Target) -> list[str]:
    before, after = found.contents.get(TRUSTSTORE), user_files.truststore(identities, target, found).get(TRUSTSTORE)
    return [f"{identities[0].os_user}: {TRUSTSTORE}: {_what(before, after)}"] if before != after else []


def _what(before: bytes | None, after: bytes | None) -> str:
    return "removed" if after is None else "new" if before is None else "changed"


def changed(
    identities: Sequence[Identity], needed: Mapping[str, list[str]], found: HomeFiles, coming: Mapping[str, bytes]
) -> list[str]:
    """Return the names of the identities whose files change, their trust included.

    ``coming`` are the files that will be, as far as they are known without the certificates that are ``needed``.
    """
    old, new = ({path: all_.get(path) for path in (TRUST, LISTS)} for all_ in (found.contents, coming))
    differing = {
        os.path.dirname(path) for path in {*found.contents, *coming} if found.contents.get(path) != coming.get(path)
    }
    trusts_otherwise = found.contents.get(TRUSTSTORE) != coming.get(TRUSTSTORE)
    return [
        one.name
        for one in identities
        if one.name in differing
        or needed.get(one.name)
        or (not one.is_managed and (old != new or (trusts_otherwise and one.has_truststore)))
    ]


def _trust_in_words(identities: Sequence[Identity], target: Target) -> str:
    return f"{identities[0].os_user}: {TRUST} holds {', '.join(repr(root.common_name) for root in target.roots)}"


def _link_in_words(path: str, to: str, before: str | None) -> str:
    kept = "; what was there stays beside it as .before-pgops" if before == "" else ""
    return f"{path}: link to {to}{kept}"
