"""What compare_layerdrop.sh found: models trained with LayerDrop and without, pruned to every depth."""

from .markdown import number, plural, provenance, read, seeds_of, sentences, table, versions

TITLE = "Does LayerDrop make models that can be pruned?"
COMMAND = "bash recipes/compare_layerdrop.sh"
CURVES = "docs/compare/curves.json"
TASKS = {"translation": "Translation", "masked-lm": "Masked language model"}

Training = dict[int, dict]  # layers kept -> depth


def section() -> list[str]:
    """A table for each task and side, picture and reading."""
    record = read(CURVES)
    curves = by_curve(record["depths"])
    tables = [_table(task, side, trainings) for (task, side), trainings in curves.items()]
    return [
        "Models trained with drop rate p and with p = 0, with the same seeds and updates, pruned to every depth"
        " (`even:N`) without fine-tuning. Held-out loss in nats per token, means over the seeds; in brackets BLEU. Of"
        " the translation models one side is pruned and the other stays whole.",
        *tables,
        provenance(
            seeds_of(record["results"]),
            versions(record),
            "ranges over seeds, data and every command in [curves.md](compare/curves.md)",
        ),
        "![loss and BLEU over the layers kept](compare/curves.png)",
        sentences(*(line for place, trainings in curves.items() for line in readings(*place, trainings)), _limits()),
    ]


def by_curve(depths: list[dict]) -> dict[tuple[str, str], dict[str, Training]]:
    """(task, side) -> name of the training -> layers kept -> depth; only depths whose loss was measured."""
    curves = {}
    for depth in filter(lambda depth: depth.get("loss"), depths):
        place = curves.setdefault((depth["task"], depth["side"]), {})
        place.setdefault(depth["train"], {})[depth["kept"]] = depth
    return curves


def _table(task: str, side: str, trainings: dict[str, Training]) -> str:
    kept = sorted({count for training in trainings.values() for count in training}, reverse=True)
    columns = [f"{TASKS.get(task, task)}, {side} layers kept", *map(str, kept)]
    rows = [[name, *(_cell(training.get(count)) for count in kept)] for name, training in trainings.items()]
    return table(columns, rows, 1)


def _cell(depth: dict | None) -> str:
    if depth is None:
        return ""
    bleu = f" ({number(depth['bleu']['mean'], 1)})" if depth.get("bleu") else ""
    return f"{depth['loss']['mean']:.2f}{bleu}"


def readings(task: str, side: str, trainings: dict[str, Training]) -> list[str]:
    """What one table says of every training beside the first (p = 0): what pruning costs, and which is better where."""
    complete = {name: training for name, training in sorted(trainings.items()) if _whole(training)}
    (plain_name, plain), *others = complete.items() or [("", {})]
    return [
        f"{TASKS.get(task, task)}, {side}: {_beside(plain_name, plain, drop_name, drop)}" for drop_name, drop in others
    ]


def _beside(plain_name: str, plain: Training, drop_name: str, drop: Training) -> str:
    whole, fewest = max(_whole(plain)), min(set(plain) & set(drop))
    costs = [
        f"{_loss(training, fewest) - _loss(training, whole):.2f} nats with {name}"
        for name, training in ((plain_name, plain), (drop_name, drop))
    ]
    return (
        f"pruning to {plural(fewest, 'layer')} of {whole} costs {' and '.join(costs)}. Compared with {plain_name},"
        f" {drop_name} changes the whole model's loss by {_loss(drop, whole) - _loss(plain, whole):+.2f} nats. Numbers"
        f" of layers kept with a lower loss: {_listed(_clearly_lower(drop, plain))}; with a higher loss:"
        f" {_listed(_clearly_lower(plain, drop))}; at others the ranges over the seeds overlap."
    )


def _whole(training: Training) -> list[int]:
    return [kept for kept, depth in training.items() if depth["whole"]]


def _loss(training: Training, kept: int) -> float:
    return training[kept]["loss"]["mean"]


def _clearly_lower(one: Training, other: Training) -> list[int]:
    """Layers kept, ascending, at which every seed of *one* has a lower loss than every seed of *other*."""
    return sorted(kept for kept in set(one) & set(other) if one[kept]["loss"]["high"] < other[kept]["loss"]["low"])


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _limits() -> str:
    return (
        "The paper trains far larger models far longer. These trainings see about a million tokens, so what LayerDrop"
        " costs the whole model here, and the depth from which it is better, say nothing about models of the paper's"
        " size."
    )
