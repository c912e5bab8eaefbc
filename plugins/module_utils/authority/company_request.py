# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a company is asked to sign for an authority of ours, and what has come for it."""

from __future__ import annotations

import os
from typing import Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, keys, ledger, profiles, requested
from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import Generation
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.authority.rollover import AuthorityOptions
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.source import (
    forms,
    intermediate,
    list_file,
    own_files,
    root_file,
)
from ansible_collections.pgops.tls.plugins.module_utils.source.contract import Trust
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import OWN, Declared
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.revocations import RevocationList


class Asked(NamedTuple):
    """What a company is to sign for an authority: the request that waits, and what has come for it.

    ``csr`` is '' as long as there is none. ``answer`` is as requested, and each of ``wrong`` says what is not.
    ``lists`` are those of revoked certificates that the company has given. ``left_out`` says of other files, any of
    which may be the answer, why nobody looks at them.
    """

    declared: Declared
    roots: Sequence[Certificate]
    csr: str = ""
    answer: Generation | None = None
    key: keys.AuthorityKey | None = None
    wrong: Sequence[str] = ()
    lists: Sequence[RevocationList] = ()
    left_out: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Return the name of the authority."""
        return self.declared.authority

    @property
    def place(self) -> str:
        """Return what messages call its entry in the inventory."""
        return f"{option('sources')}.{self.name}"

    @property
    def file(self) -> str:
        """Return the name of the request's file, without its ending."""
        return f"issuing-ca-{self.name}"

    @property
    def directory(self) -> str:
        """Return where the request goes, and where the certificate comes."""
        return str(self.declared.options["directory"])

    @property
    def path(self) -> str:
        """Return the path of the request."""
        return os.path.join(self.directory, f"{self.file}.csr")

    def trust(self) -> Trust:
        """Return what to trust before there is an issuing CA."""
        return Trust(OWN, self.roots, is_shared=self.declared.is_shared)


def look(declared: Declared, place: AuthorityOptions, now: int) -> Asked:
    """Return what was asked for and what came. The caller holds the lock. Raises TlsError, OSError."""
    asked = Asked(declared, ())
    csr, lists = requested.read(place.directory, asked.name), str(declared.options.get("crls", ""))
    with own_files.explained(asked.place, asked.directory):
        found = root_file.read(str(declared.options["roots"]), f"{asked.place}.roots")
        asked = asked._replace(
            roots=[one for one in found if one.is_self_signed],
            lists=list_file.read(lists, f"{asked.place}.crls") if lists else (),
        )
        answers = forms.read_all(asked.directory) if csr and os.path.isdir(asked.directory) else []
    if not csr:
        return asked
    key = requested.key(place.directory, asked.name, place.passphrase)
    others = [*(one for answer in answers for one in answer.certificates), *found]
    wanted = intermediate.Wanted(profiles.purpose(asked.name), place.lifetime)
    right: list[intermediate.Chain] = []
    wrong = list(_not_for_it(asked, keys.public_der(key), answers, place))
    for answer in answers:
        for one in answer.certificates:
            if one.public_key == keys.public_der(key):
                try:
                    right.append(intermediate.chain(one, others, asked.roots, wanted, now))
                except TlsError as error:
                    wrong.append(f"{answer.name}: {error.fault}")
    made = _generation(right[0], key, declared, now) if right else None
    left_out = [] if right else [one for one in answers if one.problem and _stem(one) != asked.file]
    return asked._replace(
        csr=csr,
        key=key,
        answer=made,
        wrong=() if right else wrong,
        left_out=forms.left_out(asked.directory, left_out),
    )


def _not_for_it(asked: Asked, key: bytes, answers: Sequence[forms.Answer], place: AuthorityOptions) -> Iterator[str]:
    """Give what is wrong with files that have the name of the request. One that answered an earlier one may stay."""
    for answer in answers:
        keys_there = {one.public_key for one in answer.certificates}
        if _stem(answer) != asked.file or key in keys_there:
            continue
        if answer.problem:
            yield f"{answer.name}: {answer.problem}."
        elif not keys_there & requested.known_keys(place.directory, asked.name):
            yield f"{answer.name}: not for the key of {asked.file}.csr."


def _stem(answer: forms.Answer) -> str:
    return os.path.splitext(answer.name)[0]


def _generation(chain: intermediate.Chain, key: keys.AuthorityKey, declared: Declared, now: int) -> Generation:
    company = issuing.CompanyRoot(tuple(chain.above), declared.is_shared)
    lists = (issuing.own_list(chain.issuing, key, now),)
    return Generation("", chain.root, chain.issuing, crls=lists, company=company)


def coming(asked: Mapping[str, Asked], found: Mapping[str, Lineage]) -> dict[str, Trust]:
    """Return authorities with the roots that they have, or are going to have."""
    own = {name: found[name].roots if name in found else () for name in asked}
    return {name: one.trust()._replace(roots=[*one.roots, *own[name]]) for name, one in asked.items()}


def may_stage(asked: Asked, found: Lineage) -> bool:
    """Return whether there is an issuing CA below a root that is not trusted yet."""
    return asked.answer is not None and all(asked.answer.root.der != root.der for root in found.roots)


def note_shared(found: Iterable[Lineage]) -> None:
    """Note in the folders whether the companies sign for others, too. Raises OSError.

    Their roots stay trusted for a while when the inventory does not name the companies any more.
    """
    for generation in (one for each in found for one in each.trusted):
        if generation.company is not None:
            requested.note_shared(generation.folder, is_shared=generation.company.is_shared)


def unstageable(asked: Mapping[str, Asked], found: Mapping[str, Lineage]) -> list[str]:
    """Return the authorities that no new root is there for."""
    return [name for name, one in asked.items() if name in found and not may_stage(one, found[name])]


def other_root(asked: Mapping[str, Asked], found: Mapping[str, Lineage]) -> list[str]:
    """Return the authorities whose root in use is not the declared one, which is there: a company's, or an own one."""
    return [
        name
        for name, one in found.items()
        if (may_stage(asked[name], one) if name in asked else one.current.company is not None)
    ]


def unknown(absent: Iterable[str], asked: Mapping[str, Asked], directory: str) -> list[str]:
    """Return which of the authorities that are missing this directory has nothing of: it may be the wrong one.

    One waits for its first issuing CA if its request is there, or if its certificates came from a source before.
    """
    is_used = ledger.knows_sources(directory)
    return [name for name in absent if name not in asked or not (is_used or asked[name].csr)]


def not_yet(asked: Asked) -> str:
    """Return that nothing can be issued before the company has signed. Raises TlsError if what it signed is wrong."""
    if asked.wrong:
        raise TlsError(
            f"{asked.directory}: {' '.join(asked.wrong)} So the {asked.name} CA cannot issue certificates yet. Its "
            "hosts go on as before.",
            remedy=f"Have {asked.file}.csr signed as requests.txt says, and replace that file.",
            code="certificate_not_as_requested",
        )
    return f"the {asked.name} CA cannot issue it yet, because {asked.path} waits to be signed."
