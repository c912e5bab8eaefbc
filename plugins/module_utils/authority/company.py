# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An issuing CA of ours below a company's root: its request out, its chain in, and the same again before it ends.

Below the root in use a new issuing CA takes over at once. Below another one it waits for the phases of a replacement,
like an own root. Below a root that is staged already it takes the place of the staged one, and waits, too.
"""

from __future__ import annotations

import os
from typing import Callable, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    issuing,
    keys,
    lineage,
    profiles,
    renewing,
    requested,
    revocation,
    rollover,
    store,
)
from ansible_collections.pgops.tls.plugins.module_utils.authority.company_request import Asked, may_stage
from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import Authority, Generation
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.authority.rollover import AuthorityOptions, Step
from ansible_collections.pgops.tls.plugins.module_utils.core import clock, durations, files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.source import open_requests, own_files

_EXTENSIONS = "CA:TRUE, pathlen:0; keyCertSign, cRLSign"


class Ask(NamedTuple):
    """A request that goes out: in words, if that is a change, and what makes it so on disk (raises OSError)."""

    changes: Sequence[str]
    apply: Callable[[], None]


class Outlook(NamedTuple):
    """What there is to do for an authority, to ask for and to warn of; ``waiting`` says for what it waits, or ''."""

    steps: Sequence[Step]
    asks: Sequence[Ask]
    warnings: Sequence[str]
    waiting: str


def outlook(asked: Asked, found: Lineage | None, place: AuthorityOptions, now: int) -> Outlook:
    """Return what there is to do for an authority, None if it has never had an issuing CA. ``now``: Unix seconds."""
    why = _why(asked, found, place.lifetime, now)
    if asked.answer is not None:
        if found is not None and asked.answer.root.der != found.current.root.der:
            if found.staged is not None and asked.answer.root.der == found.staged.root.der:
                return Outlook([_restage(asked, asked.answer, found, place)], (), (), "")
            return Outlook((), (), [_another_root(asked, asked.answer, found)], "")
        return Outlook([_accept(asked, asked.answer, found, place)], (), (), "")
    if not why:
        return Outlook((), (), (), "")
    by_when = _needed_by(found, place.lifetime)
    return Outlook((), [_ask(asked, why, by_when, place)], asked.left_out, waiting(asked, by_when))


def waiting(asked: Asked, by_when: str) -> str:
    """Return that a request waits; ``by_when`` is an instant or ''."""
    until = f"needed by {by_when}" if by_when else "nothing is issued below that root yet"
    wrong = f" What came is wrong: {' '.join(asked.wrong)}" if asked.wrong else ""
    return f"{asked.path} waits for the certificate of an issuing CA ({until}).{wrong}"


def _why(asked: Asked, found: Lineage | None, lifetime: int, now: int) -> str:
    """Return why the company has to sign a new issuing CA; '' if it does not."""
    if found is None:
        return "no_issuing_ca"
    newest = found.trusted[-1]
    if newest.company is None:
        return "own_root"
    if all(newest.root.der != root.der for root in asked.roots):
        return "root_replaced"
    if any(newest.issuing.serial in one.serials() for one in asked.lists if one.issuer == newest.issuing.issuer):
        return "revoked_by_company"
    left = newest.issuing.not_after - now
    return f"expires_in_{durations.in_words(left)}" if left < renewing.margin(newest.issuing, lifetime) else ""


def _needed_by(found: Lineage | None, lifetime: int) -> str:
    """Return from when on certificates would be cut short; '' if nothing below the company's root issues yet."""
    if found is None or found.current.company is None:
        return ""
    return clock.instant(found.current.issuing.not_after - lifetime)


def _ask(asked: Asked, why: str, by_when: str, place: AuthorityOptions) -> Ask:
    """Return the request that goes out: the one that waits, else a new one."""
    key = None if asked.csr else keys.new_key(place.key_type)
    csr = issuing.request(asked.name, key) if key is not None else asked.csr
    usage = open_requests.USAGES[profiles.purpose(asked.name)]
    what = f"issuing CA for PostgreSQL {asked.name} certificates; {_EXTENSIONS}; {usage}"
    is_out = bool(asked.csr) and os.path.exists(asked.path)

    def apply() -> None:
        if key is not None:
            requested.write(place.directory, asked.name, key, csr, place.passphrase)
        with own_files.explained(asked.place, asked.directory):
            files.make_directory(asked.directory, 0o755)
            open_requests.write(asked.directory, [open_requests.Open(asked.file, csr, what, by_when, [why])], ())

    return Ask([] if is_out else [f"write {asked.path}, the request for an issuing CA ({why})"], apply)


