"""Generators of damaged and hostile files: what is changed is drawn with a seed, so that cases can be repeated."""

# ruff: noqa: B023, PLW0108, SIM115
import copy
import io
import json
import os
import random
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import builders
import numpy as np
import torch
from harness import MARKER, Case

HOSTILE_TEXT = (
    f"open('{MARKER}','w')",
    f"__import__('os').system('touch {MARKER}')",
    f"[open('{MARKER}','w')]",
    "${oc.env:MY_TOKEN}",
    "${env:MY_TOKEN}",
    "${common.seed}",
    "9" * 5000,
    "[" * 300,
    "[[1]*99999]*99999",
    "9**9**9**9",
    "\0",
    "\ud800",
    "a\nb",
    "'",
    "",
    "%s%n{0.__class__}",
)
HOSTILE_VALUES = (
    *HOSTILE_TEXT,
    *(-1, 0, 1, 10**9, 10**18, 10**30, -(2**63), 1.5, 1e308, float("nan"), float("inf"), True, None),
    *([], {}, [1, 2], {"a": 1}, [[[]]], ["x"] * 1000, (), b"bytes", {1: 2}, {None: 3}, {"_name": "x"}),
)


class Payload:
    """Unpickling it calls *function* with *arguments*."""

    def __init__(self, function: Callable, *arguments: object):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Base:
    """A good checkpoint: its bytes, its state, and the command line that prunes it."""

    def __init__(self, path: str, kind: str, data: Path, folder: str):
        self.path, self.kind, self.bytes = Path(path), kind, Path(path).read_bytes()
        self.state = torch.load(path, weights_only=False)
        self.stack = stack = "decoder" if kind == "language_modeling" else "encoder"
        self.prune = ["layerdrop", "prune", "parent.pt", "child.pt", f"--{stack}-layers", "keep:1"]
        self.data = str(data / folder)
        self.child: bytes | None = None

    def is_pruned_alike(self, folder: Path) -> bool:
        """Whether the child in *folder* has the weights and options of the one of the unchanged parent."""
        child = torch.load(folder / "child.pt", weights_only=True)["model"]
        before = {
            name: value
            for name, value in self.state["model"].items()
            if not re.match(rf"{self.stack}\..*layers\.0\.", name)
        }
        before = {re.sub(rf"^({self.stack}\..*layers)\.1\.", r"\1.0.", name): value for name, value in before.items()}
        return child.keys() == before.keys() and all(torch.equal(child[name], before[name]) for name in child)

    def commands(self, rng: random.Random) -> list[str]:
        """One of the commands that read a checkpoint."""
        return rng.choice(
            [
                self.prune,
                self.prune,
                self.prune,
                ["layerdrop", "inspect", "--json", "parent.pt"],
                ["layerdrop", "average", "parent.pt", "--out", "child.pt"],
                ["load", "parent.pt"],
                ["load", "parent.pt"],
            ]
        )


def _saved(state: object, **options: object) -> Callable[[Path], None]:
    return lambda folder: torch.save(state, folder / "parent.pt", **options)


def _written(content: bytes, name: str = "parent.pt") -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content)


