"""Show what a checkpoint holds: layers, heads, FFN units, parameters, bytes, architecture and where it came from."""

import json
import os

from tabulate import tabulate

from .. import checkpoint
from ..pruning import shapes

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
    shape = shapes.shape_of(state).encoder
    return {
        "file": str(path),
        "architecture": model.get("_name") or model.get("arch"),
        "family": shapes.model_family(model),
        "task": task.get("_name"),
        "encoder": {"layers": shape.layers, "heads": shape.heads, "ffn": shape.ffn, "embed_dim": shape.embed_dim},
        "vocabulary": shapes.vocabulary_size(state),
        "max_positions": shapes.max_positions(state),
        "parameters": shapes.count_parameters(state),
        "bytes": os.path.getsize(path),
        "updates": state["optimizer_history"][-1].get("num_updates"),
        "provenance": state["cfg"].get(checkpoint.PROVENANCE) or None,
        "options": {name: model[name] for name in shapes.SHAPE_OPTIONS if name in model},
    }


def run(args) -> None:
    """Print the description of one checkpoint."""
    found = describe(args.checkpoint)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    encoder, provenance = found["encoder"], found["provenance"]
    rows = [
        ("architecture", found["architecture"]),
        ("task", found["task"]),
        ("encoder layers", encoder["layers"]),
        ("attention heads", f"{encoder['heads']} in each layer"),
        ("FFN units", f"{encoder['ffn']} in each layer"),
        ("width", encoder["embed_dim"]),
        ("vocabulary", f"{found['vocabulary']:,}"),
        ("longest input", f"{found['max_positions']} tokens"),
        ("parameters", f"{found['parameters']:,}"),
        ("file size", f"{found['bytes']:,} bytes"),
        ("updates", f"{found['updates']:,}"),
    ]
    for ancestor in (provenance or {}).get("ancestors", []):
        kept = ancestor["plan"].get("encoder", {}).get("layers", "all")
        rows.append(("came from", f"{ancestor['file']} ({ancestor['encoder_layers']} layers), keeping layers {kept}"))
    print(tabulate(rows, tablefmt="plain", disable_numparse=True))
