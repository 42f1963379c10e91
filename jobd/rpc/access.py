"""Who may do what. One rule a request, denied unless a rule allows it.

For now every job of a daemon belongs to the daemon's own user, and that user and root may do everything; nobody else
gets past the hello.
"""

from __future__ import annotations

import os
from typing import Final

from jobd.host.peer import Peer, overflow_uid

READ: Final = "read"  # look at jobs
CONTROL: Final = "control"  # submit, start, stop …
ADMIN: Final = "admin"  # the daemon itself
RULES: Final = (READ, CONTROL, ADMIN)


class Access:
    """Decides by the caller's uid. Reads who we are once."""

    def __init__(self) -> None:
        self.own_uid = os.geteuid()
        self._overflow = overflow_uid()

    def may_connect(self, peer: Peer) -> bool:
        """Whether this peer is served at all. The overflow uid stands for many strangers at once and is refused."""
        return peer.uid in (0, self.own_uid) and (peer.uid != self._overflow or peer.uid == self.own_uid)

    def allows(self, peer: Peer, rule: str) -> bool:
        """Whether a connected peer may do what `rule` covers."""
        return rule in RULES and self.may_connect(peer)

    def owner_of(self, _peer: Peer) -> int:
        """The uid under which this peer's jobs are kept: the daemon's own."""
        return self.own_uid