def flipped(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """*content* with damage as disks and networks do it."""
    how = rng.choice(("bit", "bit", "bit", "bytes", "zeros", "cut", "insert", "append", "swap"))
    place, changed = rng.randrange(len(content)), bytearray(content)
    if rng.random() < 0.3:  # the directory at the end
        place = max(0, len(content) - 1 - rng.randrange(4000))
    if how == "bit":
        changed[place] ^= 1 << rng.randrange(8)
    elif how == "bytes":
        changed[place : place + 8] = rng.randbytes(len(changed[place : place + 8]))
    elif how == "zeros":
        changed[place : place + 512] = bytes(len(changed[place : place + 512]))
    elif how == "cut":
        del changed[place:]
    elif how == "insert":
        changed[place:place] = rng.randbytes(rng.randint(1, 64))
    elif how == "append":
        changed += rng.randbytes(rng.randint(1, 64))
    else:
        other = rng.randrange(len(content))
        changed[place], changed[other] = changed[other], changed[place]
    return f"{how} at {place}", bytes(changed)


def damaged(bases: list[Base], rng: random.Random, count: int) -> Iterator[Case]:
    """Archives with flipped bits and the like; what still reads must read as it did."""
    for _ in range(count):
        base = rng.choice(bases)
        name, content = flipped(base.bytes, rng)
        command = rng.choice([base.prune, base.prune, ["layerdrop", "check", "parent.pt"], ["load", "parent.pt"]])
        wanted = "same" if command is base.prune else "any"
        yield Case("bytes of an archive", name, _written(content), command, wanted, base.is_pruned_alike)


def damaged_legacy(bases: list[Base], rng: random.Random, count: int) -> Iterator[Case]:
    """The same in the format before 2020, which has no checksums: other numbers cannot be told from the right ones."""
    files = []
    for base in bases:
        buffer = io.BytesIO()
        torch.save(base.state, buffer, _use_new_zipfile_serialization=False)
        files.append((base, buffer.getvalue()))
    for _ in range(count):
        base, content = rng.choice(files)
        name, content = flipped(content, rng)
        yield Case("bytes, format before 2020", name, _written(content), base.commands(rng))


def _entries(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def archived(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of *entries* with right checksums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def archives(bases: list[Base], rng: random.Random, count: int) -> Iterator[Case]:
    """Archives whose entries are not those of torch, or not as long as the pickle says."""
    for _ in range(count):
        base = rng.choice(bases)
        entries = _entries(base.bytes)
        top, number = entries[0][0].split("/")[0], rng.randrange(len(entries))
        name, content = entries[number]
        how = rng.choice(
            ("deflate", "bzip", "foreign", "twice", "gone", "short", "long", "renamed", "torchscript", "bomb")
        )
        method, wanted = zipfile.ZIP_STORED, "refuse"
        if how in ("deflate", "bzip"):
            method = zipfile.ZIP_DEFLATED if how == "deflate" else zipfile.ZIP_BZIP2
        elif how == "foreign":
            entries.append(
                (rng.choice((f"{top}/code/x.py", "../../x", "/etc/x", f"{top}/data/x", "other/data/0")), b"x")
            )
        elif how == "twice":
            entries.append(entries[number])
        elif how == "gone":
            del entries[number]
            wanted = "refuse" if "/data" in name and ".data" not in name else "any"
        elif how == "short":
            entries[number] = (name, content[: len(content) // 2])
            wanted = "refuse" if "/data" in name and ".data" not in name and content else "any"
        elif how == "long":
            entries[number] = (name, content + bytes(8))
            wanted = "refuse" if "/data/" in name else "any"
        elif how == "renamed":
            entries[number] = (name + "0", content)
        elif how == "torchscript":
            entries.append((f"{top}/constants.pkl", content))
        else:
            entries.append((f"{top}/data/999", bytes(1 << 24)))
            method = zipfile.ZIP_DEFLATED
        yield Case(
            "entries of an archive", f"{how} {name}", _written(archived(entries, method)), base.commands(rng), wanted
        )


def pickles(bases: list[Base], rng: random.Random, count: int) -> Iterator[Case]:
    """Pickles with changed opcodes and arguments, in archives whose checksums are right."""
    for _ in range(count):
        base = rng.choice(bases)
        entries = _entries(base.bytes)
        number = next(i for i, (name, _) in enumerate(entries) if name.endswith("data.pkl"))
        content = bytearray(entries[number][1])
        for _ in range(rng.choice((1, 1, 2, 5))):
            place = rng.randrange(len(content))
            how = rng.randrange(5)
            if how == 0:
                content[place] = rng.choice(b"R.bc\x81Q}]()ltu0e(\x85\x86\x87Kh\x8a\x8br\x96\x97U\x8c")
            elif how == 1:
                content[place : place + 4] = struct.pack("<I", rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 24)))
            elif how == 2:
                content[place:place] = rng.choice(
                    (b"r\xff\xff\xff\x7f", b"\x8a\xff" + b"\x7f" * 255, b"(" * 500, b"]" * 3)
                )
            elif how == 3:
                del content[place : place + rng.randint(1, 9)]
            else:
                content[place] = rng.randrange(256)
        entries[number] = (entries[number][0], bytes(content))
        yield Case("pickles", f"pickle {rng.random()}", _written(archived(entries)), base.commands(rng))


def payloads(bases: list[Base], rng: random.Random, count: int) -> Iterator[Case]:
    """Files whose unpickling would run something."""
    import builtins
    import subprocess

    here = f"open('{MARKER}','w')"
    made = (
        Payload(os.system, f"touch {MARKER}"),
        Payload(builtins.eval, here),
        Payload(builtins.exec, here),
        Payload(builtins.open, MARKER, "w"),
        Payload(subprocess.call, ["touch", MARKER]),
        Payload(os.mkdir, MARKER),
        Payload(os.open, MARKER, os.O_CREAT),
        Payload(builtins.map, os.mkdir, [MARKER]),
        Payload(np.load, MARKER),
        Payload(np.memmap, MARKER, "u1", "w+", 0, (1,)),
        Payload(torch.load, MARKER),
        Payload(torch.hub.load, "a", "b"),
        Payload(np.array, [1, 2]),
        Payload(bytearray, 1 << 40),
        Payload(np.ndarray, (1 << 20,), "O"),
        Payload(np.dtype, "O"),
        Payload(np.dtype, [("a", "O")]),
        Payload(np.dtype, "V8"),
        np.array([object], dtype=object),
        np.zeros(2, dtype=[("a", "f8")]),
        np.datetime64("2020-01-01"),
        torch.nn.Linear(2, 2),
        torch.zeros(2, device="meta"),
        torch.zeros(3).to_sparse(),
        torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
        Path("a"),
        range(3),
        print,
    )
    for number in range(count):
        base, payload = rng.choice(bases), made[number % len(made)]
        state = dict(base.state)
        where = rng.choice(("cfg", "extra_state", "top", "model", "optimizer_history"))
        if where == "top":
            state["payload"] = payload
        elif where == "optimizer_history":
            state[where] = [state[where][0] | {"payload": payload}]
        else:
            state[where] = dict(state[where]) | {"payload": payload}
        wanted = "any" if isinstance(payload, torch.Tensor) and where != "model" else "refuse"
        options = {"_use_new_zipfile_serialization": rng.random() < 0.7}
        name = f"{getattr(payload, 'function', type(payload))} in {where}"
        yield Case("classes that run something", name, _saved(state, **options), base.commands(rng), wanted)


def _places(value: object, path: tuple = ()) -> list[tuple]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += _places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += _places(item, (*path, number))
    return found


def changed(state: dict, path: tuple, value: object) -> dict:
    """A copy of *state* with *value* at *path*; ``...`` removes what is there. Tensors are shared."""
    copied = top = dict(state)
    for key in path[:-1]:
        inner = copy.copy(copied[key])
        copied[key] = inner
        copied = inner
    if value is ...:
        del copied[path[-1]]
    else:
        copied[path[-1]] = value
    return top


def structures(bases: list[Base], rng: random.Random, count: int) -> Iterator[Case]:
    """States with values that do not belong there."""
    for _ in range(count):
        base = rng.choice(bases)
        rest = {key: value for key, value in base.state.items() if key != "model"}
        path = rng.choice([("model",), *_places(rest)])
        value = rng.choice((..., *HOSTILE_VALUES, _nested(60), _shared(30)))
        state = changed(base.state, path, value)
        yield Case("structure of the state", f"{path} = {str(value)[:30]}", _saved(state), base.commands(rng))


def _nested(depth: int) -> list:
    return [_nested(depth - 1)] if depth else []


def _shared(depth: int) -> list:
    """2 ** depth values in a few hundred bytes."""
    value: list = [1]
    for _ in range(depth):
        value = [value, value]
    return value


def options(bases: list[Base], rng: random.Random, count: int) -> Iterator[Case]:
    """Configurations of models, tasks and criterions with values that run, resolve or do not fit."""
    more = (
        "encoder_xformers_att_config",
        "decoder_xformers_att_config",
        "adaptive_softmax_cutoff",
        "character_filters",
    )
    for _ in range(count):
        base = rng.choice(bases)
        group = rng.choice(("model", "model", "model", "task", "criterion", "common", "layerdrop"))
        own = base.state["cfg"].get(group) or {}
        own = own if isinstance(own, dict) else vars(own)
        name = rng.choice([*own, *(more if group == "model" else ("ancestors", "_name", "user_dir"))])
        value = rng.choice((*HOSTILE_VALUES, _shared(25)))
        cfg = base.state["cfg"] | {group: dict(own) | {name: value}}
        wanted = "refuse" if isinstance(value, str) and "${" in value else "any"
        yield Case(
            "options",
            f"{group}.{name} = {str(value)[:40]}",
            _saved(base.state | {"cfg": cfg}),
            base.commands(rng),
            wanted,
        )


def weights(bases: list[Base], rng: random.Random, count: int) -> Iterator[Case]:
    """Weights that are missing, too many, of another shape or type, or not finite."""
    for _ in range(count):
        base = rng.choice(bases)
        model = dict(base.state["model"])
        names = [
            n for n, v in model.items() if v.is_floating_point() and v.dim() and ".layers." in n or "embed_tokens" in n
        ]
        name = rng.choice(names)
        value = model[name]
        how = rng.choice(
            (
                "missing",
                "unknown",
                "renamed",
                "wider",
                "flat",
                "int",
                "nan",
                "inf",
                "meta",
                "sparse",
                "quantised",
                "complex",
            )
            + ("expanded", "no tensor")
        )
        if how == "missing":
            del model[name]
        elif how == "unknown":
            model[f"{name}_2"] = value
        elif how == "renamed":
            model[name.replace("e", "E", 1)] = model.pop(name)
        elif how in ("nan", "inf"):
            model[name] = value.clone()
            model[name].view(-1)[rng.randrange(value.numel())] = float(how)
        else:
            model[name] = {
                "wider": lambda: torch.cat([value, value]),
                "flat": lambda: value.flatten()[None],
                "int": lambda: value.to(torch.int32),
                "meta": lambda: value.to("meta"),
                "sparse": lambda: value.to_sparse(),
                "quantised": lambda: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
                "complex": lambda: value.to(torch.complex64),
                "expanded": lambda: value.flatten()[:1].expand(10**7),
                "no tensor": lambda: rng.choice(HOSTILE_VALUES),
            }[how]()
        command = rng.choice(
            [base.prune, ["load", "parent.pt"], ["layerdrop", "average", "parent.pt", "--out", "child.pt"]]
        )
        yield Case("weights", f"{how} {name}", _saved(base.state | {"model": model}), command, "refuse")


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


def json_files(bases: list[Base], rng: random.Random, count: int) -> Iterator[Case]:
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
    for _ in range(count):
        good = copy.deepcopy(rng.choice((GOOD_PLAN, scores)))
        how = rng.randrange(4)
        text = json.dumps(good)
        if how == 0:
            path = rng.choice(_places(good))
            values = (..., *[v for v in HOSTILE_VALUES if not isinstance(v, bytes)], "0-999999", _nested(40))
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

        yield Case(
            "plans and scores", f"{how}: {text[:60]}", write, ["layerdrop", "prune", "parent.pt", "child.pt", *rules]
        )


def arguments(bases: list[Base], rng: random.Random, count: int) -> Iterator[Case]:
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
    for _ in range(count):
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

        yield Case("arguments", " ".join(command)[:80], write, ["layerdrop", *command])


def fairseq_commands(bases: list[Base], rng: random.Random, count: int) -> Iterator[Case]:
    """fairseq's own commands, with this plugin imported, on all of these files."""
    user, cpu = ["--user-dir", builders.USER_DIR], ["--cpu", "--no-progress-bar"]
    commands = {
        "classification": ["fairseq-validate", *builders.VALIDATE],
        "masked_lm": ["fairseq-validate", "--task", "masked_lm", "--valid-subset", "test", "--batch-size", "8", *cpu],
        "translation": ["fairseq-generate", *builders.GENERATE],
        "language_modeling": ["fairseq-eval-lm", "--gen-subset", "test", "--batch-size", "8", *cpu],
    }
    each = (damaged, archives, pickles, payloads, structures, options, weights)
    for _ in range(count):
        case = next(rng.choice(each)(bases, rng, 1))
        base = rng.choice(bases)
        case = next(rng.choice(each)([base], rng, 1))
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
        yield case


# Kind of generator -> cases of the whole; a subset takes the same share of each.
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
