# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts answered, reduced to what a report needs, each value in the form that it must have.

A host that was taken over may answer anything. What does not have the form makes its answer one that does not count,
and leaves those of the others alone.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.replication import conninfo
from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import CODES, STANDBY
from ansible_collections.pgops.tls.plugins.module_utils.report.tables import NAMES, OLD, SHARES
from ansible_collections.pgops.tls.plugins.module_utils.verification.trust import FINDINGS

OK, FAILED, UNREACHABLE, NOT_ASKED = "ok", "failed", "unreachable", "not_asked"
_LONGEST = 1500  # characters of a text: as many as the summary of a run shows of a message
_MOST = 1000  # entries of a list
_FEW = 20  # entries of a list in an entry
_LARGEST = 2**53  # up to which JSON and Prometheus have each whole number
_NO_CERTIFICATE = {"serial": None, "not_after": None, "renewal": None, "reasons": ["no_certificate"]}


class Answer:
    """What a host answered: a status, why it is none (for a person), and facts if it is one."""

    def __init__(self, status: str, message: str = "", facts: Mapping[str, Any] | None = None) -> None:
        self.status = status
        self.message = message
        self.facts = dict(facts or {})


def of(kind: str, result: Mapping[str, Any]) -> Answer:
    """Return what a result of the module for a kind of hosts says."""
    key, read, _certificates = _READERS[kind]
    if not isinstance(result, Mapping) or not result or result.get("skipped"):
        return Answer(NOT_ASKED, "not asked in this run")
    if result.get("unreachable"):
        return Answer(UNREACHABLE, text(result.get("msg") or "unreachable"))
    if key not in result or result.get("not_asked"):  # some OS users of a client host have failed
        return Answer(FAILED, text(result.get("msg") or "it gave no result"))
    try:
        return Answer(OK, "", read(result))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        return Answer(FAILED, text(f"its answer has an unexpected form ({type(error).__name__}: {error})"))


