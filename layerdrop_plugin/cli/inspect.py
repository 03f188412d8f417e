"""Show what a checkpoint holds: layers, heads, FFN units, parameters, bytes, architecture and where it came from."""

import dataclasses
import json
import os

from .. import checkpoint
from ..modules.layer_sizes import ABSENT
from ..pruning.describe import MADE_OF, format_row
from ..pruning.plan import KINDS, STACKS, Plan, StackPlan

WITHOUT_FAIRSEQ = True  # unless the file is an old one, see checkpoint.read
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
    from ..pruning import families
    from ..pruning.parent import count_parameters, max_positions, shape_of, vocabulary_size
    from ..pruning.surgery import origin_of

    state = checkpoint.read(path)
    model, task = state["cfg"]["model"], state["cfg"].get("task") or {}
    shape, family = shape_of(state), families.family_of(model)
    return {
        "file": str(path),
        "architecture": model.get("_name") or model.get("arch"),
        "family": families.registered_model(model),
        "task": task.get("_name"),
        **{stack: of and dataclasses.asdict(of) for stack in STACKS for of in [getattr(shape, stack)]},
        "vocabulary": vocabulary_size(state),
        "target_vocabulary": vocabulary_size(state, "target"),
        "max_positions": max_positions(state),
        "parameters": count_parameters(state),
        "bytes": os.path.getsize(path),
        "updates": state["optimizer_history"][-1].get("num_updates"),
        "provenance": origin_of(state["cfg"]),
        "options": {name: model[name] for name in family.options if name in model},
    }


def run(args) -> None:
    """Print the description of one checkpoint."""
    from tabulate import tabulate

    found = describe(args.checkpoint)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    sides = {stack: found[stack] for stack in STACKS if found[stack]}
    rows = [("architecture", found["architecture"]), ("task", found["task"])]
    for stack, of in sides.items():
        rows += [(f"{stack} layers", of["layers"]), *_sizes(stack, of), (f"{stack} width", of["embed_dim"])]
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


def _sizes(stack: str, of: dict) -> list[tuple[str, str]]:
    """Rows that say how many heads and FFN units each layer of a *stack* has."""
    rows = []
    for name, kinds in MADE_OF.items():
        whole = of["ffn" if kinds == ("ffn",) else "heads"]
        sizes = {kind: of["sizes"][kind] for kind in kinds if kind in of["sizes"]}
        if all(size == whole for row in sizes.values() for size in row):
            rows.append((f"{stack} {name}", f"{whole} in each layer"))
        elif kinds == ("ffn",):
            rows.append((f"{stack} {name}", f"{format_row(sizes['ffn'])} of {whole}"))
        else:
            rows += [(f"{stack} {kind} heads", f"{format_row(row)} of {whole}") for kind, row in sizes.items()]
    return rows


def _ancestry(ancestor: dict) -> str:
    plan = Plan.from_dict(ancestor["plan"])
    plans = {stack: getattr(plan, stack) for stack in STACKS if getattr(plan, stack) is not None}
    kept = [
        f"{stack} layers {list(of.layers)} of {ancestor[f'{stack}_layers']}{_parts(of)}" for stack, of in plans.items()
    ]
    return f"{ancestor['file']}, keeping {' and '.join(kept) or 'everything'}"


def _parts(plan: StackPlan) -> str:
    """How many heads and FFN units a stack's *plan* keeps, in a few words."""
    said = []
    for kind in KINDS:
        if plan.kept(kind):
            rows = [plan.kept(kind).get(layer, ...) for layer in plan.layers]
            counts = ("all" if row is ... else ABSENT if row is None else str(len(row)) for row in rows)
            name = "FFN units" if kind == "ffn" else f"{kind} heads"
            said.append(f"{name} {','.join(counts)}")
    return f" ({'; '.join(said)})" if said else ""
