"""rm: jobs out of the lists, if need be stopped first, and with --purge their runs and logs too."""

from __future__ import annotations

from jobctl import names
from jobctl.verb_act import act

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import Jobs, Now, Purge

NO_RUN = bytes(16)  # of a job of which none is known


def remove(client: Client, jobs: Jobs, *, now: Now = False, purge: Purge = False) -> int:
    """Remove jobs: their names are free again.

    Their runs and logs stay, and are found by the runs' ids, until they are too old. A job that runs is not removed.
    """
    found = names.expand(client, jobs)
    if not found:
        return 0
    views = names.views(client, found)
    # Said along: asked again because the answer was lost, it is not taken for a job that has the name by then.
    runs = [view.get("run") or NO_RUN for view in views]
    request: dict[str, object] = {"type": "remove", "names": found, "stop": now, "purge": purge, "runs": runs}
    return act(client, request, "what was not at rest yet is not removed")
