"""set-property: settings of a job that is there, for what runs and for what comes.

Of a job with a definition they are kept in a drop-in, as `edit` keeps one: that of root's and of one's own jobd is a
file, which is written here. Then jobd is asked to have what runs take them up.
"""

from __future__ import annotations

from jobctl import jobfiles, terminal
from jobctl.escape import escape
from jobctl.exits import Fault, UsageError
from jobctl.verb_run import read_settings
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import JobSettings, Quiet
    from jobctl.shapes import Definition

BROKEN = "broken"  # of a plan


def set_property(client: Client, words: JobSettings, *, quiet: Quiet = False) -> int:
    """Change settings of a job, also of one that runs.

    A line for each says whether it takes effect now or at the next start. Limits, restarts, what a stop does, the
    runtime limit and the description can be changed.
    """
    job, *pairs = words
    if not pairs:
        raise UsageError("set-property needs a job, and KEY=VALUE")
    asked = read_settings(tuple(pairs), {})
    definitions = client.call({"type": "cat", "names": [job]})["definitions"]
    if len(definitions) != 1:
        raise UsageError(f"set-property is about one job, or an array as a whole, and {job!r} is a pattern")
    (definition,) = definitions
    if definition.get("load", "loaded") != "not-found" and not definition.get("transient", True):
        status = _keep(client, job, definition, asked)
        if status:
            return status
    answer = client.call({"type": "set-property", "name": job, "settings": asked})
    if not quiet:
        told = {key: when for key, _, when in (line.partition(": ") for line in answer.get("text", "").splitlines())}
        terminal.say("".join(f"{key}: {escape(told[key])}\n" for key in asked if key in told))
    return 0


def _keep(client: Client, job: str, definition: Definition, asked: dict[str, str]) -> int:
    """Keep settings in a drop-in; the status."""
    from jobctl.verb_add import BAD_DEFINITION, is_sound
    from jobctl.verb_edit import Subject
    from jobd.core.properties import DROPIN, dropin, read
    from jobd.core.spec import SpecError

    place = jobfiles.find(client, "set properties")
    if "/" in job:
        place = jobfiles.Place("", place.mode)  # another owner's are in the database
    subject = Subject(place, definition, DROPIN)
    try:
        read(asked)
        text = dropin(subject.old or "", asked)
    except SpecError as e:
        raise Fault(errors.INVALID, str(e)) from e
    if text == subject.old:
        return 0
    if not place.directory:
        request = {"type": "define", "name": job, "text": text, "base": subject.base or b"/", "dropin": DROPIN}
        client.call({**request, "replace": True})
        return 0
    if not is_sound(client, place, subject.name, subject.with_text(text)):
        return BAD_DEFINITION
    jobfiles.write(subject.path, text)
    plan = client.call({"type": "daemon-reload", "names": [subject.name]})
    wrong = [item for item in plan.get("changes", []) if item["change"] == BROKEN]
    for item in wrong:
        terminal.warn(item.get("text", ""))
    return BAD_DEFINITION if wrong else 0
