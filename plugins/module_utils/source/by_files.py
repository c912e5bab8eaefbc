# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A company's CA by hand: requests go out into a directory, and certificates come back there, when they come.

An answer is known by its key, whatever its file is called. What is not as requested is refused with the difference, one
by one, and its request stays open.
"""

from __future__ import annotations

import contextlib
import os
import urllib.parse
from typing import NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import ledger, profiles
from ansible_collections.pgops.tls.plugins.module_utils.authority.requests import Request, leaf_key
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.source import (
    checking,
    earlier,
    forms,
    list_file,
    lists,
    open_requests,
    root_file,
)
from ansible_collections.pgops.tls.plugins.module_utils.source.contract import Signed, Source, Trust
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import FILES, Declared
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


class _Came(NamedTuple):
    """Everything in the directory, the CAs that may be in chains, and what answered earlier requests."""

    answers: Sequence[forms.Answer]
    roots: Sequence[Certificate]
    others: Sequence[Certificate]
    earlier: earlier.Earlier


class Files(Source):
    """One directory. ``ledger_directory`` is where the ledger is, which knows the certificates of earlier requests."""

    def __init__(self, declared: Declared, ledger_directory: str, *, are_lists_used: bool) -> None:
        super().__init__(declared)
        self._are_lists_used = are_lists_used
        self._directory = str(self.options["directory"])
        self._ledger = ledger_directory

    def trust(self, now: int) -> Trust:
        """Return what is in the file of roots, and in that of lists of revoked certificates."""
        found = root_file.trust(str(self.options["roots"]), f"{self.place}.roots", FILES)
        if "crls" not in self.options:
            return found
        place = f"{self.place}.crls"
        given = list_file.read(str(self.options["crls"]), place)
        owners = [*found.roots, *checking.below(found.roots, [*found.issuing, *self._authorities()], now)]
        held = ledger.issuers(self._ledger, self.authority, now)
        known = lists.of_holders(given, owners, held, place, now, are_used=self._are_lists_used)
        return found._replace(crls=known.crls, revoked=known.revoked, warnings=known.warnings)

    def _authorities(self) -> list[Certificate]:
        answers = forms.read_all(self._directory) if os.path.isdir(self._directory) else []
        return [one for answer in answers for one in answer.certificates if one.is_ca]

    def sign(self, requests: Sequence[Request], lifetime: int, now: int, *, is_dry: bool) -> Signed:
        """Return the certificates that have come for requests, and write out the requests of the others."""
        del lifetime  # it is the company's decision
        if not is_dry:
            files.make_directory(self._directory, 0o755)
        requests = [one if one.csr else self._as_before(one) for one in requests]
        came = self._look(requests)
        chains: dict[str, Sequence[Certificate]] = {}
        refused, waiting, changes = {}, {}, []
        open_ones = []
        for request in requests:
            try:
                if request.csr:
                    checking.refuse_other_names(request)
                    open_ones.append(request)
                found = self._chain(request, came, now)
                if found:
                    chains[request.id] = found
                else:
                    waiting[request.id] = self._in_words(request, came.earlier)
            except TlsError as error:
                refused[request.id] = error.message
        if not is_dry:
            done = [name_of(one) for one in requests if one.id in chains]
            still_open = [self._open(one, came.earlier) for one in open_ones if one.id not in chains]
            changes = open_requests.write(self._directory, still_open, done)
        return Signed(chains, refused, waiting, forms.left_out(self._directory, came.answers), changes)

    def _as_before(self, request: Request) -> Request:
        """Return a request of check mode with the key of the one that waits: its host is going to ask with that."""
        path = os.path.join(self._directory, f"{name_of(request)}.csr")
        text = (files.read(path) or b"").decode("ascii", "replace")
        with contextlib.suppress(TlsError):
            return request._replace(public_key=leaf_key(text, path))
        return request

    def _look(self, requests: Sequence[Request]) -> _Came:
        """Return what there is for some requests. Raises TlsError, OSError."""
        trust = root_file.trust(str(self.options["roots"]), f"{self.place}.roots", FILES)
        answers = forms.read_all(self._directory) if os.path.isdir(self._directory) else []
        others = [one for answer in answers for one in answer.certificates if one.is_ca]
        serials = {one.replaces for one in requests if one.replaces}
        keys, names = set(map(checking.public_key, requests)), set(map(name_of, requests))
        leaves = [
            leaf
            for answer in answers
            for leaf in answer.certificates
            if leaf.public_key in keys or _stem(answer.name) in names
        ]
        known = earlier.look(self._ledger, serials, leaves)
        return _Came(answers, trust.roots, [*others, *trust.issuing], known)

    def _chain(self, request: Request, came: _Came, now: int) -> list[Certificate]:
        """Return the chain for a request, [] if none came. Raises TlsError if only wrong ones did."""
        key, wrong = checking.public_key(request), []
        for answer in came.answers:
            for leaf in answer.leaves(key):
                if came.earlier.is_former(leaf, request.replaces):
                    continue
                if key and leaf.public_key == key:
                    try:
                        return checking.chain(request, leaf, came.others, came.roots, now)
                    except TlsError as error:
                        wrong.append(f"{answer.name}: {error.fault}")
                # One that answered an earlier request may stay, and without a key nobody knows which one a file is for
                elif key and _stem(answer.name) == name_of(request) and not came.earlier.is_recorded(leaf):
                    wrong.append(f"{answer.name}: not for the key of {name_of(request)}.csr.")
        if wrong:
            raise TlsError(
                f"{self._directory}: {' '.join(wrong)} Its host goes on as before.",
                remedy=f"Have {name_of(request)}.csr signed as it is, and replace that file.",
                code="certificate_not_as_requested",
            )
        return []

    def _open(self, request: Request, known: earlier.Earlier) -> open_requests.Open:
        kind = "server" if request.authority == profiles.SERVER else "client"
        what = open_requests.in_words(kind, checking.wanted(request))
        return open_requests.Open(name_of(request), request.csr, what, known.end(request.replaces), request.reasons)

    def _in_words(self, request: Request, known: earlier.Earlier) -> str:
        end = known.end(request.replaces)
        by_when = f"needed by {end}" if end else "it has none yet"
        return f"{os.path.join(self._directory, name_of(request))}.csr waits for its certificate ({by_when})."


def name_of(request: Request) -> str:
    """Return the name of a request's file without its ending: its id, with + for each slash. No two ids share one."""
    return urllib.parse.quote(request.id, safe="").replace("%2F", "+")


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]
