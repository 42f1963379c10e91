"""queue: the pools of slots that runs wait for. Looking at them, making and changing them."""

from __future__ import annotations

from jobctl import names, terminal
from jobctl.exits import ConnectionLostError, Fault, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import AllQueues, ForAll, FullLines, ListOutput, NoLegend, QueueWords

VERBS = ("list", "show", "add", "set", "rm", "pause", "resume", "drain", "switch")
STATES = {"pause": "paused", "resume": "open", "drain": "draining"}
SLOTS = "slots"
INFINITY = "infinity"
UNLIMITED = -1  # of slots, in a request
MAX_SLOTS = 1_000_000  # messages.MAX_SLOTS; a test compares
NOT_FOUND = "not-found"  # of jobd.wire.errors


def queue(
    client: Client,
    words: QueueWords = (),
    *,
    every: AllQueues = False,
    shared: ForAll = False,
    full: FullLines = False,
    no_legend: NoLegend = False,
    output: ListOutput = None,
) -> int:
    """Look at queues, make and change them.

    list [PATTERN...]: your queues and the shared ones; this is the verb when none is given. show NAME: one, and the
    runs in it in their order. add NAME [slots=N], set NAME slots=N: how many runs go on at once. rm NAME... pause
    NAME...: begin nothing. drain NAME...: take nothing new. resume NAME...: do both again. switch JOB JOB: two runs
    that wait change places.
    """
    verb, *rest = words or ("list",)
    if verb not in VERBS:
        from jobctl.mistakes import unknown_word
        from jobctl.spellings import QUEUE_NEIGHBOURS

        raise unknown_word("verb of queue", verb, VERBS, QUEUE_NEIGHBOURS.get(verb, ""))
    _check_options(verb, every, shared, full or no_legend or output is not None, output)
    if verb == "list":
        from jobctl.queue_text import list_queues

        return list_queues(client, rest, every, full, no_legend, output)
    if verb == "switch":
        return _switch(client, rest)
    if not rest:
        raise UsageError(f"queue {verb} needs the name of a queue")
    if verb in ("add", "set"):
        return _set_slots(client, verb, rest, shared)
    if verb == "show":
        from jobctl.queue_text import show_queue

        if len(rest) > 1:
            raise UsageError("cannot show more than one queue at a time")
        return show_queue(client, rest[0], full, no_legend, output)
    status = 0
    for name in dict.fromkeys(rest):
        this = _change(client, verb, name)
        status = status or this
    return status


def _check_options(verb: str, every: bool, shared: bool, shown: bool, output: str | None) -> None:
    """Raises UsageError for an option that the verb does not have."""
    if every and verb != "list":
        raise UsageError(f"queue {verb} has no option -a: it is one of queue list")
    if shared and verb != "add":
        raise UsageError(f"queue {verb} has no option --shared: it is one of queue add")
    if shown and verb not in ("list", "show"):
        raise UsageError(f"queue {verb} shows nothing: -l, -o and --no-legend are of queue list and queue show")
    if output is not None:
        from jobctl.rows import is_json

        is_json(output, *(("name",) if verb == "list" else ()))


# --- changing -------------------------------------------------------------------------------------------------------
def _set_slots(client: Client, verb: str, words: list[str], shared: bool) -> int:
    """add and set: NAME slots=N."""
    name, *pairs = words
    asked = _slots(pairs)
    if verb == "set" and asked is None:
        raise UsageError("queue set needs what to set: slots=N")
    slots = {} if asked is None else {SLOTS: asked}
    if verb == "set":
        client.call({"type": "queue-set", "name": name, **slots})
    else:
        client.call({"type": "queue-add", "name": name, **slots, **({"shared": True} if shared else {})})
    return 0


def _slots(pairs: list[str]) -> int | None:
    """What slots=N says; None without it."""
    found = None
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"cannot set {pair!r}: write {SLOTS}=N")
        if key != SLOTS:
            from jobctl.mistakes import unknown_word

            raise unknown_word("setting of a queue", key, (SLOTS,))
        if value == INFINITY:
            found = UNLIMITED
        elif value.isascii() and value.isdecimal() and int(value[:9] or 0) <= MAX_SLOTS and len(value) < 9:
            found = int(value)
        else:
            raise UsageError(f"cannot read {pair!r}: a number up to {MAX_SLOTS}, or {INFINITY}")
    return found


def _change(client: Client, verb: str, name: str) -> int:
    """rm, pause, resume, drain; the status. That one of several is not there keeps none of the others."""
    try:
        if verb == "rm":
            _remove(client, name)
        else:
            client.call({"type": "queue-set", "name": name, "state": STATES[verb]})
    except Fault as fault:
        if fault.code not in ("not-found", "denied", "exists", "not-applicable", "invalid"):
            raise
        from jobctl.mistakes import next_step
        from jobd.wire import errors

        terminal.complain(next_step(fault.code, fault.message))
        return errors.exit_status(fault.code, errors.ACTION)
    return 0


def _remove(client: Client, name: str) -> None:
    """Asked again because the answer was lost, a queue that is gone is removed."""
    again = False
    while True:
        try:
            client.call({"type": "queue-remove", "name": name}, repeat=False)
        except ConnectionLostError:
            client.reconnect()
            again = True
            continue
        except Fault as fault:
            if not (again and fault.code == NOT_FOUND):
                raise
        return


def _switch(client: Client, words: list[str]) -> int:
    if len(words) != 2:
        raise UsageError("queue switch needs two jobs that wait: queue switch JOB JOB")
    from jobd.core.ids import new_run_id

    first, second = words
    client.call({"type": "queue-switch", "first": first, "second": second, "once": new_run_id().hex()})
    return 0


def shown_queue(name: str, owner: int | None, caller: int, shadowed: bool = False) -> str:
    """A queue as its name is typed: one's own and a shared one alone, unless one's own has that name too."""
    if owner is None:
        return f"shared/{name}" if shadowed else name
    return names.shown_name(name, owner, caller)
