"""Plans, scores, command lines, and fairseq's own commands on all kinds of files."""

import copy
import json
import os
import random
from pathlib import Path

import builders
from bases import HOSTILE_VALUES, Base, nested
from files import archives, damaged, damaged_legacy, flipped, pickles
from harness import Case
from payloads import payloads
from states import changed, options, places, structures, weights

GOOD_PLAN = {
    "version": 1,
    "encoder": {"layers": [0, 1], "self_attn": {"0": [0], "1": []}, "ffn": {"0": "0-3,5", "1": None}},
}
JSON_TEXTS = (
    "",
    "[" * 10**5,
    "{}",
    "null",
    "[]",
    '{"version": 1e400}',
    '{"version": true}',
    '{"a":1,"a":2}',
    "\ufeff{}",
    "NaN",
)


def json_files(bases: list[Base], rng: random.Random) -> Case:
    """Plans and files of scores."""
    base = next(base for base in bases if base.kind == "masked_lm")
    rows = {"encoder.self_attn": [[0.5, 0.1]] * 2, "encoder.ffn": [[float(n) for n in range(12)]] * 2}
    scores = {
        "version": 1,
        "method": "importance",
        "model": None,
        "data": None,
        "examples": 3,
        "loss": 1.0,
        "per": "example",
    }
    scores |= dict.fromkeys(("scores", "normalized", "standard_error"), rows) | {"signature": {}}
    good = copy.deepcopy(rng.choice((GOOD_PLAN, scores)))
    how = rng.randrange(4)
    text = json.dumps(good)
    if how == 0:
        path = rng.choice(places(good))
        values = (..., *[v for v in HOSTILE_VALUES if not isinstance(v, bytes)], "0-999999", nested(40))
        value = rng.choice(values)
        text = json.dumps(changed(good, path, value), skipkeys=True)
    elif how == 1:
        text = rng.choice(JSON_TEXTS)
    elif how == 2:
        layers = {str(number): "0-999999" for number in range(rng.choice((1, 300)))}
        text = json.dumps({"version": 1, "encoder": {"layers": [0], "ffn": layers}})
    content = text.encode("utf-8", "surrogatepass")
    if how == 3:
        content = flipped(content, rng)[1]
    rate = rng.choice(("0.5", "0.5", "0.5", "1e400000000", "1e-400000000", "nan", "1/0", "9" * 10**5, "", "0x1"))
    rules = ["--plan", "file.json"] if "method" not in good else ["--heads", f"file.json:{rate}"]

    def write(folder: Path, content: bytes = content) -> None:
        (folder / "file.json").write_bytes(content)
        (folder / "parent.pt").write_bytes(base.bytes)

    return Case(
        "plans and scores", f"{how}: {text[:60]}", write, ["layerdrop", "prune", "parent.pt", "child.pt", *rules]
    )


def arguments(bases: list[Base], rng: random.Random) -> Case:
    """Command lines with paths and numbers that cannot be."""
    paths = (
        "",
        "\0",
        "a\nb",
        "/dev/null",
        "/dev/zero",
        "pipe",
        ".",
        "/",
        "nowhere/x",
        "link",
        "x" * 5000,
        "/proc/self/mem",
        "-",
    )
    numbers = ("0", "-1", "1", "1e9", "9" * 500, "", "nan", "\u0663", "0x10")
    base = bases[0]
    path, number = rng.choice(paths), rng.choice(numbers)
    other = rng.choice(paths)
    command = rng.choice(
        [
            ["prune", path, "child2.pt", "--encoder-layers", "keep:0"],
            ["prune", "parent.pt", path, "--encoder-layers", "keep:0"],
            [
                "prune",
                "parent.pt",
                "child2.pt",
                "--encoder-layers",
                rng.choice((number, f"keep:{number}", f"even:{number}")),
            ],
            ["prune", "parent.pt", "child2.pt", "--plan", path],
            ["prune", "parent.pt", "child2.pt", "--heads", f"{path}:{number}"],
            ["inspect", path],
            ["check", path],
            ["average", "parent.pt", path, "--out", other],
            ["report", "--results", path, "--out", "report"],
            ["importance", base.data, "--path", "parent.pt", "--out", other, "--method", "magnitude"],
            ["importance", base.data, "--path", "parent.pt", "--out", "i.json", "--max-tokens", number],
            ["importance", path, "--path", "parent.pt", "--out", "i.json"],
            [
                "importance",
                base.data,
                "--path",
                "parent.pt",
                "--out",
                "i.json",
                "--base-criterion",
                rng.choice(("wav2vec", "ctc", number)),
            ],
        ]
    )

    def write(folder: Path) -> None:
        (folder / "parent.pt").write_bytes(base.bytes)
        os.mkfifo(folder / "pipe")
        os.symlink("nothing", folder / "link")

    return Case("arguments", " ".join(command)[:80], write, ["layerdrop", *command])


def fairseq_commands(bases: list[Base], rng: random.Random) -> Case:
    """fairseq's own commands, with this plugin imported, on all of these files."""
    user, cpu = ["--user-dir", builders.USER_DIR], ["--cpu", "--no-progress-bar"]
    commands = {
        "classification": ["fairseq-validate", *builders.VALIDATE],
        "masked_lm": ["fairseq-validate", "--task", "masked_lm", "--valid-subset", "test", "--batch-size", "8", *cpu],
        "translation": ["fairseq-generate", *builders.GENERATE],
        "language_modeling": ["fairseq-eval-lm", "--gen-subset", "test", "--batch-size", "8", *cpu],
    }
    each = (damaged, archives, pickles, payloads, structures, options, weights)
    base = rng.choice(bases)
    case = rng.choice(each)([base], rng)
    words = commands[base.kind]
    case.command = [words[0], base.data, "--path", "parent.pt", *words[1:], *user]
    if rng.random() < 0.2:
        train = ["--optimizer", "adam", "--lr", "1e-3", "--max-update", "1", "--disable-validation", "--no-save"]
        kind = ["--task", "masked_lm", "--criterion", "masked_lm", "--arch", "layerdrop_roberta_tiny"]
        base = next(base for base in bases if base.kind == "masked_lm")
        restore = rng.choice((["--restore-file", "parent.pt"], ["--finetune-from-model", "parent.pt"]))
        case.command = ["fairseq-train", base.data, *kind, *train, *restore, "--batch-size", "8", *cpu, *user]
    case.kind, case.same = "fairseq's commands", None
    case.wanted = case.wanted if case.wanted == "refuse" else "any"
    return case


# What makes a case -> number of its cases in the whole; a subset takes the same share of each.
WHOLE = {
    damaged: 2400,
    damaged_legacy: 900,
    archives: 800,
    pickles: 1500,
    payloads: 600,
    structures: 1100,
    options: 1200,
    weights: 700,
    json_files: 900,
    arguments: 500,
    fairseq_commands: 400,
}
