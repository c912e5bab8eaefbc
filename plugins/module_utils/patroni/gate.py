# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate before every signal to Patroni: it is told to reload only while that cannot block it.

A reload that fails leaves a REST API that listens and never answers, or one that does not listen at all. The next
reload then blocks Patroni's main loop: the leader key expires, another node is promoted, and this one goes on as a
second primary. So Patroni's own Python must be able to use what patroni.yml and its environment say, and its REST API
must answer. Any answer will do: also a refusal, in HTTP or as an alert of TLS, comes from a thread that lives. A REST
API that waits at another address than patroni.yml has counts as silent, because nobody can tell it from a dead one.
"""

from __future__ import annotations

import os
import time
from typing import Callable, Iterable

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.patroni import api, process, settings
from ansible_collections.pgops.tls.plugins.module_utils.patroni.findings import RESTART
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.postgres.wire import Endpoint

Look = Callable[[], "api.Answer | None"]
_NOT_RELOADED = "It was not reloaded."
SILENCE = 15.0  # seconds without an answer after which a REST API is silent; opening its socket again takes one
_PAUSE = 0.1


def signal(patroni: Patroni, account: Account, look: Look | None = None) -> None:
    """Tell Patroni to read its file. Raises TlsError where that could block it."""
    refuse_unsafe(patroni, account, _NOT_RELOADED, look)
    process.signal_reload(patroni, account.uid)


def refuse_unsafe(patroni: Patroni, account: Account, so: str, look: Look | None = None) -> None:
    """Raise TlsError where a signal could block Patroni; ``so`` says what that means. ``look`` asks the REST API."""
    said = settings.read(patroni, account, settings.text_of(patroni))
    fault = said.faults[settings.RESTAPI]
    if fault:
        raise TlsError(
            f"{patroni.config}: Patroni cannot use section restapi{_from_environment(said)}: {fault}. With that, "
            f"a reload would end its REST API, and could end in two primaries. {so}",
            remedy="Correct that section (certfile, keyfile, cafile, ciphers), then rerun.",
            code="patroni_restapi_unfit",
        )
    at = api.endpoint(said.restapi.get("listen", ""))
    if not _answers(look or (lambda: _answer(at, said))):
        raise silent(at, so)


def silent(at: Endpoint, so: str) -> TlsError:
    """Return the error for a REST API that gives no answer; ``so`` says what that means."""
    return TlsError(
        f"Patroni's REST API ({at}) gives no answer. {so}".rstrip(),
        remedy=f"Do not reload Patroni: another reload could block it, and end in two primaries. {RESTART}",
        code="patroni_api_silent",
    )


def reload_readers(account: Account, paths: Iterable[str]) -> list[str]:
    """Tell the Patronis of an OS user that read one of these files to read it again; return who was not told, and why.

    Who has ended reads it when it starts.
    """
    read = [path for path in paths if path.endswith((".yml", ".yaml"))]
    untold = []
    for one in process.running(account.uid) if read else ():
        if os.path.realpath(one.config) in read:
            try:
                signal(one, account)
            except TlsError as error:
                untold.append(error.message)
    return untold


def _answers(look: Look) -> bool:
    deadline = time.monotonic() + SILENCE
    while look() is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def _answer(at: Endpoint, said: settings.Settings) -> api.Answer | None:
    return api.look(at, wire.observing_context(), has_tls=bool(said.restapi.get("certfile")))


def _from_environment(said: settings.Settings) -> str:
    suffixes = ("FILE", "CIPHERS")
    names = [name for name in said.environment if name.startswith("PATRONI_RESTAPI_") and name.endswith(suffixes)]
    return f" ({', '.join(names)} in its environment)" if names else ""
