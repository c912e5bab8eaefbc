# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report in Prometheus' text format (version 0.0.4), for the node exporter's textfile collector or a web server."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import CODES
from ansible_collections.pgops.tls.plugins.module_utils.report import answers, endpoints, facts, lists, replication
from ansible_collections.pgops.tls.plugins.module_utils.report.tables import OLD
from ansible_collections.pgops.tls.plugins.module_utils.verification.trust import FINDINGS


class Sample(NamedTuple):
    """One value of a metric, which is called pgops_tls_NAME."""

    name: str
    labels: Mapping[str, str]
    value: int


# Each is a gauge. What is not known is left out: a value of yesterday would look like one of today.
HELP = {
    "report_timestamp_seconds": "When the report was written.",
    "last_successful_run_timestamp_seconds": "When site.yml ended last without a failure, on all hosts.",
    "look_success": "Whether the host answered in the last run.",
    "last_look_timestamp_seconds": "When the host answered last.",
    "certificate_not_after_timestamp_seconds": "End of a certificate's life, as of the last look at its host.",
    "certificate_renewal_timestamp_seconds": "From when on site.yml renews the certificate.",
    "certificate_due": "Whether site.yml would renew the certificate now, or make it.",
    "authority_not_after_timestamp_seconds": "End of an authority's life.",
    "authority_phase": "Phase of the replacement of an authority's root.",
    "crl_next_update_timestamp_seconds": "End of a certificate revocation list.",
    "revoked_certificates_not_enforced": "Revoked certificates that hosts accept, because no list can be used.",
    "plaintext_sessions": "Live sessions over TCP without encryption.",
    "plaintext_free_looks": "Looks in a row that saw no plaintext session.",
    "old_sessions": "Live sessions on certificates that are no longer in force, by finding.",
    "replication_encrypted": "Whether the connection of a standby or subscription is encrypted.",
    "replication_certificate_not_after_timestamp_seconds": "End of the certificate in the file of such a connection.",
    "replication_finding": "Whether there is something wrong with such a connection, by finding.",
    "endpoint_trusted": "Whether a client connects to a server outside the inventory with verify-full.",
    "endpoint_not_after_timestamp_seconds": "End of the certificate of such a server.",
    "endpoint_root_not_after_timestamp_seconds": "End of the root of such a server, if the client has it.",
    "endpoint_finding": "Whether there is something wrong with such a server, or with what its client trusts.",
    "pooler_accepted_revoked_certificates": "Revoked client certificates that a pooler cannot refuse.",
}
_MOMENTS = {"report": "time", "last_successful_run": "last_successful_run"}


def text(data: Mapping[str, Any]) -> str:
    """Return a report as Prometheus reads it: the samples of a metric together, and none twice."""
    samples = list(_samples(data))
    lines = []
    for name, told in HELP.items():
        values = {_labels(one.labels): one.value for one in samples if one.name == name}
        if values:
            lines += [f"# HELP pgops_tls_{name} {told}", f"# TYPE pgops_tls_{name} gauge"]
            lines += [f"pgops_tls_{name}{labels} {value}" for labels, value in values.items()]
    return "\n".join([*lines, ""])


