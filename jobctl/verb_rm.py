"""rm: jobs out of the lists, if need be stopped first, and with --purge their runs and logs too."""

from __future__ import annotations

from jobctl import names
from jobctl.verb_act import act

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import Jobs, Now, Purge
    from jobctl.shapes import JobView

NO_RUN = bytes(16)  # of a job of which none is known
EXISTS, DENIED = "exists", "denied"  # of jobd.wire.errors
REST = ("inactive", "failed")


def remove(client: Client, jobs: Jobs, *, now: Now = False, purge: Purge = False) -> int:
    """Remove jobs: their definitions go, and their names are free again.

    Their runs and logs stay, and are found by the runs' ids, until they are too old. A job that runs is not removed.
    """
    found = names.expand(client, jobs)
    if not found:
        return 0
    views = names.views(client, found)
    status = 0
    if any(view.get("file", "").startswith("/") for view in views):
        found, views, status = _without_files(client, found, views, now)
        if not found:
            return status
    # Said along: asked again because the answer was lost, it is not taken for a job that has the name by then.
    runs = [view.get("run") or NO_RUN for view in views]
    request: dict[str, object] = {"type": "remove", "names": found, "stop": now, "purge": purge, "runs": runs}
    return act(client, request, "what was not at rest yet is not removed") or status


def _without_files(
    client: Client, found: list[str], views: list[JobView], now: bool
) -> tuple[list[str], list[JobView], int]:
    """Take away the job files that are ours to remove; what is left to ask jobd for, and the status."""
    from jobctl import jobfiles, terminal
    from jobd.wire import errors

    place = jobfiles.find(client, "remove jobs")
    kept: list[tuple[str, JobView]] = []
    back: list[str] = []
    status = 0
    for name, view in zip(found, views, strict=True):
        file = view.get("file", "")
        template = file.rpartition("/")[2].removesuffix(jobfiles.SUFFIX)
        if not place.directory or not file.startswith("/"):
            kept.append((name, view))  # jobd decides
        elif template != view["job"]:
            terminal.warn(f"cannot remove {name}: it is made from the template {template}; disable --now ends it")
            status = status or errors.exit_status(EXISTS, errors.ACTION)
        elif view.get("active", "inactive") not in REST and not now:
            what = "queued" if view.get("sub") in ("queued", "held") else "running"
            terminal.warn(f"cannot remove {name}: it is {what}; stop it first, or use --now")
            status = status or errors.exit_status(EXISTS, errors.ACTION)
        elif file != place.file(view["job"]):
            terminal.warn(f"cannot remove {name}: {file} is a package's; mask keeps it from being started")
            status = status or errors.exit_status(DENIED, errors.ACTION)
        else:
            jobfiles.remove([*place.dropins(view["job"]), file])
            if place.lower(view["job"]):
                back.append(name)  # what a package has comes into force
            else:
                kept.append((name, view))
    if back:
        from jobctl.verb_add import reload

        status = status or reload(client, back)
    return [name for name, _ in kept], [view for _, view in kept], status
