"""Show the contents of a checkpoint: layers, heads, FFN units, parameters, size, architecture and provenance."""

import argparse
import dataclasses
import json
import os

from ..anatomy import KINDS, PARTS, STACKS, SUBLAYERS, kinds_of_part
from ..modules.layer_sizes import format_row
from ..pruning.plan import Plan, StackPlan

WITHOUT_FAIRSEQ = True  # unless the file is an old one, see checkpoint.read
HELP = "show a checkpoint's shape, size and provenance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file and the output's form."""
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def describe(path: str | os.PathLike) -> dict:
    """What ``layerdrop inspect`` prints, as plain data.

    Raises:
        LayerdropError: *path* is no checkpoint of a model that this plugin knows.
    """
    from ..pruning.families import registered_model
    from ..pruning.parent import Parent
    from ..pruning.surgery import origin_of

    parent = Parent.load(path, build=False)  # fairseq takes seconds to import
    return {
        "file": str(path),
        "architecture": parent.architecture,
        "family": registered_model(parent.options),
        "task": (parent.cfg.get("task") or {}).get("_name"),
        **dataclasses.asdict(parent.shape),
        "learned_rates": parent.learned_rates,
        "vocabulary": parent.vocabulary_size(),
        "target_vocabulary": parent.vocabulary_size("target"),
        "max_positions": parent.positions,
        "parameters": parent.parameters,
        "bytes": os.path.getsize(path),
        "updates": parent.state["optimizer_history"][-1].get("num_updates"),
        "provenance": origin_of(parent.cfg),
        "options": {name: parent.options[name] for name in parent.family.options if name in parent.options},
    }


def run(args: argparse.Namespace) -> None:
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
        rates = found["learned_rates"].get(stack)
        rows += [(f"{stack} learned rates", " ".join(f"{rate:.3f}" for rate in rates))] if rates else []
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
    for part in PARTS.values():
        whole, sizes = of[part.name], {kind: of["sizes"][kind] for kind in kinds_of_part(part) if kind in of["sizes"]}
        if all(size == whole for row in sizes.values() for size in row):
            rows.append((f"{stack} {part.many}", f"{whole} in each layer"))
        else:
            rows += [(f"{stack} {_parts_of(kind)}", f"{format_row(row)} of {whole}") for kind, row in sizes.items()]
    return rows


def _ancestry(ancestor: dict) -> str:
    from ..pruning.surgery import reconstruction_of

    plan, refitted = Plan.from_dict(ancestor["plan"]), reconstruction_of(ancestor)
    kept = [
        f"{stack} layers {list(of.layers)} of {ancestor[f'{stack}_layers']}{_parts(of)}" for stack, of in plan.items()
    ]
    for side, rows in [] if plan.vocabulary is None else plan.vocabulary.items():
        kept.append(f"{len(rows):,} of {ancestor['vocabulary'][side]:,} {side} embedding rows")
    return f"{ancestor['file']}, keeping {' and '.join(kept) or 'everything'}{f'; {refitted}' if refitted else ''}"


def _parts(plan: StackPlan) -> str:
    """How many heads and FFN units a stack's *plan* keeps, in a few words."""
    said = []
    for kind in KINDS:
        if plan.kept(kind):
            rows = [plan.kept(kind).get(layer, ...) for layer in plan.layers]
            counts = ["all" if row is ... else None if row is None else len(row) for row in rows]
            said.append(f"{_parts_of(kind)} {format_row(counts)}")
    return f" ({'; '.join(said)})" if said else ""


def _parts_of(kind: str) -> str:
    """What a *kind* of sublayer consists of, its name included where several kinds do."""
    part = SUBLAYERS[kind].part
    return part.many if len(kinds_of_part(part)) == 1 else f"{kind} {part.many}"
