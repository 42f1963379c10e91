"""What a submission may ask for that the kernel would give to root alone, where the keeper that makes it so is root's.

What a client sends of its own process unasked, its limits and niceness, is brought down to what its user may have: his
shell may have been given more than jobd gives. What he asks for in so many words is refused.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from jobd.core import spec as specs
from jobd.rpc.context import Refused
from jobd.wire import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobd.core.policy import Policy
    from jobd.core.spec import JobSpec
    from jobd.rpc.access import Access
    from jobd.runtime.job import Caller

Limits = tuple[int, int]

USER_KEY: Final = "user"
ESSENTIAL_KEY: Final = "essential"
NICE_KEY: Final = "limits.nice"
OOM_KEY: Final = "limits.oom_score_adjust"
ROOT: Final = 0
INFINITE: Final = -1  # resource.RLIM_INFINITY, and in messages


def check(settings: Mapping[str, str], caller: Caller, access: Access) -> None:
    """Raises Refused (DENIED), naming the key, for what is root's to ask."""
    root = access.shared and caller.uid == 0
    if USER_KEY in settings and not root:
        why = "only root may say as whom a job runs" if access.shared else "all jobs of this jobd run as its own user"
        raise Refused(errors.DENIED, f"cannot set {USER_KEY}: {why}", key=USER_KEY)
    if ESSENTIAL_KEY in settings and access.shared and not root:
        why = "only root may have jobd end for everybody"
        raise Refused(errors.DENIED, f"cannot set {ESSENTIAL_KEY}: {why}", key=ESSENTIAL_KEY)


def bounded(spec: JobSpec, settings: Mapping[str, str], caller: Caller, access: Access) -> JobSpec:
    """The spec with no more than the caller may have, and with the group for a uid without a passwd entry.

    Raises:
        Refused: DENIED, naming the key.
    """
    if not access.shared:
        return spec  # the keeper is the user's own, and the kernel decides
    if caller.uid == 0:
        return spec if spec.user else replace(spec, gid=caller.gid)
    lowest = min(0, os.getpriority(os.PRIO_PROCESS, 0))
    if spec.nice < lowest and NICE_KEY in settings:
        raise Refused(errors.DENIED, f"cannot set {NICE_KEY}: below {lowest} it is root's", key=NICE_KEY)
    if spec.oom_score_adjust is not None and spec.oom_score_adjust < 0:
        raise Refused(errors.DENIED, f"cannot set {OOM_KEY}: below 0 it is root's", key=OOM_KEY)
    limits = bounded_limits(spec.rlimits, access.policy)
    return replace(spec, gid=caller.gid, nice=max(spec.nice, lowest), rlimits=limits)


def changed(fields: Mapping[str, object], caller: Caller, access: Access) -> dict[str, object]:
    """Fields of JobSpec that are to be set, with no more than the caller may have. Raises Refused, as `bounded`."""
    if not access.shared or caller.uid == ROOT:
        return dict(fields)
    lowest = min(0, os.getpriority(os.PRIO_PROCESS, 0))
    for name, key, least in (("nice", NICE_KEY, lowest), ("oom_score_adjust", OOM_KEY, 0)):
        value = fields.get(name)
        if isinstance(value, int) and value < least:
            raise Refused(errors.DENIED, f"cannot set {key}: below {least} it is root's", key=key)
    asked = fields.get("rlimits")
    if not isinstance(asked, dict):
        return dict(fields)
    limits = bounded_limits(asked, access.policy)
    return {**fields, "rlimits": {name: limits[name] for name in asked}}


def again(owner: int, access: Access) -> Callable[[JobSpec], JobSpec]:
    """The same for what this owner has submitted before, perhaps under another policy; for Registry.rerun."""

    def bounded_now(spec: JobSpec) -> JobSpec:
        if not access.shared or owner == 0:
            return spec
        return replace(spec, rlimits=bounded_limits(spec.rlimits, access.policy))

    return bounded_now


def bounded_limits(asked: Mapping[str, Limits], policy: Policy) -> dict[str, Limits]:
    """Resource limits, none above the policy's or else jobd's own; nor is one that was not asked for.

    By their numbers: `nofile` and `ofile` are two names of one limit, and the kernel keeps what was set last.
    """
    limits = dict(asked)
    highest: dict[int, int] = {}
    for name, most in policy.rlimits.items():
        number = specs.RLIMITS[name]
        limits.setdefault(name, resource.getrlimit(number))
        highest[number] = _lower(most, highest.get(number, INFINITE))
    for name, (soft, hard) in limits.items():
        number = specs.RLIMITS[name]
        most = highest[number] if number in highest else resource.getrlimit(number)[1]
        limits[name] = _lower(soft, most), _lower(hard, most)
    return limits


def _lower(limit: int, most: int) -> int:
    if INFINITE in (limit, most):
        return most if limit == INFINITE else limit
    return min(limit, most)
