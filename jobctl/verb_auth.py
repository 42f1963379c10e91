"""auth: who one is to jobd, and what one may do."""

from __future__ import annotations

from jobctl import names, terminal
from jobctl.exits import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import AuthVerb, JsonOutput
    from jobctl.shapes import Body

VERBS = ("whoami",)
LABEL_WIDTH = 11  # systemctl's; the same in status


def auth(client: Client, verb: AuthVerb = (), *, output: JsonOutput = None) -> int:
    """Show whom jobd takes you for, and what you may do.

    whoami: your user, group and supplementary groups as the kernel names them, and the rules that let you act.
    """
    if not verb:
        raise UsageError(f"auth needs a verb of its own: {', '.join(VERBS)}")
    if verb[0] not in VERBS:
        from jobctl.mistakes import unknown_word

        raise unknown_word("verb of auth", verb[0], VERBS)
    if len(verb) > 1:
        raise UsageError(f"auth {verb[0]} takes no operand: {verb[1]!r}")
    as_json = False
    if output is not None:
        from jobctl.rows import is_json

        as_json = is_json(output)
    body = client.call({"type": "auth-whoami"})
    if as_json:
        from jobctl.rows import identity_row, print_json

        assert output is not None
        print_json(identity_row(body), output)
    else:
        terminal.say(_text(body))
    return 0


def _text(body: Body) -> str:
    fields = [
        ("User", _named(names.owner_name(body["uid"]), body["uid"])),
        ("Group", _named(names.group_name(body["gid"]), body["gid"])),
        ("Groups", ", ".join(_named(names.group_name(gid), gid) for gid in body["groups"]) or "none"),
        ("PID", str(body["pid"])),
        ("Jobs of", _named(names.owner_name(body["owner"]), body["owner"])),
        ("May", ", ".join(body.get("rules", [])) or "nothing"),
    ]
    return "".join(f"{label:>{LABEL_WIDTH}}: {value}\n" for label, value in fields)


def _named(name: str, number: int) -> str:
    return name if name == str(number) else f"{name} ({number})"
