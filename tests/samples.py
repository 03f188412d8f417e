"""Small data folders, checkpoints, logs and results that the tests of reports share."""

import json

import torch

from layerdrop_plugin.evaluation import rounds
from layerdrop_plugin.evaluation.metrics import interval

DIGEST = "d" * 64
PLAN = {"version": 1, "encoder": {"layers": [1, 3, 5]}}
_STACK = {
    **{"layers": 6, "heads": 4, "ffn": 8, "embed_dim": 16},
    "sizes": {"self_attn": [4] * 6, "ffn": [8] * 6},
}
ORIGIN = {
    "ancestors": [
        {"file": "parent.pt", "sha256": "abc" * 20, "plan": PLAN, "shape": {"encoder": _STACK, "decoder": None}}
    ],
    "plan": PLAN,
    "plan_sha256": "def" * 20,
}
HISTORY = [{"criterion_name": "x", "optimizer_name": "x", "lr_scheduler_state": {}, "num_updates": 0}]
SHAPE = {"encoder_layers": 6, "decoder_layers": None, "parameters": 6000, "weight_bytes": 24000, "bytes": 99000}


def save_dictionary(path, words, letter="w"):
    """Write a dictionary of *words* words w0, w1, …; return its number of symbols."""
    from fairseq.data import Dictionary

    dictionary = Dictionary()
    for word in range(words):
        dictionary.add_symbol(f"{letter}{word}")
    dictionary.save(str(path))
    return len(dictionary)


def save_dataset(prefix, items, symbols):
    """Write tensors of tokens as fairseq-preprocess does."""
    from fairseq.data import indexed_dataset

    builder = indexed_dataset.make_builder(f"{prefix}.bin", "mmap", vocab_size=symbols)
    for item in items:
        builder.add_item(item)
    builder.finalize(f"{prefix}.idx")


def save_nlu_data(folder, splits, words=20):
    """A sentence_prediction folder: split -> lengths of its sentences, end mark included."""
    for part, count in (("input0", words), ("label", 2)):
        (folder / part).mkdir(parents=True)
        symbols = save_dictionary(folder / part / "dict.txt", count)
        for split, lengths in splits.items():
            sentences = [torch.arange(length) % count + 4 for length in lengths]
            items = sentences if part == "input0" else [torch.tensor([4, 2])] * len(lengths)
            save_dataset(folder / part / split, items, symbols)
    return folder


def save_translation_data(folder, sentences, split="test"):
    """A de-en folder with its text: *sentences* are lists of numbers of words; the target says the same in v."""
    folder.mkdir(parents=True, exist_ok=True)
    for language, letter in (("de", "w"), ("en", "v")):
        symbols = save_dictionary(folder / f"dict.{language}.txt", 20, letter)
        items = [torch.tensor([*(word + 4 for word in sentence), 2]) for sentence in sentences]
        save_dataset(folder / f"{split}.de-en.{language}", items, symbols)
        text = [" ".join(f"{letter}{word}" for word in sentence) for sentence in sentences]
        (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in text))
    return folder


def save_model(data, path, words):
    """Build a stock model with the options *words* as fairseq-train would and save it as its checkpoints look."""
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from omegaconf import OmegaConf

    args = options.parse_args_and_arch(options.get_training_parser(), [str(data), *words.split()])
    cfg = convert_namespace_to_omegaconf(args)
    model = tasks.setup_task(cfg.task).build_model(cfg.model)
    state = {
        "args": None,
        "cfg": OmegaConf.to_container(cfg),
        "model": model.state_dict(),
        "optimizer_history": HISTORY,
        "extra_state": {"train_iterator": {"epoch": 1}},
    }
    torch.save(state, path)
    return str(path)


def save_classifier(data, path, layers):
    """A random RoBERTa with a classification head that reads at most 20 tokens."""
    shape = f"--encoder-layers {layers} --encoder-embed-dim 8 --encoder-ffn-embed-dim 16 --encoder-attention-heads 2"
    use = "--task sentence_prediction --num-classes 2 --init-token 0 --criterion sentence_prediction"
    return save_model(data, path, f"--arch roberta --max-positions 20 {shape} {use}")


def save_translator(data, path, layers, languages="-s de -t en"):
    """A random Transformer with *layers* decoder layers that reads at most 20 tokens and writes at most 12."""
    sides = (f"--{side}-embed-dim 8 --{side}-ffn-embed-dim 16 --{side}-attention-heads 2" for side in SIDES)
    shape = f"--encoder-layers 2 --decoder-layers {layers} {' '.join(sides)}"
    longest = "--max-source-positions 20 --max-target-positions 12"
    use = f"--task translation {languages} --criterion label_smoothed_cross_entropy"
    return save_model(data, path, f"--arch transformer {longest} {shape} {use}")


SIDES = ("encoder", "decoder")


