# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renewals of servers whose certificates come days later: asked for once, and remembered until they are installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import proof
from ansible_collections.pgops.tls.plugins.module_utils.server.transaction import Outcome
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server, sign
from ansible_collections.pgops.tls.tests.shared import DAY

NAMES = ["localhost", "127.0.0.1"]
OTHER = issuing.new_authority("server", "P-256", TODAY)


def night(server: Server, **changes: Any) -> Outcome:
    """Run as the roles do while nobody has signed yet, and have the key wait for a day. Returns what was asked for."""
    asked = server.converge(**changes)
    if asked.request is not None:
        server.converge(**changes, certificate="")
        key = server.directory / "pending" / "server.key"
        os.utime(key, (TODAY - DAY, TODAY - DAY))
    return asked


def pending(server: Server) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (server.directory / "pending").iterdir()}


def failing(*_arguments: Any, **_options: Any) -> None:
    raise TlsError("It is not shown.", code="test_failed")


def moved(authority: issuing.Authority) -> dict[str, Any]:
    """Return the options of a source below another root."""
    return {"issuing": authority.issuing.pem, "roots": authority.root.pem}


def test_it_is_asked_for_once_and_installed_whenever_it_comes(managed: Server) -> None:
    before = managed.served()
    first = night(managed, renew=True)
    assert first.plan.reasons == ["forced"]
    waiting = pending(managed)
    for _night in range(2):
        assert managed.converge(check_mode=True).plan.reasons == ["forced"]
        again = night(managed)
        assert again.plan.reasons == ["forced"]
        assert pending(managed) == waiting, "what the company signs is for this key"
        assert managed.served() == before
    chain = sign(first.request or "", NAMES)
    assert managed.converge(certificate=chain).changes == ["certificate: forced"]
    assert managed.served() != before
    assert pending(managed) == {}
    assert managed.converge().changes == []


def test_all_else_converges_meanwhile(managed: Server) -> None:
    night(managed, renew=True)
    managed.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    assert managed.converge().request
    assert managed.converge(certificate="").changes == ["ssl.conf: ssl_min_protocol_version 'unset' -> 'TLSv1.3'"]
    assert night(managed).plan.reasons == ["forced"], "it is for the certificate, which is the same"


def test_a_move_below_another_root_is_agreed_to_once(managed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    there = moved(OTHER)
    with pytest.raises(TlsError, match="below another root") as failure:
        managed.converge(**there)
    assert failure.value.code == "root_changed"
    first = night(managed, renew=True, **there)
    assert night(managed, **there).plan.reasons == first.plan.reasons == ["issuer_changed", "forced"]
    monkeypatch.setitem(AUTHORITIES, "server", OTHER)
    managed.converge(**there, certificate=sign(first.request or "", NAMES))
    assert pending(managed) == {}
    assert managed.converge(**there).changes == []


def test_nobody_has_agreed_to_a_third_root_and_the_way_back_needs_no_renewal(managed: Server) -> None:
    night(managed, renew=True, **moved(OTHER))
    with pytest.raises(TlsError, match="below another root"):
        managed.converge(**moved(issuing.new_authority("server", "P-256", TODAY)))
    assert managed.converge().changes == []
    assert pending(managed) == {}


def test_an_authority_that_answers_at_once_leaves_nothing_to_remember(managed: Server) -> None:
    managed.settle(renew=True)
    assert pending(managed) == {}
    assert managed.converge().changes == []


def test_names_that_change_meanwhile_are_asked_for_with_the_same_key(managed: Server) -> None:
    night(managed, renew=True)
    waiting = pending(managed)
    more = [*NAMES, "db1.example"]
    asked = night(managed, names=more)
    assert asked.plan.reasons == ["san_missing: db1.example", "forced"]
    assert pending(managed) == waiting
    managed.converge(names=more, certificate=sign(asked.request or "", more))
    assert pending(managed) == {}
    assert managed.converge(names=more).changes == []


def test_a_key_of_another_type_is_asked_for_instead(managed: Server) -> None:
    night(managed, renew=True)
    asked = night(managed, key_type="P-384")
    assert asked.plan.reasons == ["key_type: P-256 instead of P-384", "forced"]
    managed.converge(key_type="P-384", certificate=sign(asked.request or "", NAMES))
    assert pending(managed) == {}
    assert managed.converge(key_type="P-384").changes == []


def test_one_that_cannot_be_installed_is_tried_again(managed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    first = night(managed, renew=True)
    chain = sign(first.request or "", NAMES)
    with monkeypatch.context() as patch:
        patch.setattr(proof.Prover, "tls", failing)
        with pytest.raises(TlsError, match="It is not shown"):
            managed.converge(certificate=chain)
    assert managed.converge().plan.reasons == ["forced"]
    assert managed.converge(certificate=chain).changes == ["certificate: forced"]
    assert pending(managed) == {}


def test_a_roll_back_of_settings_keeps_it_and_says_so(managed: Server) -> None:
    managed.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    managed.converge()
    night(managed, renew=True)
    outcome = managed.roll_back()
    assert outcome.next_run is not None
    assert outcome.next_run[0] == "certificate: forced"
    assert night(managed).plan.reasons == ["forced"]


def test_a_roll_back_to_another_certificate_ends_it(managed: Server) -> None:
    managed.settle(renew=True)
    night(managed, renew=True)
    assert managed.roll_back().next_run == []
    assert managed.converge().changes == []
    assert pending(managed) == {}


def test_what_is_no_wish_is_ignored_and_goes(managed: Server) -> None:
    for content in (b"", b"\xff\n", b"0" * 64):
        Path(managed.directory / "pending" / "server.renew").write_bytes(content)
        assert managed.converge().changes == []
        assert pending(managed) == {}