def certificates(kind: str, facts: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the certificates in what is known of a host, each with an ``id`` that is unique on it."""
    return _READERS[kind].certificates(facts)


def text(value: object) -> str:
    """Return a text on one line, of at most 1500 characters, that can be written as UTF-8."""
    line = " ".join(str(value).split()).encode("utf-8", "replace").decode("utf-8")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _instant(value: object) -> str:
    """Return a moment since 1970 that the next report can read. Raises ValueError for anything else."""
    moment = clock.seconds(str(value))
    written = clock.instant(moment)
    if moment < 0 or clock.seconds(written) != moment:
        raise ValueError(f"{value}: not a moment since 1970")
    return written


def _count(value: Any) -> int:
    """Return a number of things. Raises ValueError for what is none, and for one that programs cannot read."""
    number = int(value)
    if not 0 <= number < _LARGEST:
        raise ValueError("not a number of things")
    return number


def _maybe(read: Any, value: object) -> Any:
    return None if value is None else read(value)


def _server_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    sessions = [_session(one) for one in result["sessions"][:_MOST]]
    return {
        "server_version": _count(result["server_version"]),
        "certificate": _maybe(_certificate, result["certificate"]),
        "counts": {text(kind): _count(count) for kind, count in list(result["counts"].items())[:20]},
        "sessions": [one for one in sessions if one["findings"]],
        "senders": [
            {"encryption": text(found["encryption"]), **{name: one[name] for name in ("role", "application", "serial")}}
            for found, one in zip(result["sessions"], sessions)
            if one["type"] == "walsender"
        ],
        "replication": _replication(result.get("replication") or {}),
        "applications": [_application(one) for one in (result.get("applications") or [])[:_MOST]],
    }


def _session(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: text(found[name] or "") for name in ("role", "database", "address", "application", "type")},
        **{name: text(found[name] or "") for name in ("protocol", "serial", "subject", "issuer")},
        "since": _instant(found["since"]),
        "findings": [finding for finding in ("plaintext", *OLD) if finding in found["findings"]],
    }


def _application(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: text(found[name] or "") for name in NAMES},
        "sessions": _count(found["sessions"]),
        **{name: SHARES[SHARES.index(found[name])] for name in ("tls", "client_certificate")},
        **{name: [text(one) for one in found[name][:_FEW]] for name in ("protocols", "ciphers", "serials", "issuers")},
    }


def _replication(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    connections = (found.get("connections") or [])[:_MOST]
    return [_connection(one, text(found["application_name"])) for one in connections]


def _connection(found: Mapping[str, Any], name_of_standby: str) -> dict[str, Any]:
    parameters = {text(name): text(value) for name, value in found["conninfo"].items()}
    host, port = (parameters.get("host") or parameters.get("hostaddr", "")), parameters.get("port", "")
    kind, name = text(found["kind"]), text(found["name"])
    by_default = name_of_standby if kind == STANDBY else name.partition("/")[2]
    return {
        "kind": kind,
        "name": name,
        "target": f"{host} port {port}" if port else host,
        "is_local": not conninfo.uses_network(parameters),
        "role": parameters.get("user", ""),
        "application": parameters.get("application_name") or by_default,
        "sslmode": parameters.get("sslmode") or "prefer",
        "status": text(found["status"]),
        "since": _maybe(_instant, found["since"]),
        "serial": _maybe(text, found["serial"]),
        "not_after": _maybe(_instant, found["not_after"]),
        "findings": [code for code in CODES if code in found["findings"]],
    }


def _certificate(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "serial": text(found["serial"]),
        "sha256": text(found["sha256"]),
        "not_after": _instant(found["not_after"]),
        "renewal": _maybe(_instant, found.get("renewal")),
        "reasons": [text(one) for one in (found.get("reasons") or [])[:_MOST]],
        "names": [text(one) for one in (found.get("names") or [])[:_MOST]],
        "is_on_disk": bool(found.get("is_on_disk", True)),
    }


def _client_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    reasons = {one["id"]: [text(reason) for reason in one["reasons"]] for one in result.get("requests") or ()}
    found = {}
    for one in result["identities"][:_MOST]:
        found[text(one["id"])] = {
            "id": text(one["id"]),
            "role": text(one["role"]),
            "os_user": text(one["os_user"]),
            "serial": _maybe(text, one["serial"]),
            "sha256": _maybe(text, one["sha256"]),
            "not_after": _maybe(_instant, one["not_after"]),
            "renewal": _maybe(_instant, one.get("renewal")),
            "reasons": reasons.get(one["id"], []),
        }
    endpoints = [_endpoint(one) for one in (result.get("endpoints") or ())[:_MOST]]
    return {"identities": list(found.values()), "endpoints": endpoints}


def _endpoint(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a client host says of a server outside the inventory; little, if it could not look."""
    refusals = [found.get("verify_ca"), *(found.get("verify_full") or {}).values()]
    return {
        **{name: text(found[name]) for name in ("id", "host", "problem")},
        "port": _count(found["port"]),
        "root": text(found.get("root") or ""),
        "roots": _count(found.get("roots") or 0),
        **{name: _maybe(_instant, found.get(name)) for name in ("not_after", "root_not_after")},
        "refused": text(next(filter(None, refusals), "")),
        "findings": [code for code in FINDINGS if code in found["findings"]],
    }


def _pooler_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the certificates of both directions; one that is missing has no serial number."""
    reasons = {one["id"]: one["reasons"] for one in result.get("requests") or ()}
    known = result["certificates"]
    return {
        "certificates": {
            name: _certificate({**known[name], "reasons": reasons.get(name, [])}) if name in known else _NO_CERTIFICATE
            for name in ("front", "back")
        }
    }


def _kit_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the certificate of a kit. One that was never made has none, and is due."""
    found = result["certificate"]
    return {"certificate": _certificate(found) if found["serial"] else None}


def _of_server(facts: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if facts.get("certificate"):
        return [{"id": "", **facts["certificate"]}]
    return [{"id": "", **_NO_CERTIFICATE}] if facts["status"] == OK else []


class _Reader(NamedTuple):
    """What reads the results of the module for a kind of hosts.

    ``key`` is in a result if the host answered, ``read`` returns its facts, ``certificates`` those that are in facts.
    """

    key: str
    read: Callable[[Mapping[str, Any]], dict[str, Any]]
    certificates: Callable[[Mapping[str, Any]], Sequence[Mapping[str, Any]]]


_READERS = {
    "servers": _Reader("sessions", _server_facts, _of_server),  # of module session_info
    "poolers": _Reader(  # of module pgbouncer
        "certificates",
        _pooler_facts,
        lambda facts: [{"id": name, **one} for name, one in facts.get("certificates", {}).items()],
    ),
    "clients": _Reader("identities", _client_facts, lambda facts: facts.get("identities", ())),  # of module client
    "kits": _Reader("certificate", _kit_facts, _of_server),  # of module client_kit
}
KINDS = tuple(_READERS)  # of hosts; a report has the hosts of each under this key
