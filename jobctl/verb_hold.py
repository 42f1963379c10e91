"""cancel, hold, release: acts on runs that wait. A glob means jobs that do, and no others."""

from __future__ import annotations

from jobctl import names
from jobctl.verb_act import act

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import Jobs
    from jobctl.shapes import JobView

WAITING = ("queued", "held")


def cancel(client: Client, jobs: Jobs) -> int:
    """Take runs that wait out of their line: they never begin.

    One that runs already goes on, and is named: stop ends that.
    """
    return act(client, {"type": "cancel-queued", "names": _waiting(client, jobs)}, "what is canceled stays so")


def hold(client: Client, jobs: Jobs) -> int:
    """Have runs that wait go on waiting until they are released. What stands behind them passes them."""
    return act(client, {"type": "hold", "names": _waiting(client, jobs)}, "what is held stays so")


def release(client: Client, jobs: Jobs) -> int:
    """Let runs that are held begin in their turn, from the places that they had."""
    found = names.expand(client, jobs, fits=lambda view: view.get("held", False))
    return act(client, {"type": "release", "names": found}, "what is released stays so")


def _waiting(client: Client, jobs: tuple[str, ...]) -> list[str]:
    return names.expand(client, jobs, fits=_waits)


def _waits(view: JobView) -> bool:
    return view.get("sub") in WAITING
