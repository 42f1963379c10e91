"""`auth whoami`, `auth can-i`, `auth rules`: whom the daemon takes the caller for, what he may do, and why."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import trio

from jobd.core import names, rules
from jobd.rpc.context import Context, Refused
from jobd.rpc.people import uid_in
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.rules import Who


def whoami(context: Context, _: m.AuthWhoami) -> m.Identity:
    """Whom the daemon takes the caller for."""
    return context.identity()


async def can_i(context: Context, request: m.AuthCanI) -> None:
    """Whether somebody may do something, and by which rule. Says nothing of whether there is such a job."""
    if request.action not in rules.VERBS:
        meant = names.closest(request.action, rules.VERBS)
        hint = f"did you mean {meant!r}?" if meant else "jobd.toml(5) has them all"
        whom = repr(request.user) if request.user else "you"
        text = f"cannot say whether {whom} may {request.action!r}: no rule is about that; {hint}"
        raise Refused(errors.INVALID, text, action=request.action)
    who = await _who(context, request.user)
    daemon = rules.VERBS[request.action] not in rules.OF_JOBS
    if daemon and request.job:
        raise Refused(errors.INVALID, f"{request.action} is not about a job: {request.job!r}", action=request.action)
    owner, job = None, ""
    if request.job:
        key = context.key(request.job)
        if key is None:
            raise Refused(errors.NOT_FOUND, f"cannot find the owner of {request.job!r}", job=request.job)
        owner, job = key
        await context.learn_names(context.access.people.unknown((), [owner]))  # rules for others may name him
    decision = context.access.decide(who, request.action, owner, job)
    await context.connection.reply(
        request.id,
        m.Decision(
            action=request.action,
            uid=who.uid,
            allowed=decision.allowed,
            visible=decision.visible,
            rule=decision.rule,
            job=request.job,
            owner=owner,
        ),
    )


async def _who(context: Context, word: str) -> Who:
    """The caller, or somebody else for an administrator: with the groups that he would have if he logged in now."""
    own = context.who
    if not word or uid_in(word) == own.uid:
        return own
    if not own.is_admin:
        raise Refused(errors.DENIED, f"cannot tell what {word!r} may do: that is for administrators", user=word)
    found = await trio.to_thread.run_sync(_account, word, abandon_on_cancel=True)
    if found is None:
        raise Refused(errors.NOT_FOUND, f"cannot find user {word!r}", user=word)
    return context.access.who(*found)


def _account(word: str) -> tuple[int, tuple[int, ...]] | None:
    """Uid and groups as the system has them; a uid without a name has none. May block."""
    uid = uid_in(word)
    try:
        entry = pwd.getpwnam(word) if uid is None else pwd.getpwuid(uid)
    except (KeyError, ValueError, OverflowError):
        return None if uid is None else (uid, ())
    return entry.pw_uid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))


def rules_in_force(context: Context, _: m.AuthRules) -> m.Rules:
    """The rules that concern the caller; all of them for an administrator."""
    who, policy = context.who, context.access.policy
    shown = [rule for rule in policy.allow if who.is_admin or rules.concerns(rule, who)]
    views = [
        m.RuleView(
            line=rule.line,
            users=list(rule.users),
            groups=list(rule.groups),
            actions=list(rule.actions),
            owners=list(rule.owners),
            jobs=list(rule.jobs),
        )
        for rule in shown
    ]
    return m.Rules(rules=views, file=policy.file, error=context.world.configuration.error if who.is_admin else "")
