"""auth: who one is to jobd, what one may do, and which rules say so."""

from __future__ import annotations

from jobctl import names, terminal
from jobctl.escape import escape
from jobctl.exits import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import AsUser, AuthVerb, JsonOutput, QuietAnswer
    from jobctl.shapes import Body, RuleView

VERBS = ("whoami", "can-i", "rules")
CAN_I = "can-i"
LABEL_WIDTH = 11  # systemctl's; the same in status
NO = 4  # as the verb itself would exit: it is not allowed
COLUMNS = ("LINE", "USERS", "GROUPS", "ACTIONS", "OWNERS", "JOBS")
NONE = "-"


def auth(
    client: Client,
    verb: AuthVerb = (),
    *,
    as_user: AsUser = None,
    quiet: QuietAnswer = False,
    output: JsonOutput = None,
) -> int:
    """Show whom jobd takes you for, and what you may do.

    whoami: your user, group and supplementary groups as the kernel names them, and what you may ask for. can-i VERB
    [JOB]: whether you may do that, and why; exits with 0 if so and with 4 if not. rules: the rules that concern you.
    """
    if not verb:
        raise UsageError(f"auth needs a verb of its own: {', '.join(VERBS)}")
    word, *rest = verb
    if word not in VERBS:
        from jobctl.mistakes import unknown_word

        raise unknown_word("verb of auth", word, VERBS)
    if word != CAN_I and (rest or as_user is not None or quiet):
        what = f"no operand: {rest[0]!r}" if rest else "neither --as nor -q"
        raise UsageError(f"auth {word} takes {what}")
    if output is not None:
        from jobctl.rows import is_json

        is_json(output)
    if word == CAN_I:
        return _can_i(client, rest, as_user, quiet, output)
    if word == "rules":
        return _rules(client, output)
    body = client.call({"type": "auth-whoami"})
    if output is not None:
        from jobctl.rows import identity_row, print_json

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
        ("May", escape(", ".join(body.get("rules", []))) or "nothing"),
        ("Admin", "yes" if body.get("admin") else "no"),
    ]
    return "".join(f"{label:>{LABEL_WIDTH}}: {value}\n" for label, value in fields)


def _named(name: str, number: int) -> str:
    return name if name == str(number) else f"{name} ({number})"


# --- can-i ----------------------------------------------------------------------------------------------------------
def _can_i(client: Client, words: list[str], as_user: str | None, quiet: bool, output: str | None) -> int:
    """Whether something may be done: `yes` or `no`, and what decides."""
    if not 1 <= len(words) <= 2:
        raise UsageError("auth can-i needs a verb and maybe a job: auth can-i stop alice/web")
    if as_user == "":
        raise UsageError("--as needs the name of a user, or his uid")
    request: dict[str, object] = {"type": "auth-can-i", "action": words[0]}
    if len(words) > 1:
        request["job"] = words[1]
    if as_user is not None:
        request["user"] = as_user
    body = client.call(request)
    allowed = body["allowed"]
    if output is not None and not quiet:
        from jobctl.rows import decision_row, print_json

        print_json(decision_row(body), output)
    elif not quiet:
        why = "allowed" if allowed else "no rule allows it" if len(words) > 1 else "it is for administrators"
        terminal.say(f"{'yes' if allowed else 'no'}: {escape(body['rule']) or why}\n")
    return 0 if allowed else NO


# --- rules ----------------------------------------------------------------------------------------------------------
def _rules(client: Client, output: str | None) -> int:
    body = client.call({"type": "auth-rules"})
    rules: list[RuleView] = body["rules"]  # type: ignore[assignment]  # of a Rules they are rules
    if output is not None:
        from jobctl.rows import print_json, rules_row

        print_json(rules_row(body, rules), output)
    else:
        _print_rules(rules, body.get("file", ""))
    if body.get("error"):
        held = "the rules of before are in force" if rules else "no rules are in force"
        terminal.warn(f"{held}: {body['error']}")
    return 0


def _print_rules(rules: list[RuleView], file: str) -> None:
    from jobctl.table import Table

    if rules:
        rows = [_cells(rule) for rule in rules]
        table = Table(COLUMNS, COLUMNS.index("ACTIONS"))
        table.fit(rows)
        terminal.say("".join(f"{line}\n" for line in (table.top(), *map(table.line, rows))) + "\n")
    where = f" in {escape(file)}" if file else ""
    terminal.say(f"{len(rules)} rule{'' if len(rules) == 1 else 's'}{where}.\n")


def _cells(rule: RuleView) -> tuple[str, ...]:
    lists = (rule.get("users"), rule.get("groups"), rule.get("actions"), rule.get("owners"), rule.get("jobs"))
    return (str(rule["line"]), *(escape(",".join(words or ())) or NONE for words in lists))
