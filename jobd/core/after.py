"""Runs that wait for the end of other runs: what was asked for, what is still waited for, and what an end decides.

Theory. `--after JOB` means the run that JOB has when that is said, and is kept as its id: what JOB is later, or whether
it is there at all, makes no difference. An end either meets a condition, which is then forgotten, or makes sure that it
is never met; then the run that waits ends with the result `dependency`, and says why. A run that could never begin is
accepted all the same, and ends so at once: who submits a chain of jobs is not to need a case for one that was faster.

`ok` is the end of a run with the result success, `failed` one that `history --state=failed` shows, `any` each. What
somebody has stopped or canceled has neither succeeded nor failed. Pure.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from jobd.core.exits import GOOD_RESULTS

OK, FAILED, ANY = "ok", "failed", "any"
CONDITIONS: Final = (OK, FAILED, ANY)
DEPENDENCY: Final = "dependency"  # the result of a run that can never begin
SUCCESS: Final = "success"
GONE: Final = "gone"  # in place of a result, of a run of which nothing is known any more
VERBS: Final = {OK: "succeed", FAILED: "fail", ANY: "end"}

# How an end is told of the run that had it: "which …".
_ENDS: Final = {
    SUCCESS: "has succeeded",
    "stopped": "was stopped",
    "canceled": "was canceled",
    "lost": "was lost",
    GONE: "is known no more",
    DEPENDENCY: "could not begin either",
}


class Need(Struct, frozen=True):
    """One condition: this run of this owner is to end so."""

    owner: int
    run: bytes
    condition: str = OK


def parse(text: str) -> tuple[str, str]:
    """The job and the condition of `JOB[:ok|:failed|:any]`.

    Raises:
        ValueError: there is no such condition, or no job; the text says so.
    """
    job, colon, condition = text.partition(":")
    if not job:
        raise ValueError(f"cannot wait for {text!r}: it names no job")
    if not colon:
        return job, OK
    if condition not in CONDITIONS:
        raise ValueError(f"cannot wait for {text!r}: after a job may come :ok, :failed or :any")
    return job, condition


def encode(needs: tuple[Need, ...], owner: int) -> str:
    """As RunRow.after of a run of this owner: `ID:ok`, and `UID/ID:ok` for others' runs; each once."""
    words = [f"{need.run.hex()}:{need.condition}" for need in needs]
    return " ".join(
        dict.fromkeys(
            word if need.owner == owner else f"{need.owner}/{word}" for need, word in zip(needs, words, strict=True)
        )
    )


def decode(text: str, owner: int) -> tuple[Need, ...]:
    """The needs of a run of this owner, as `encode` wrote them."""
    needs = []
    for word in text.split():
        whose, slash, rest = word.rpartition("/")
        run, _, condition = rest.partition(":")
        needs.append(Need(int(whose) if slash else owner, bytes.fromhex(run), condition))
    return tuple(needs)


def without(needs: tuple[Need, ...], owner: int, run: bytes) -> tuple[Need, ...]:
    """Those that are not about this run."""
    return tuple(need for need in needs if (need.owner, need.run) != (owner, run))


def moved(needs: tuple[Need, ...], owner: int, old: bytes, new: bytes) -> tuple[Need, ...]:
    """The same about the run that follows the old one."""
    return tuple(Need(owner, new, need.condition) if (need.owner, need.run) == (owner, old) else need for need in needs)


def is_met(condition: str, result: str) -> bool:
    """Whether an end with this result is what was waited for. If not, it never will be."""
    match condition:
        case "ok":
            return result == SUCCESS
        case "failed":
            return result not in GOOD_RESULTS and result != GONE
    return True


def never(word: str, condition: str, result: str) -> str:
    """Why a run never begins: `it waits for make-1 to fail, which has succeeded`."""
    return f"it waits for {word} to {VERBS[condition]}, which {_ENDS.get(result, f'has failed ({result})')}"
