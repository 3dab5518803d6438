"""`caffe-lite lint`: what is wrong or suspicious in a net or solver."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections import Counter
from typing import Any

from .common import add_net_options, stages
from .summary import add_shape_option
from .tables import print_table

MANY = 5  # findings of a rule that are shown one by one
COLOURS = {"error": "31;1", "warning": "33;1", "hint": "36"}  # of a terminal


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "lint",
        help="what is wrong or suspicious in a net or solver",
        description="Look at a net in both phases, or at a solver and its nets: errors, warnings and hints, each with "
        "its place, why it matters and what to do. The exit status is 1 if there are errors.",
        epilog="Example: caffe-lite lint models/lenet/lenet_solver.prototxt",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="a net's or a solver's prototxt")
    parser.add_argument("--weights", metavar="FILE", help="weights that will be loaded: do they fit, are they complete")
    parser.add_argument("--ignore", default="", metavar="RULE,RULE", help="rules to leave out")
    parser.add_argument("--rules", action="store_true", help="list the rules")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_shape_option(parser)
    add_net_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print all findings, the worst first."""
    from ..errors import ConfigError
    from ..lint.run import Linter, Options

    if args.rules:
        return list_rules(args.json)
    if args.file is None:
        raise ConfigError("FILE: a net or solver is needed (or --rules)")
    ignored = [name for name in args.ignore.split(",") if name]
    options = Options(args.shape, args.weights or "", ignored, args.level, stages(args), args.allow_unknown_fields)
    linter = Linter(options)
    findings = linter.lint(args.file)
    if args.json:
        print(json.dumps({"findings": [finding.as_json() for finding in findings], "notes": linter.notes}))
    else:
        show(findings)
        for note in linter.notes:
            print(f"note: {note}")
        print(total(findings))
    return int(any(finding.level == "error" for finding in findings))


def show(findings: list[Any]) -> None:
    """A line a finding, as compilers write it; why it matters and what to do once a rule."""
    for rule in dict.fromkeys(finding.rule for finding in findings):
        same = [finding for finding in findings if finding.rule == rule]
        for number, finding in enumerate(same[:MANY]):
            print(line(finding))
            if number == 0:
                print(f"    why: {finding.why}")
            if finding.fix not in [other.fix for other in same[:number]]:
                print(f"    do:  {finding.fix}")
        if len(same) > MANY:
            others = ", ".join(finding.layer or finding.where for finding in same[MANY:])
            print("    " + textwrap.shorten(f"and {len(same) - MANY} more: {others}", 300, placeholder=" ..."))


def line(finding: Any) -> str:
    """`net.prototxt:41:3: warning: layer 'x' (Type): ... in TRAIN [rule]`."""
    level = finding.level
    if sys.stdout.isatty():
        level = f"\033[{COLOURS[level]}m{level}\033[0m"
    phases = f" in {finding.phases[0]}" if len(finding.phases) == 1 else ""
    return f"{finding.where}: {level}: {finding.what}{phases} [{finding.rule}]"


def total(findings: list[Any]) -> str:
    """`1 error, 2 warnings, 0 hints`."""
    count = Counter(finding.level for finding in findings)
    return ", ".join(f"{count[level]} {level}{'s' * (count[level] != 1)}" for level in COLOURS)


def list_rules(as_json: bool) -> int:
    """Every rule with its level and why it matters."""
    from ..lint.rules import LEVELS, all_rules

    rules = sorted(all_rules().values(), key=lambda rule: (LEVELS.index(rule.level), rule.name))
    if as_json:
        print(json.dumps([{"rule": r.name, "level": r.level, "why": r.why} for r in rules]))
    else:
        print_table(
            "", [("rule", "left"), ("level", "left"), ("why", "left")], [[r.name, r.level, r.why] for r in rules]
        )
    return 0