def _accept(asked: Asked, answer: Generation, found: Lineage | None, place: AuthorityOptions) -> Step:
    """Return the step after which an issuing CA issues that came for a root which is trusted, or the first one."""
    if asked.key is None:  # there is no answer without a request
        raise ValueError(asked.path)
    authority = Authority(
        asked.name, answer.root, None, answer.issuing, asked.key, crls=answer.crls, company=answer.company
    )
    after = lineage.new(authority)
    if found is not None:
        after = found._replace(authority=authority, numbered=(*found.numbered, answer))
    return Step(
        f"take the issuing CA of {asked.name} from the company: {rollover.in_words(answer)}",
        after,
        _done(asked, answer, place),
    )


def _restage(asked: Asked, answer: Generation, found: Lineage, place: AuthorityOptions) -> Step:
    """Return the step after which another issuing CA is staged, below the staged root. It may not issue before switch.

    Since when hosts trust that root stays: holders of kits have it already.
    """
    company = answer.company._replace(since=found.since) if answer.company else None
    staged = answer._replace(company=company)
    return Step(
        f"replace the staged issuing CA of {asked.name} by the next one from the company: {rollover.in_words(staged)}",
        found._replace(staged=staged),
        _done(asked, staged, place, store.STAGED),
    )


def _done(asked: Asked, answer: Generation, place: AuthorityOptions, to: str = "") -> Callable[[], None]:
    def apply() -> None:
        requested.complete(place.directory, asked.name, answer, to)
        with own_files.explained(asked.place, asked.directory):
            open_requests.write(asked.directory, (), [asked.file])

    return apply


def _another_root(asked: Asked, answer: Generation, found: Lineage) -> str:
    return (
        f"{asked.place}: the company has signed the issuing CA {answer.issuing.common_name!r}. Hosts do not trust its "
        f"root {answer.root.common_name!r} yet, so {found.authority.issuing.common_name!r} goes on. To let it issue, "
        "run ansible-playbook pgops.tls.rotate_ca."
    )


def stage(found: Lineage, asked: Asked, place: AuthorityOptions) -> Step:
    """Return the step to phase ``stage``. Raises TlsError if the company has to act first."""
    answer = asked.answer
    if answer is None or not may_stage(asked, found):
        raise TlsError(
            f"phase: the next root of the {asked.name} CA is a company's ({asked.place}), and nothing that it has "
            f"signed waits to be staged. Nothing was changed.{''.join(f' {one}' for one in asked.wrong)}",
            remedy=_before_stage(asked),
            code="company_must_sign",
        )
    revoked = [line for line in revocation.read(place.directory) or () if line["authority"] == asked.name]
    if revoked and "crls" not in asked.declared.options:
        raise TlsError(
            f"phase: certificates of the {asked.name} CA are revoked, and hosts that check lists want one of every CA "
            f"in a chain. Expected {asked.place}.crls, found nothing. Nothing was changed.",
            remedy="Name a file with the company's lists of revoked certificates there.",
            code="revocation_list_missing",
        )
    return Step(
        f"stage a new {asked.name} CA, which everybody is to trust before it issues: {rollover.in_words(answer)}",
        found._replace(staged=answer),
        _done(asked, answer, place, store.STAGED),
    )


def _before_stage(asked: Asked) -> str:
    if asked.csr:
        return f"Have {asked.path} signed below the new root, put the certificate beside it, run site.yml, then rerun."
    return (
        f"To move to another root of the company, put it into {asked.declared.options['roots']} in place of the old "
        "one, and run site.yml, which writes a request."
    )


def refuse_to_drop(asked: Asked) -> None:
    """Raise TlsError, since an authority in place of a dropped one could only come from the company, days later."""
    raise TlsError(
        f"drop: the issuing CA of authority {asked.name} is signed by a company ({asked.place}), which nothing here "
        "can replace at once. Nothing was changed.",
        remedy=(
            "Have the company revoke that issuing CA. To leave the company's root now, remove the entry, and rerun: an "
            "own authority takes its place."
        ),
        code="company_must_sign",
    )
