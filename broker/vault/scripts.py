"""The Lua scripts, one file each in ``lua/``, loaded once at import.

A script is one atomic step. Its keys all lie in one hash slot; its file says what it takes and answers.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    """A script's source and the SHA-1 name the store knows it by (that is the store's protocol, not a signature)."""

    name: str
    source: str
    sha: str


_loaded: Final[list[Script]] = []


def _load(name: str) -> Script:
    source = (files("broker.vault") / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    _loaded.append(Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()))
    return _loaded[-1]


RELEASE = _load("release")
RELEASE_UNDO = _load("release_undo")
CREATE = _load("create")
WRITE = _load("write")
AMEND = _load("amend")
LEASE = _load("lease")
LEASE_INTEND = _load("lease_intend")
LEASE_RENEW = _load("lease_renew")
LEASE_DROP = _load("lease_drop")
LEAD = _load("lead")
PARK = _load("park")
DISCONNECT = _load("disconnect")
REFERENCE_ISSUE = _load("reference_issue")
REFERENCE_REVOKE = _load("reference_revoke")
OUTBOX_ACKNOWLEDGE = _load("outbox_acknowledge")
JOURNAL_WRITE = _load("journal_write")
JOURNAL_TIMES = _load("journal_times")
SESSION_CREATE = _load("session_create")
SESSION_STEP = _load("session_step")
KEYRING_ADOPT = _load("keyring_adopt")
KEYRING_BEAT = _load("keyring_beat")
KEYRING_STATE = _load("keyring_state")
KEYRING_MOVE = _load("keyring_move")
KEYRING_RETIRE = _load("keyring_retire")
REWRAP = _load("rewrap")
COUNT = _load("count")
COUNT_BACK = _load("count_back")
CLIENT_WRITE = _load("client_write")
CLIENT_DELETE = _load("client_delete")
REPEAT_CLAIM = _load("repeat_claim")
REPEAT_SETTLE = _load("repeat_settle")
DEVICE_POLL = _load("device_poll")
DEVICE_LOGIN = _load("device_login")
DEVICE_REFRESH = _load("device_refresh")
DEVICE_END = _load("device_end")
CLAIM = _load("claim")
CLAIM_SETTLE = _load("claim_settle")
ADMIT = _load("admit")
ADMIT_SETTLE = _load("admit_settle")
BATCH_STEP = _load("batch_step")
BATCH_CLAIM = _load("batch_claim")
BATCH_ASIDE = _load("batch_aside")
BATCH_FORGET = _load("batch_forget")
BATCH_STAGE = _load("batch_stage")
BATCH_PUBLISH = _load("batch_publish")
BATCH_WITHDRAW = _load("batch_withdraw")
BATCH_LET_GO = _load("batch_let_go")

ALL = tuple(_loaded)
"""A connection to the store begins with loading these."""
