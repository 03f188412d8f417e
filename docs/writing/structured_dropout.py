"""What structured dropout, estimating importance again and importance per token bring."""

import statistics

from .markdown import plural, provenance, read, sentences, short, table, versions

TITLE = "Structured dropout, importance estimated again, importance per token"
COMMAND = "python benchmarks/structured_dropout.py DATA PARENT --out docs/structured_dropout.json"
REPORT = "docs/structured_dropout.json"
MEASURED = ("whole", "half the heads", "half the FFN units", "half the sublayers")
AIMED_AT = dict(zip(("heads", "FFN units", "sublayers"), MEASURED[1:], strict=True))


def section() -> list[str]:
    """A table of losses, and what it says."""
    report = read(REPORT)
    models, settings = report["models"], report["settings"]
    trainings = list(dict.fromkeys(model["dropout"] for model in models))
    rows = [[name, *(_losses(models, name, column) for column in MEASURED)] for name in trainings]
    seeds = {model["seed"] for model in models}
    return [
        f"The quick start's classifier of reviews, fine-tuned for {settings['updates']} updates with the structured"
        f" dropout of the first column at rate {settings['rate']:g}. Losses on test (nats per example): the mean over"
        " seeds, in brackets the least and the greatest. The heads and FFN units removed are those of the lowest"
        " importance, the sublayers attention and FFN of alternate layers; nothing is trained after that.",
        table(["dropout of", *MEASURED], rows, 1),
        sentences(*(_dropout(models, name) for name in AIMED_AT), _again(models), _per_token(models)),
        provenance(
            f"`{report['command']}`",
            plural(len(seeds), "seed"),
            plural(models[0]["test_examples"], "example"),
            short(report["data_sha256"]),
            f"importance of {plural(settings['examples'], 'example')}",
            versions(report),
        ),
    ]


def _of(models: list[dict], name: str) -> dict[int, dict]:
    return {model["seed"]: model for model in models if model["dropout"] == name}


def _losses(models: list[dict], name: str, column: str) -> str:
    values = [model[column] for model in _of(models, name).values()]
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _dropout(models: list[dict], name: str) -> str | None:
    """The change of the loss by the dropout of one kind of structure, whole and halved, seed by seed."""
    plain, dropped = _of(models, "none"), _of(models, name)
    seeds = sorted(plain.keys() & dropped.keys())
    if not seeds:
        return None
    halved = AIMED_AT[name]
    changes = [dropped[seed][halved] - plain[seed][halved] for seed in seeds]
    whole = [dropped[seed]["whole"] - plain[seed]["whole"] for seed in seeds]
    return (
        f"Dropout of {name}: with {halved} the loss is lower than without that dropout for"
        f" {sum(change < 0 for change in changes)} of {plural(len(seeds), 'seed')} ({statistics.mean(changes):+.3f} on"
        f" average); of the whole model it changes by {statistics.mean(whole):+.3f}."
    )


def _compared(models: list[dict], column: str) -> str:
    changes = [model[column] - model["half the heads"] for model in models]
    lower, higher = sum(change < 0 for change in changes), sum(change > 0 for change in changes)
    return (
        f"a loss lower for {lower}, higher for {higher} of {plural(len(models), 'model')}, by"
        f" {statistics.mean(changes):+.4f} on average ({min(changes):+.4f} to {max(changes):+.4f})"
    )


def _again(models: list[dict]) -> str:
    """Importance estimated again before each step, against once."""
    changes = _compared(models, "half the heads, estimated again")
    return f"Half the heads removed in four steps, importance estimated before each (`--re-estimate`): {changes}."


def _per_token(models: list[dict]) -> str:
    """Importance per token against per example."""
    alike = [model["spearman"] for model in models]
    return (
        f"Importance per token (`--per token`) ranks heads with a Spearman correlation of {statistics.mean(alike):.2f}"
        f" ({min(alike):.2f} to {max(alike):.2f}) with importance per example, and removes half the heads with"
        f" {_compared(models, 'half the heads, per token')}."
    )
