# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until Patroni has acted on earlier signals. Real ones: ``tests/system/test_patroni_api.py``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.patroni.api import Answer
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
from ansible_collections.pgops.tls.plugins.module_utils.postgres.wire import Endpoint
from ansible_collections.pgops.tls.plugins.module_utils.restapi import proof


def turns(seen: int | str) -> Answer:
    return Answer(None, 200, json.dumps({"dcs_last_seen": seen}).encode())


def left(monkeypatch: pytest.MonkeyPatch, answers: Iterable[Answer | None]) -> list[Answer | None]:
    """Return the answers that nobody waited for."""
    coming = list(answers)

    def look(*_arguments: Any, **_options: Any) -> Answer | None:
        return coming.pop(0) if len(coming) > 1 else coming[0]

    monkeypatch.setattr(proof, "_PAUSE", 0.0)
    monkeypatch.setattr(proof, "_PATIENCE", (0.3, 0.3))
    monkeypatch.setattr(proof.api, "look", look)
    node = proof.Node(
        Patroni(1, "python3", "/x.yml"), Account("postgres", 1, 1, "/"), Endpoint("127.0.0.1", 1, 1.0), ("", "")
    )
    proof.Prover(node, None).wait_for_earlier_signals()
    return coming


def test_it_waits_for_the_turn_behind_the_one_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [None, turns(10), turns(10), turns(11), None, turns(11), turns(12), turns(13)]
    assert left(monkeypatch, looks) == [turns(13)]


@pytest.mark.parametrize("answer", [None, turns(10), turns("never"), Answer(None, 200, b"[]")])
def test_it_does_not_wait_forever(monkeypatch: pytest.MonkeyPatch, answer: Answer | None) -> None:
    assert left(monkeypatch, [answer]) == [answer]