def log_file(folder, values, split="test", said="", name="validate.log"):
    """What fairseq-validate prints with --log-format json: chatter, a Python dictionary, interim lines, results."""
    results = json.dumps({f"{split}_{key}": value for key, value in values.items()})
    path = folder / name
    path.write_text(
        "2026-01-01 00:00:00 | INFO | fairseq_cli.validate | {'_name': None, 'common': {'test_loss': 1}}\n"
        f"2026-01-01 00:00:00 | INFO | fairseq.tasks | {said}\n"
        '2026-01-01 00:00:00 | INFO | fairseq.logging.progress_bar | {"loss": 7.0, "ncorrect": 1}\n'
        f"2026-01-01 00:00:00 | INFO | {split} | {results}\n",
        encoding="utf-8",
    )
    return path


def accuracy_result(name, seed, accuracy, layers=6, **changes):
    """A result of a classifier, 1,000 examples; one of 3 layers was pruned."""
    correct = round(accuracy * 10)
    made = SHAPE | {"encoder_layers": layers, "parameters": 1000 * layers, "weight_bytes": 4000 * layers}
    measured = {
        "examples": 1000,
        "metric": {"name": "accuracy", "value": accuracy},
        "metrics": {"accuracy": accuracy},
        "correct": correct,
        "interval": interval("accuracy", accuracy, 1000, correct),
        "loss": 0.5,
    }
    command = f"fairseq-validate data --path {name}{seed}.pt"
    origin = {"plan": PLAN, "provenance": ORIGIN} if layers == 3 else {}
    return result(name, seed, made, measured | {"command": command} | origin | changes)


def result(name, seed, checkpoint, changes):
    """What all results have, with *changes*; *checkpoint* is its size, or None."""
    described = {"path": f"{name}{seed}.pt", "sha256": f"{name}{seed}".ljust(64, "0")}
    return {
        "type": "layerdrop.result",
        "version": 1,
        "name": name,
        "seed": seed,
        "split": "test",
        "interval": None,
        "loss": None,
        "checkpoint": checkpoint and described | checkpoint,
        "data_sha256": DIGEST,
        "plan": None,
        "provenance": None,
        "point": None,
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "command": None,
        **changes,
    }


def bleu_result(name, seed, bleu, decoder_layers=6, loss=2.5, **changes):
    """A result of a translation model, 100 sentences; *decoder_layers* None is a copy of the source."""
    made = decoder_layers and SHAPE | {"decoder_layers": decoder_layers, "parameters": 1000 * (6 + decoder_layers)}
    measured = {
        "examples": 100,
        "metric": {"name": "bleu", "value": bleu},
        "metrics": {"bleu": bleu, "chrf": bleu + 20} | ({"nll_loss_nats": loss} if loss is not None else {}),
        "interval": [bleu - 1, bleu + 2],
        "signatures": {"bleu": "nrefs:1|tok:13a", "chrf": "nrefs:1|nc:6"},
        "references": "raw text",
        "references_sha256": "f" * 64,
    }
    return result(name, seed, made or None, measured | changes)


def accuracy_latency(*models):
    """A measurement of classifiers (name, layers, ms at batch 1, ms at batch 32)."""

    def one(name, layers, small, large):
        times = {"1": small, "32": large}
        ratio = {"1": small / models[0][2], "32": large / models[0][3]}
        made = accuracy_result(name, 1, 50.0, layers)["checkpoint"]
        return {"name": name, "checkpoint": made, "ms_per_sentence": times, "ratio": ratio, "all_ms_per_sentence": {}}

    return _latency([1, 32], [one(*model) for model in models])


def bleu_latency(*models):
    """A measurement of translation models (name, decoder layers, tokens per second at batch 32)."""

    def one(name, layers, speed):
        figures = {"tokens_per_second": {"32": speed}, "speed": {"32": speed / models[0][2]}}
        return {"name": name, "checkpoint": bleu_result(name, 1, 1.0, layers)["checkpoint"], **figures}

    generation = {"beam": 4, "nbest": 1}
    return _latency([32], [one(*model) for model in models], task="translation", generation=generation)


def with_rounds(measurement, **ratios):
    """The *measurement* with the ratios of single rounds: model -> ratios at the largest batch."""
    size = str(max(measurement["batch_sizes"]))
    models = [
        model | {"spread": {size: rounds.spread(ratios[model["name"]])}} if model["name"] in ratios else model
        for model in measurement["models"]
    ]
    return measurement | {"models": models}


def _latency(batch_sizes, models, **changes):
    return {
        "type": "layerdrop.latency",
        "version": 1,
        "device": "cpu",
        "cpu": "Test CPU",
        "threads": 2,
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "command": "layerdrop latency …",
        "data_sha256": DIGEST,
        "split": "test",
        "seed": 1,
        "sentences": 256,
        "mean_tokens": 24.25,
        "repeats": 7,
        "batch_sizes": batch_sizes,
        "models": models,
        **changes,
    }


def save(folder, *contents):
    """Write each of *contents* as a JSON file 0.json, 1.json, … of *folder*."""
    folder.mkdir(exist_ok=True)
    for index, content in enumerate(contents):
        (folder / f"{index}.json").write_text(json.dumps(content))
    return folder
