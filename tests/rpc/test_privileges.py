"""What a submission may ask for is root's, the policy's, or the user's own."""

from __future__ import annotations

import os
import resource

import pytest

from jobd.core.policy import Policy
from jobd.core.spec import JobSpec
from jobd.rpc import privileges
from jobd.rpc.access import Access
from jobd.rpc.context import Refused
from jobd.runtime.job import Caller
from jobd.wire import errors
from tests.runtime.fakes import Bed, serving
from tests.runtime.test_registry import ended

ALICE, ROOT = Caller(61001, 61011, 5), Caller(0, 0, 6)
SPEC = JobSpec(argv=(b"true",), cwd=b"/")


def shared(**policy: object) -> Access:
    return Access(Policy(**policy), shared=True)  # type: ignore[arg-type]  # a test's own words


def refusal(settings: dict[str, str], caller: Caller, access: Access, spec: JobSpec = SPEC) -> Refused:
    def ask() -> None:
        privileges.check(settings, caller, access)
        privileges.bounded(spec, settings, caller, access)

    with pytest.raises(Refused) as caught:
        ask()
    assert caught.value.code == errors.DENIED
    return caught.value


def test_only_root_of_a_shared_daemon_says_as_whom() -> None:
    for caller, access in ((ALICE, shared()), (ALICE, Access()), (ROOT, Access())):
        for user in ("root", "daemon", "61001", "", "0day"):
            assert refusal({"user": user}, caller, access).details == {"key": "user"}
    privileges.check({"user": "daemon"}, ROOT, shared())


def test_the_group_is_the_submitters_but_never_roots_for_somebody_else() -> None:
    assert privileges.bounded(SPEC, {}, ALICE, shared()).gid == ALICE.gid
    assert privileges.bounded(SPEC, {}, ROOT, shared()).gid == 0
    assert privileges.bounded(JobSpec(argv=(b"true",), cwd=b"/", user="61002"), {}, ROOT, shared()).gid is None
    assert privileges.bounded(SPEC, {}, ALICE, Access()).gid is None


def test_negative_niceness_is_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    eager = JobSpec(argv=(b"true",), cwd=b"/", nice=-5)
    monkeypatch.setattr(os, "getpriority", lambda *_: 3)
    assert refusal({"limits.nice": "-5"}, ALICE, shared(), eager).details == {"key": "limits.nice"}
    assert privileges.bounded(eager, {}, ALICE, shared()).nice == 0  # his shell's
    assert privileges.bounded(eager, {"limits.nice": "-5"}, ROOT, shared()).nice == -5
    assert privileges.bounded(eager, {"limits.nice": "-5"}, ALICE, Access()).nice == -5  # the kernel decides
    monkeypatch.setattr(os, "getpriority", lambda *_: -7)
    assert privileges.bounded(eager, {"limits.nice": "-5"}, ALICE, shared()).nice == -5  # no more than jobd itself


def test_what_concerns_all_users_is_roots() -> None:
    for caller, access in ((ROOT, shared()), (ALICE, Access())):
        privileges.check({"essential": "true"}, caller, access)
        spared = JobSpec(argv=(b"true",), cwd=b"/", oom_score_adjust=-1)
        assert privileges.bounded(spared, {}, caller, access).oom_score_adjust == -1
    assert refusal({"essential": "true"}, ALICE, shared()).details == {"key": "essential"}
    for score in (-1, -1000):
        spared = JobSpec(argv=(b"true",), cwd=b"/", oom_score_adjust=score)
        assert refusal({}, ALICE, shared(), spared).details == {"key": "limits.oom_score_adjust"}
    given_up = JobSpec(argv=(b"true",), cwd=b"/", oom_score_adjust=1000)
    assert privileges.bounded(given_up, {}, ALICE, shared()).oom_score_adjust == 1000


def test_limits_are_no_higher_than_the_policys_or_else_jobds_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda number: (100, -1 if number == resource.RLIMIT_CORE else 1000))
    policy = Policy(rlimits={"nofile": 512, "nproc": 5000})
    asked = {
        "nofile": (1024, 4096), "core": (0, -1), "data": (-1, -1), "nproc": (4096, 4096), "stack": (8, 16),
        "cpu": (50, -1),
    }  # fmt: skip
    given = {
        "nofile": (512, 512), "core": (0, -1), "data": (1000, 1000), "nproc": (4096, 4096), "stack": (8, 16),
        "cpu": (50, 1000),
    }  # fmt: skip
    assert privileges.bounded_limits(asked, policy) == given
    # What is not asked for is inherited from the keeper, who has root's.
    assert privileges.bounded_limits({}, policy) == {"nofile": (100, 512), "nproc": (100, 1000)}
    spec = JobSpec(argv=(b"true",), cwd=b"/", rlimits=asked)
    assert privileges.bounded(spec, {}, ALICE, Access(policy, shared=True)).rlimits == given
    assert privileges.bounded(spec, {}, ROOT, Access(policy, shared=True)).rlimits == asked
    assert privileges.bounded(spec, {}, ALICE, Access(policy)).rlimits == asked


@pytest.mark.parametrize("names", [("nofile",), ("ofile",), ("nofile", "ofile"), ("ofile", "nofile")])
@pytest.mark.parametrize("policy", [{"nofile": 512}, {"ofile": 512}, {"nofile": 512, "ofile": -1}])
def test_a_limit_with_two_names_is_one(names: tuple[str, ...], policy: dict[str, int]) -> None:
    given = privileges.bounded_limits(dict.fromkeys(names, (1024, 4096)), Policy(rlimits=policy))
    assert {given[name] for name in names} == {(512, 512)}
    assert max(hard for _, hard in given.values()) == 512


async def test_what_was_submitted_before_is_brought_down_when_it_starts_again() -> None:
    async with serving(Bed()) as bed:
        for owner, limit in ((ALICE.uid, 512), (0, 4096)):
            spec = JobSpec(argv=(b"true",), cwd=b"/", rlimits={"nofile": (1024, 4096)})
            run = bed.registry.submit(owner, "web", bytes([owner % 7 + 1] * 16), spec, b"\x90", ALICE)
            await ended(bed, run)
            access = shared(rlimits={"nofile": 512})
            bounded = privileges.again(owner, access)
            again = bed.registry.rerun(run.job.row, bytes([owner % 7 + 2] * 16), ALICE, bounded=bounded)
            await ended(bed, again)
            assert again.spec.rlimits["nofile"][1] == limit
            assert bed.registry.spec(again.row.spec) == again.spec
            assert privileges.again(owner, Access(access.policy))(spec) == spec


def test_what_is_set_later_is_no_more_than_what_is_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 1000))
    monkeypatch.setattr(os, "getpriority", lambda *_: 3)
    limits = {"nofile": (2000, 3000), "core": (0, 1)}
    for asked in ({"nice": -1}, {"oom_score_adjust": -1}):
        with pytest.raises(Refused) as caught:
            privileges.changed(asked, ALICE, shared())
        assert caught.value.code == errors.DENIED
        assert privileges.changed(asked, ROOT, shared()) == asked
        assert privileges.changed(asked, ALICE, Access()) == asked
    given = privileges.changed({"nice": 0, "rlimits": limits}, ALICE, shared(rlimits={"nproc": 5}))
    assert given == {"nice": 0, "rlimits": {"nofile": (1000, 1000), "core": (0, 1)}}
    assert privileges.changed({"rlimits": limits}, ROOT, shared()) == {"rlimits": limits}
