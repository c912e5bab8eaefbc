# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Patroni's own Python makes of a changed patroni.yml, before Patroni gets to see it."""

from __future__ import annotations

import json
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni

_LISTS = "postgresql.pg_hba and postgresql.pg_ident in block style, one '- RULE' a line"
# Only the lists leave that process: the rest holds passwords
_SCRIPT = """
import json, sys, yaml
given = json.load(sys.stdin)
try:
    before, after = (yaml.safe_load(text) for text in given["texts"])
    lists = [one["postgresql"].pop(given["name"], None) or [] for one in (before, after)]
except Exception as error:  # its text may quote a password
    sys.exit(f"it is no configuration ({type(error).__name__})")
print(json.dumps({"same": before == after, "lists": lists}))
"""


_KEYS_SCRIPT = """
import json, sys, yaml
given = json.load(sys.stdin)
try:
    texts = [yaml.safe_load(text) for text in given["texts"]]
    found = []
    for text in texts:
        own = {}
        for section, keys in given["wanted"].items():
            there = text.get(section) or {}
            own[section] = {key: there.pop(key, None) for key in keys}
            text[section] = there
        found.append(own)
except Exception as error:  # its text may quote a password
    sys.exit(f"it is no configuration ({type(error).__name__})")
print(json.dumps({"same": texts[0] == texts[1], "as_wanted": found[1] == given["wanted"]}))
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
    if found["lists"] != [list(before.rules), list(after.rules)]:
        raise _differs(patroni, f"{name} has other rules than expected")
    if not found["same"]:
        raise _differs(patroni, "more than the lists of rules would change")


def refuse_other_keys(
    patroni: Patroni, account: Account, before: str, after: str, wanted: Mapping[str, Mapping[str, str | None]]
) -> None:
    """Raise TlsError unless two texts of the file differ in keys of sections alone, and the second has those wanted."""
    given = {"texts": [before, after], "wanted": wanted}
    done = processes.run([patroni.python, "-c", _KEYS_SCRIPT], user=account, stdin=json.dumps(given))
    found: dict[str, Any] = json.loads(done.output) if not done.status else {}
    why = done.errors.strip() or "it failed" if done.status else ""
    why = why or ("" if found["as_wanted"] else "keys of restapi and ctl have other values than expected")
    why = why or ("" if found["same"] else "more than the keys of restapi and ctl would change")
    if why:
        raise _differs(patroni, why, "sections restapi and ctl in block style, each key on a line of its own")


def changed_meanwhile(patroni: Patroni) -> TlsError:
    """Return the error for a file that somebody has changed since it was read."""
    return TlsError(
        f"{patroni.config}: somebody changed it during this run.", remedy="Rerun.", code="file_changed_during_run"
    )


def _differs(patroni: Patroni, why: str, form: str = _LISTS) -> TlsError:
    return TlsError(
        f"{patroni.config}: Patroni's own Python has read what this file would become: {why}. Nothing was changed.",
        remedy=f"Write {form}.",
        code="patroni_config_form",
    )
