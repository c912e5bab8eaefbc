"""The container is what the other system tests take it for."""

from __future__ import annotations

import os
import subprocess


def psql(query: str, port: int = 5432) -> str:
    """Return what the server answers to the superuser over its socket."""
    command = ["runuser", "-u", "postgres", "--", "psql", "--no-psqlrc", "-At", "-p", str(port), "-c", query]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout.strip()


def test_the_server_answers_over_its_socket_in_the_version_of_the_suite() -> None:
    major = int(psql("SHOW server_version_num")) // 10000
    assert str(major) == os.environ["EXPECTED_POSTGRESQL"]


def test_a_second_cluster_can_be_started_and_stopped() -> None:
    cluster = [os.environ["EXPECTED_POSTGRESQL"], "second"]
    subprocess.run(["pg_ctlcluster", *cluster, "start"], check=True)
    try:
        assert psql("SHOW cluster_name", port=5433) == "/".join(cluster)
    finally:
        subprocess.run(["pg_ctlcluster", *cluster, "stop"], check=True)
