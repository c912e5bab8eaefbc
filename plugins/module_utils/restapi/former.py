# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What patroni.yml said before this collection wrote to it, kept in each generation for the way back. Pure."""

from __future__ import annotations

import json
from typing import Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import FORMER, Target
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_chain

Values = Mapping[str, Mapping[str, "str | None"]]


class Former(NamedTuple):
    """The keys that this collection sets, as they were (None: not there), and the roots (PEM) that ctl trusted.

    Other members may still show certificates of these, until they have certificates of this collection.
    """

    values: Values
    trust: str = ""


def of(target: Target, found: Settings, generation: Mapping[str, bytes], own_trust: bytes) -> Former:
    """Return what to keep. ``own_trust`` is what the file holds that ctl verifies other members with, b'' for none.

    A key that names another file than ours was written by somebody else, so that is what it was.
    """
    kept = read(generation)
    values: dict[str, dict[str, str | None]] = {}
    for section, wanted in target.values.items():
        there, before = found.sections[section], kept.values.get(section, {}) if kept else {}
        values[section] = {
            key: before.get(key) if there.get(key) == path else there.get(key) for key, path in wanted.items()
        }
    return Former(values, "" if target.ends_former_trust else _trust(target, found, kept, own_trust))


def read(generation: Mapping[str, bytes]) -> Former | None:
    """Return what a generation keeps, None if it keeps nothing that can be read."""
    try:
        found = json.loads(generation[FORMER])
        values = {section: {key: keys[key] for key in keys} for section, keys in found["values"].items()}
        return Former(values, str(found["trust"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def written(former: Former) -> bytes:
    """Return the bytes of the file in a generation."""
    return (json.dumps(former._asdict(), indent=1, sort_keys=True) + "\n").encode("ascii")


def is_foreign(target: Target, found: Settings) -> bool:
    """Return whether the REST API has TLS by files of somebody else."""
    certfile = found.restapi.get("certfile")
    return certfile is not None and certfile != target.values["restapi"]["certfile"]


def _trust(target: Target, found: Settings, kept: Former | None, own_trust: bytes) -> str:
    if not is_foreign(target, found):
        return kept.trust if kept else ""
    ours = {one.der for one in target.pair.server.offer.roots}
    return "".join(one.pem for one in read_chain(own_trust, "cacert") if one.is_ca and one.der not in ours)
