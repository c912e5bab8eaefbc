# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A request by Patroni's own client with files that nothing uses yet, to a server in this process.

How it makes requests depends on the libraries of the cluster's store. With python-etcd and pyOpenSSL, and without the
package idna, patronictl refuses each certificate with a DNS name, which no handshake of ours would show.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING

from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.patroni import settings
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rehearsal

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.restapi.proof import Node

_PATIENCE = 20.0  # seconds for a Python to start, to load what Patroni loads, and to ask
_PAUSE = 0.2
_SCRIPT = """
import importlib, json, sys
given = json.loads(sys.argv[1])
try:
    for name in given["stores"]:
        importlib.import_module("patroni.dcs." + name)
    from patroni.request import PatroniRequest
    client = PatroniRequest({"ctl": given["ctl"]}, False)
    client._pool.connection_pool_kw["assert_hostname"] = given["host"]
    client.request("GET", given["url"], timeout=10, retries=False)
except Exception as error:
    sys.exit(type(error).__name__ + ": " + str(error)[:300])
"""


def refuse_unfit(target: Target, node: Node, said: settings.Settings, directory: str) -> None:
    """Raise TlsError where Patroni's own client does not take the files in ``directory``."""
    api, ctl = (
        rehearsal.Pair(os.path.join(directory, one.certificate), os.path.join(directory, one.key))
        for one in target.pair.credentials
    )
    files = {"certfile": ctl.certificate, "keyfile": ctl.key, "cacert": os.path.join(directory, "root.crt")}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
        given = {"stores": said.stores, "ctl": files, "host": settings.host_of(said.address), "url": url}
        running = processes.start([node.patroni.python, "-c", _SCRIPT, json.dumps(given)], user=node.account)
        _answer(listening, rehearsal.server_context(api, target.pair.trusted_clients), running)
        done = running.finish(timeout=_PATIENCE)
    if done.status:
        words = " ".join(done.errors.split()) or "no reason"
        raise TlsError(
            f"Patroni's own client, as patronictl uses it, does not take the new files: {words}. Nothing was changed.",
            remedy="Install package idna for Patroni's Python (Debian: python3-idna). Then rerun."
            if "idna" in words
            else "Compare them with restapi.connect_address and the libraries of Patroni's Python. Then rerun.",
            code="patroni_client_unfit",
        )


def _answer(listening: socket.socket, context: ssl.SSLContext, running: processes.Running) -> None:
    """Answer one request, if one comes before the process ends."""
    listening.settimeout(_PAUSE)
    deadline = time.monotonic() + _PATIENCE
    while running.process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # nobody has come yet, or the client refuses; it says why
            connection, _address = listening.accept()
            connection.settimeout(_PATIENCE)
            with connection, context.wrap_socket(connection, server_side=True) as session:
                session.recv(65536)
                session.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
