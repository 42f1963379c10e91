"""cancel, hold, release: acts on runs that wait."""

from __future__ import annotations

from jobctl import names
from jobctl.verb_act import act

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import Jobs


def cancel(client: Client, jobs: Jobs) -> int:
    """Take runs that wait out of their line: they never begin.

    One that runs already goes on, and is named: stop ends that.
    """
    return act(client, {"type": "cancel-queued", "names": names.expand(client, jobs)}, "what is canceled stays so")


def hold(client: Client, jobs: Jobs) -> int:
    """Have runs that wait go on waiting until they are released. What stands behind them passes them."""
    return act(client, {"type": "hold", "names": names.expand(client, jobs)}, "what is held stays so")


def release(client: Client, jobs: Jobs) -> int:
    """Let runs that are held begin in their turn, from the places that they had."""
    return act(client, {"type": "release", "names": names.expand(client, jobs)}, "what is released stays so")
