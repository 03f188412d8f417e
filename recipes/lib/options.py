"""python options.py RECIPE FOLDER ARGUMENT...: the options of a recipe, as assignments that bash can evaluate.

The comment at the top of a recipe is its --help and declares its options, each once:

    --data DIR      what it is (required)
    --out PATH      where the checkpoints go [default: pretrained]
    --src-lang, --tgt-lang LANG   what is said holds for both
    --lowercase     takes no value
    --*             other options are taken too; or FILE..., other words; without such a line they are refused

Two blanks end what is declared. The value is N (a number from 1), SEED (from 0), F (a fraction), LANG, a FILE, CKPT or
DIR that exists, a PATH that need not, or another word in capitals, which is not checked. [env: NAME] before a default
names a variable that replaces it. Defaults told in other words are the recipe's own. A relative path is of FOLDER.

Printed are a variable for each option (SRC_LANG; `yes` for one without a value; empty if not given), the array OTHERS
(what --* or FILE... stands for) and KIND (of each option what its value is). Of an option given twice the last counts;
what follows -- is not looked at.
"""

import os
import re
import shlex
import sys

DECLARATION = re.compile(r"   (--[a-z-]+(?:, --[a-z-]+)*)(?: ([A-Z][A-Z:]*))?(?:  .*)?$")
CHECKED = {
    "N": (r"[1-9][0-9]*", "want a number from 1"),
    "SEED": (r"0|[1-9][0-9]*", "want a whole number"),
    "F": (r"0|0?\.[0-9]+", "want a fraction like 0.02"),
    "LANG": (r"[A-Za-z0-9_]+", "only letters, digits and _ will do"),
}
PLACES = {"FILE": os.path.isfile, "CKPT": os.path.isfile, "DIR": os.path.isdir, "PATH": lambda path: True}


class Refused(Exception):
    """What is wrong, and the recipe's exit status."""


class Declared:
    """What the lines of a comment declare.

    Attributes:
        kinds: option -> its value's kind, empty for one without; in the comment's order.
        defaults: option -> value, from the environment where the comment says so.
        required: options.
        others: None, "any" (other options) or "words".
    """

    def __init__(self, lines, environment):
        self.kinds, self.defaults, self.required, self.others = {}, {}, [], None
        names = []
        for line in lines:
            match = DECLARATION.match(line)
            if match:
                names = match.group(1).split(", ")
                self.kinds.update(dict.fromkeys(names, match.group(2) or ""))
            elif line.startswith(("   --*  ", "   FILE...  ")):
                names, self.others = [], "any" if "--*" in line[:8] else "words"
            elif line.startswith("   -"):
                raise Refused("this line declares no option: #" + line, 1)
            elif not line:
                names = []
            for name in names:
                self._read(name, line, environment)

    def _read(self, name, line, environment):
        if "(required)" in line:
            self.required.append(name)
        default = re.search(r"\[default: ([^]]+)\]", line)
        variable = re.search(r"\[env: ([A-Z_]+)\]", line)
        if default:
            self.defaults[name] = default.group(1)
        if variable and environment.get(variable.group(1)):
            self.defaults[name] = environment[variable.group(1)]


def parse(declared, arguments, folder):
    """(option -> value, other words) of a recipe's *arguments*; None if they ask for help.

    Raises:
        Refused: they make no sense.
    """
    values, others, rest = {}, [], list(arguments)
    while rest:
        word = rest.pop(0)
        name, is_joined, value = word.partition("=")
        kind = declared.kinds.get(name)
        if word in ("-h", "--help"):
            return None
        if word == "--" and declared.others:
            others += rest
            break
        if kind is None:
            if declared.others is None or declared.others == "words" and word.startswith("-"):
                raise Refused(f"unknown argument {word} (see --help)", 2)
            others.append(word)
        else:
            if kind and not is_joined and rest and not rest[0].startswith("--"):
                value = rest.pop(0)
            values[name] = given(name, kind, value, is_joined, folder)
    for name, value in declared.defaults.items():
        values.setdefault(name, checked(name, declared.kinds[name], value, folder))
    for name in declared.required:
        if name not in values:
            raise Refused(f"{name} is required (see --help)", 2)
    return values, others


def given(name, kind, value, is_joined, folder):
    """What the option *name* was given, joined to it with = or not; `yes` where it takes no value."""
    if not kind and is_joined:
        raise Refused(f"{name} takes no value (see --help)", 2)
    if kind and not value:
        raise Refused(f"{name} needs a value (see --help)", 2)
    return checked(name, kind, value, folder) if kind else "yes"


def checked(name, kind, value, folder):
    """The *value* of the option *name*, a path made absolute; Refused unless it is of its *kind*."""
    pattern, wanted = CHECKED.get(kind, ("(?s:.*)", ""))
    if not re.fullmatch(pattern, value):
        raise Refused(f"{name} {value}: {wanted}", 2)
    if kind in PLACES:
        value = os.path.join(folder, value)
        value = (value[:-1] if value.endswith("/") else value) or "/"
        if not PLACES[kind](value):
            raise Refused(f"{value}: no such {'folder' if kind == 'DIR' else 'file'}", 1)
    return value


def comment(path):
    """The lines of the comment at the top of a recipe, without their marks."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")[1:]
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return [line[1:] for line in lines[:end]]


def variable(name):
    """SRC_LANG for --src-lang."""
    name = name[2:].replace("-", "_").upper()
    return name + "_" * (name == "GROUPS")  # that name is bash's


def assignments(declared, values, others):
    """Lines of bash."""
    kinds = " ".join(f"[{name}]={shlex.quote(kind)}" for name, kind in declared.kinds.items())
    lines = [f"KIND=({kinds})", f"OTHERS=({' '.join(map(shlex.quote, others))})"]
    return lines + [f"{variable(name)}={shlex.quote(values.get(name, ''))}" for name in declared.kinds]


def main(recipe, folder, *arguments):
    try:
        declared = Declared(comment(recipe), os.environ)
        parsed = parse(declared, arguments, folder)
    except Refused as refused:
        print(f"{os.path.basename(recipe)}: error: {refused.args[0]}", file=sys.stderr)
        sys.exit(refused.args[1])
    text = "\n".join(assignments(declared, *parsed) if parsed else ["usage"])
    sys.stdout.buffer.write(os.fsencode(text + "\n"))


if __name__ == "__main__":
    main(*sys.argv[1:])