def _labels(labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _samples(data: Mapping[str, Any]) -> Iterator[Sample]:
    for name, key in _MOMENTS.items():
        if data.get(key):
            yield Sample(f"{name}_timestamp_seconds", {}, clock.seconds(data[key]))
    yield from _of_looks(data)
    for certificate in facts.certificates(data):
        yield from _of_certificate(certificate)
    for name, authority in data["authorities"].items():
        yield from _of_authority(name, authority)
    for host, one in data["servers"].items():
        if one["status"] == answers.OK:
            yield from _of_sessions(host, one)
    for host, server, one in replication.of(data):
        yield from _of_replication({"host": host, "connection": one["name"], **_of_cluster(server)}, one)
    yield from (sample for host, one in endpoints.of(data) for sample in _of_endpoint(host, one))
    for host, one in data["poolers"].items():
        yield Sample("pooler_accepted_revoked_certificates", {"host": host}, len(one["accepted_revoked"]))


def _of_looks(data: Mapping[str, Any]) -> Iterator[Sample]:
    for kind in answers.KINDS:
        for host, one in data[kind].items():
            labels = {"host": host, "kind": kind[:-1], **_of_cluster(one)}
            yield Sample("look_success", labels, int(one["status"] == answers.OK))
            if one["last_look"]:
                yield Sample("last_look_timestamp_seconds", labels, clock.seconds(one["last_look"]))


def _of_certificate(one: Mapping[str, Any]) -> Iterator[Sample]:
    identity = {"identity": one["id"]} if one["id"] else {}
    labels = {"host": one["host"], "kind": one["kind"], **identity, **_of_cluster(one)}
    for name in ("not_after", "renewal"):
        if one[name]:
            yield Sample(f"certificate_{name}_timestamp_seconds", labels, clock.seconds(one[name]))
    yield Sample("certificate_due", labels, int(bool(one["reasons"])))


def _of_authority(name: str, found: Mapping[str, Any]) -> Iterator[Sample]:
    for one in found["certificates"]:
        labels = {"authority": name, "kind": one["kind"], "name": one["name"]}
        yield Sample("authority_not_after_timestamp_seconds", labels, clock.seconds(one["not_after"]))
    if found["phase"]:
        yield Sample("authority_phase", {"authority": name, "phase": found["phase"]}, 1)
    for one in found["crls"]:
        labels = {"authority": name, "name": one["name"]}
        yield Sample("crl_next_update_timestamp_seconds", labels, clock.seconds(one["next_update"]))
    yield Sample("revoked_certificates_not_enforced", {"authority": name}, lists.unenforced(found))


def _of_sessions(host: str, one: Mapping[str, Any]) -> Iterator[Sample]:
    labels = {"host": host, **_of_cluster(one)}
    yield Sample("plaintext_sessions", labels, one["counts"].get("plaintext", 0))
    yield Sample("plaintext_free_looks", labels, one["plaintext"]["looks"])
    for finding in OLD:
        count = sum(finding in session["findings"] for session in one["sessions"])
        yield Sample("old_sessions", {"host": host, "finding": finding, **_of_cluster(one)}, count)


def _of_replication(labels: Mapping[str, str], one: Mapping[str, Any]) -> Iterator[Sample]:
    if one["encryption"] not in (None, replication.LOCAL):
        yield Sample("replication_encrypted", labels, int(one["encryption"] != replication.NONE))
    if one["not_after"]:
        end = clock.seconds(one["not_after"])
        yield Sample("replication_certificate_not_after_timestamp_seconds", labels, end)
    for finding in CODES:
        yield Sample("replication_finding", {**labels, "finding": finding}, int(finding in one["findings"]))


def _of_endpoint(host: str, one: Mapping[str, Any]) -> Iterator[Sample]:
    """Yield what is known of a server outside the inventory, nothing if the client host could not look."""
    if one["problem"]:
        return
    labels = {"host": host, "identity": one["id"], "endpoint": endpoints.place(one)}
    yield Sample("endpoint_trusted", labels, int(not endpoints.fails(one)))
    for name in ("not_after", "root_not_after"):
        if one[name]:
            yield Sample(f"endpoint_{name}_timestamp_seconds", labels, clock.seconds(one[name]))
    for finding in FINDINGS:
        yield Sample("endpoint_finding", {**labels, "finding": finding}, int(finding in one["findings"]))


def _of_cluster(one: Mapping[str, Any]) -> dict[str, str]:
    """Return the label of a server that is in a cluster; for Prometheus an empty label is none."""
    cluster = facts.cluster(one)
    return {"cluster": cluster} if cluster else {}
