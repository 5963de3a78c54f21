"""`mlxr doctor`: what works here, what is missing, and the command that mends it. Not here: the questions."""

from typing import Final

from router.cli.doctor.installation import all_checks
from router.cli.doctor.readings import readings
from router.cli.terminal.context import current_paths
from router.cli.terminal.options import json_option
from router.cli.terminal.output import has_colour, print_json, shown
from router.cli.terminal.verbs import option, verb

_COLOURS: Final = {"ok": "32", "note": "2", "warning": "33", "broken": "31"}


@verb
@option("--problems", is_flag=True, help="Print only what is not well.")
@json_option()
def doctor(problems: bool, is_json: bool) -> int:
    """Check machine and installation; exit code 1 when something is broken.

    With --json also every figure as the system tells it, for a report of what goes wrong.

    Examples: `mlxr doctor`, `mlxr doctor --problems`, `mlxr doctor --json`.
    """
    paths = current_paths()
    checks = [check for check in all_checks(paths) if not problems or check.state in {"warning", "broken"}]
    num_broken = sum(check.state == "broken" for check in checks)
    if is_json:
        print_json({"ok": num_broken == 0, "checks": checks, "readings": readings(paths)})
        return min(num_broken, 1)
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        print(f"{_coloured(check.state)}  {check.name.ljust(width)}  {shown(check.found)}")
        if check.remedy is not None:
            print(f"{' ' * (11 + width)}-> {shown(check.remedy)}")
    return min(num_broken, 1)


def _coloured(state: str) -> str:
    text = state.ljust(7)
    return f"\x1b[{_COLOURS[state]}m{text}\x1b[0m" if has_colour() else text
