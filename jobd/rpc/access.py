"""Who is served, whose his jobs are, and the decision by the policy in force. Denied unless something allows it.

The caller is the kernel's numbers from accept to decision: nothing here reads a name that a client gave of himself.
"""

from __future__ import annotations

import grp
import os
from typing import Final

import trio

from jobd.core import rules
from jobd.core.policy import Policy
from jobd.core.rules import ADMIN_GROUP, Decision, Owner, Who
from jobd.host.peer import NOBODY, Peer, overflow_uid, serves_all_uids
from jobd.rpc.people import People

GROUP_SEC: Final = 2.0  # for the first look at the groups of the machine, which mostly takes a millisecond
ROOT = "root"
OWN_USER = "the daemon's own user"


class Access:
    """Decides by the caller's numbers. Reads who we are once; `replace` puts another policy in force.

    `shared`: the daemon serves all users, each with jobs of his own. Otherwise all jobs are the daemon's user's, and
    only he and root are served.
    """

    def __init__(self, policy: Policy | None = None, *, shared: bool = False) -> None:
        self.own_uid = os.geteuid()
        self.shared = shared
        self.policy = policy or Policy()
        self.generation = 0  # grows when somebody may have come to see less, or more
        self.people = People()
        self.admin_gid: int | None = None  # until it is looked up there are no administrators but root and ourselves
        self._strangers = None if serves_all_uids() else overflow_uid()

    def replace(self, policy: Policy) -> None:
        """Decide by this policy from now on. Follow with `look_up_group`, in case that has changed too."""
        self.policy = policy
        self.generation += 1

    async def begin(self, nursery: trio.Nursery) -> None:
        """Look the administrators' group up. A name service that is slow keeps nobody else from being served."""
        known = trio.Event()

        async def look_up() -> None:
            await self.look_up_group()
            known.set()

        nursery.start_soon(look_up)
        with trio.move_on_after(GROUP_SEC):
            await known.wait()

    async def look_up_group(self) -> None:
        """Look the administrators' group up, again too."""
        self.admin_gid = await trio.to_thread.run_sync(admin_gid, abandon_on_cancel=True)
        self.generation += 1

    # --- who ------------------------------------------------------------------------------------------------------
    def may_connect(self, peer: Peer) -> bool:
        """Whether this peer is served at all.

        The overflow uid is refused where it may stand for many strangers at once: in a user namespace that does not
        have a number for everybody.
        """
        if peer.uid == NOBODY or (peer.uid == self._strangers and peer.uid != self.own_uid):
            return False
        return self.shared or peer.uid in (0, self.own_uid)

    def owner_of(self, peer: Peer) -> int:
        """The uid under which this peer's jobs are kept."""
        return peer.uid if self.shared else self.own_uid

    def who(self, uid: int, groups: tuple[int, ...]) -> Who:
        """The one who asks, with what he is by himself."""
        standing = ""
        if uid == 0:
            standing = ROOT
        elif uid == self.own_uid:
            standing = OWN_USER if self.shared else rules.OWNER.rule
        elif self.admin_gid is not None and self.admin_gid in groups:
            standing = f"group {ADMIN_GROUP}"
        return Who(uid, frozenset(groups), standing)

    # --- what -----------------------------------------------------------------------------------------------------
    def decide(self, who: Who, action: str, owner: int | None, job: str = "") -> Decision:
        """Whether he may do this with the job of `owner`, or with None on the daemon."""
        whose = None if owner is None else Owner(owner, self.people.name(owner))
        return rules.decide(self.policy, who, action, whose, job)


def admin_gid() -> int | None:
    """The gid of the administrators' group, if the machine has one. Asks the system, and may block."""
    try:
        return grp.getgrnam(ADMIN_GROUP).gr_gid
    except (KeyError, OSError):
        return None
