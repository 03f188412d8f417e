"""Show what a checkpoint holds: layers, heads, FFN units, parameters, bytes, architecture and where it came from."""

import dataclasses
import json
import os

from tabulate import tabulate

from .. import checkpoint
from ..pruning import families, shapes
from ..pruning.plan import STACKS

HELP = "show a checkpoint's shape, size and origin"


def add_arguments(parser) -> None:
    """The file and the output's form."""
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def describe(path) -> dict:
    """What ``layerdrop inspect`` prints, as plain data.

    Raises:
        LayerdropError: *path* is no checkpoint of a model that this plugin knows.
    """
    state = checkpoint.read(path)
    model, task = state["cfg"]["model"], state["cfg"].get("task") or {}
    shape, family = shapes.shape_of(state), families.family_of(model)
    return {
        "file": str(path),
        "architecture": model.get("_name") or model.get("arch"),
        "family": families.registered_model(model),
        "task": task.get("_name"),
        **{stack: of and dataclasses.asdict(of) for stack in STACKS for of in [getattr(shape, stack)]},
        "vocabulary": shapes.vocabulary_size(state),
        "target_vocabulary": shapes.vocabulary_size(state, "target"),
        "max_positions": shapes.max_positions(state),
        "parameters": shapes.count_parameters(state),
        "bytes": os.path.getsize(path),
        "updates": state["optimizer_history"][-1].get("num_updates"),
        "provenance": state["cfg"].get(checkpoint.PROVENANCE) or None,
        "options": {name: model[name] for name in family.options if name in model},
    }


def run(args) -> None:
    """Print the description of one checkpoint."""
    found = describe(args.checkpoint)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    sides = {stack: found[stack] for stack in STACKS if found[stack]}
    rows = [("architecture", found["architecture"]), ("task", found["task"])]
    for stack, of in sides.items():
        rows += [
            (f"{stack} layers", of["layers"]),
            (f"{stack} heads", f"{of['heads']} in each layer"),
            (f"{stack} FFN units", f"{of['ffn']} in each layer"),
            (f"{stack} width", of["embed_dim"]),
        ]
    rows.append(("vocabulary", f"{found['vocabulary']:,}"))
    if found["target_vocabulary"] != found["vocabulary"]:
        rows.append(("target vocabulary", f"{found['target_vocabulary']:,}"))
    if found["max_positions"] is not None:
        rows.append(("longest input", f"{found['max_positions']} tokens"))
    rows += [
        ("parameters", f"{found['parameters']:,}"),
        ("file size", f"{found['bytes']:,} bytes"),
        ("updates", f"{found['updates']:,}"),
    ]
    rows += [("came from", _ancestry(ancestor)) for ancestor in (found["provenance"] or {}).get("ancestors", [])]
    print(tabulate(rows, tablefmt="plain", disable_numparse=True))


def _ancestry(ancestor: dict) -> str:
    kept = [
        f"{stack} layers {ancestor['plan'][stack]['layers']} of {ancestor[f'{stack}_layers']}"
        for stack in STACKS
        if stack in ancestor["plan"]
    ]
    return f"{ancestor['file']}, keeping {' and '.join(kept) or 'everything'}"
