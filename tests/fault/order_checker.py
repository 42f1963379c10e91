"""What has to become of runs that wait for others, whatever is killed: a model, and what differs from it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.fault.report import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


KINDS = ("wrong result", "doubled or lost", "too early", "out of turn")


class Step(NamedTuple):
    """A run as it was submitted."""

    key: str  # JOB#N
    job: str
    code: int  # that it exits with
    needs: tuple[tuple[str, str], ...]  # keys of runs that were submitted before, and how they are to end
    line: bool  # it waits for the live run of its job


def expected(steps: Sequence[Step]) -> dict[str, str]:
    """The result of each: `dependency` of what is never to begin."""
    found: dict[str, str] = {}
    met = {"ok": ("success",), "failed": ("exit-code", "dependency"), "any": ("success", "exit-code", "dependency")}
    for step in steps:
        begins = all(found[key] in met[condition] for key, condition in step.needs)
        found[step.key] = "dependency" if not begins else "exit-code" if step.code else "success"
    return found


def check(steps: Sequence[Step], results: Mapping[str, str], began: Sequence[str]) -> list[Problem]:
    """What is wrong.

    Args:
        steps: all that was submitted, in order.
        results: by key, from the history.
        began: keys in the order in which their programs began, from the programs themselves.
    """
    wanted = expected(steps)
    problems: list[Problem] = []
    at = {key: index for index, key in enumerate(began)}
    for step in steps:
        result, count = results.get(step.key), began.count(step.key)
        if result != wanted[step.key]:
            text = f"ended as {result} and not as {wanted[step.key]}"
            problems.append(Problem("wrong result", step.key, text))
        if count != (wanted[step.key] != "dependency"):
            problems.append(Problem("doubled or lost", step.key, f"has run {count} times"))
        problems += [
            Problem("too early", step.key, f"began before {key}, for whose end it was to wait")
            for key, _ in step.needs
            if at.get(key, -1) > at.get(step.key, len(began))
        ]
    for job in dict.fromkeys(step.job for step in steps if step.line):
        turns = [at[step.key] for step in steps if step.job == job and step.key in at]
        if turns != sorted(turns):
            problems.append(Problem("out of turn", job, "its runs did not have their turns in order"))
    return problems
