# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Patroni's own Python makes of a changed patroni.yml, before Patroni gets to see it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni

# Only the lists leave that process: the rest holds passwords. A SIGHUP after which Patroni cannot load the certificate
# of its REST API blocks its main loop, and another node is promoted beside this one
_SCRIPT = """
import json, ssl, sys, yaml
given = json.load(sys.stdin)
try:
    before, after = (yaml.safe_load(text) for text in given["texts"])
    lists = [one["postgresql"].pop(given["name"], None) or [] for one in (before, after)]
except Exception as error:  # its text may quote a password
    sys.exit(f"it is no configuration ({type(error).__name__})")
rest = after.get("restapi") or {}
fault = ""
if rest.get("certfile"):
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(rest["certfile"], rest.get("keyfile"), rest.get("keyfile_password"))
    except Exception as error:
        fault = str(error)
print(json.dumps({"same": before == after, "lists": lists, "fault": fault}))
"""


class Side(NamedTuple):
    """A text of patroni.yml, and the rules that a list in it is to have."""

    text: str
    rules: Sequence[str]


def refuse_other_change(patroni: Patroni, account: Account, name: str, before: Side, after: Side) -> None:
    """Raise TlsError unless the two texts of the file differ in list ``name`` alone, and that has the rules given."""
    done = processes.run(
        [patroni.python, "-c", _SCRIPT],
        user=account,
        stdin=json.dumps({"name": name, "texts": [before.text, after.text]}),
    )
    if done.status:
        raise _differs(patroni, f"{done.errors.strip() or 'it failed'}")
    found: dict[str, Any] = json.loads(done.output)
    if found["fault"]:
        raise TlsError(
            f"{patroni.config}: the certificate and key of restapi cannot be loaded: {found['fault']}. With them, a "
            "reload of Patroni would end its REST API, and could end in two primaries. Nothing was changed.",
            remedy="Correct restapi.certfile and restapi.keyfile, then rerun.",
            code="patroni_restapi_unfit",
        )
    if found["lists"] != [list(before.rules), list(after.rules)]:
        raise _differs(patroni, f"{name} has other rules than expected")
    if not found["same"]:
        raise _differs(patroni, "more than the lists of rules would change")


def _differs(patroni: Patroni, why: str) -> TlsError:
    return TlsError(
        f"{patroni.config}: Patroni's own Python has read what this file would become: {why}. Nothing was changed.",
        remedy="Write postgresql.pg_hba and postgresql.pg_ident in block style, one '- RULE' a line.",
        code="patroni_config_form",
    )
