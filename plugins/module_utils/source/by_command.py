# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates from a program of the inventory's author, which speaks to whatever CA it likes.

It reads all requests of a task from its standard input as one JSON object, and answers with one. The page "Which source
for whom" describes both. What comes back is checked like the answer of every other source.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.authority.requests import Request
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.source import answers, programs
from ansible_collections.pgops.tls.plugins.module_utils.source.contract import Signed, Trust
from ansible_collections.pgops.tls.plugins.module_utils.source.with_program import WithProgram
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

_KEYS = ("chains", "refused", "waiting")


class _Answer(NamedTuple):
    """What a program says, by the ids of requests."""

    chains: Mapping[str, str]
    refused: Mapping[str, str]
    waiting: Mapping[str, str]

    def count(self, id_: str) -> int:
        """Return how many answers a request has."""
        return sum(id_ in one for one in self)


class Command(WithProgram):
    """One program, which is called once for all requests."""

    def _signed(self, requests: Sequence[Request], lifetime: int, trust: Trust, clock: Callable[[], int]) -> Signed:
        answer = self._ask(requests, lifetime)
        chains: dict[str, Sequence[Certificate]] = {}
        refused: dict[str, str] = {}
        waiting: dict[str, str] = {}
        for request in requests:
            try:
                if request.id in answer.waiting and answer.count(request.id) == 1:
                    waiting[request.id] = f"{request.id}: {programs.quoted(answer.waiting[request.id])}"
                else:
                    chains[request.id] = self._chain(request, answer, trust, clock())
            except TlsError as error:
                refused[request.id] = error.message
        return Signed(chains, refused, waiting)

    def _ask(self, requests: Sequence[Request], lifetime: int) -> _Answer:
        question = {
            "authority": self.authority,
            "lifetime": lifetime,
            "requests": [_described(request) for request in requests],
        }
        found = programs.ask(self._argv, question, self._option, self._patience)
        if not _is_answer(found):
            raise TlsError(
                f"{self._option}: expected {', '.join(_KEYS)} in the answer of {self._argv[0]}, each with texts by the "
                f"ids of requests, found {shown(sorted(found))}, or other values than texts.",
                remedy="Correct the program. No certificate of this answer is used.",
                code="source_answer_invalid",
            )
        answer = _Answer(*(found.get(key, {}) for key in _KEYS))
        known = {request.id for request in requests}
        unknown = sorted({id_ for one in answer for id_ in one}.difference(known))
        if unknown:
            raise TlsError(
                f"{self._option}: {self._argv[0]} answers for {shown(unknown[0])}, which is not the id of a request.",
                remedy="Correct the program. No certificate of this answer is used.",
                code="source_answer_unknown_id",
            )
        return answer

    def _chain(self, request: Request, answer: _Answer, trust: Trust, now: int) -> list[Certificate]:
        place = f"requests[{request.id}]"
        if answer.count(request.id) != 1:
            raise TlsError(
                f"{place}: expected one answer of {self._argv[0]}, found {answer.count(request.id)}.",
                remedy=f"Have it put each id into exactly one of {', '.join(_KEYS)}.",
                code="source_answer_missing",
            )
        if request.id in answer.refused:
            said = programs.sentence(programs.quoted(answer.refused[request.id]))
            raise TlsError(f"{place}: {self._argv[0]} refuses it: {said}", code="source_refused")
        try:
            return answers.chain(answer.chains[request.id], request, trust, now)
        except TlsError as error:
            raise TlsError(
                f"{place}: {self._argv[0]} returned something else: {error.message}",
                remedy="Correct the program, or the profile of its CA.",
                code="source_issued_other",
            ) from error


def _described(request: Request) -> dict[str, Any]:
    """Return what a program has to know of a request."""
    names = request.holder.names
    return {
        "id": request.id,
        "csr": request.csr,
        "common_name": request.holder.common_name,
        "dns": [one.value for one in names if one.kind == "dns"],
        "ip": [one.value for one in names if one.kind == "ip"],
        "usage": "serverAuth" if request.authority == profiles.SERVER else "clientAuth",
        "replaces": request.replaces,
    }


def _is_answer(found: Mapping[str, Any]) -> bool:
    return all(
        key in _KEYS and isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
        for key, value in found.items()
    )
