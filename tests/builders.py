"""Small models, data and commands that the tests share."""

import inspect
import os
import random
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import fresh
import torch
from fairseq import models
from fairseq.data import Dictionary
from fairseq.sequence_generator import SequenceGenerator
from omegaconf import OmegaConf

import layerdrop_plugin
from layerdrop_plugin import checkpoint
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.prune import prune

USER_DIR = str(Path(layerdrop_plugin.__file__).parent)


def dictionary(symbols: int = 20) -> Dictionary:
    """A dictionary of *symbols* words, with <mask> at its end as fairseq's tasks have it."""
    result = Dictionary()
    for number in range(symbols):
        result.add_symbol(f"w{number}")
    result.add_symbol("<mask>")
    return result


class FakeTask:
    """What building a model asks of a task."""

    def __init__(self, symbols: int = 20):
        self.source_dictionary = self.target_dictionary = dictionary(symbols)

    def max_positions(self):
        return 64


def options(**changes) -> Namespace:
    """Options of a very small model without dropout; the decoder's sizes are the encoder's unless *changes* say so."""
    sizes = {"layers": 4, "embed_dim": 16, "ffn_embed_dim": 24, "attention_heads": 2}
    sizes |= {name: changes[f"encoder_{name}"] for name in sizes if f"encoder_{name}" in changes}
    values = {
        **{f"{stack}_{name}": size for stack in ("encoder", "decoder") for name, size in sizes.items()},
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "max_positions": 64,
        "tokens_per_sample": 64,
        "add_bos_token": False,
        "task": "translation",
        "max_target_positions": 64,
        "tpu": False,
        "ddp_backend": "pytorch_ddp",
        "seed": 1,
    }
    return Namespace(**(values | changes))


def build(arch: str, symbols: int = 20, **changes):
    """A model of architecture *arch* with random weights; ``model.built_from`` are its options."""
    arch = {"bart": "bart_large"}.get(arch, arch)  # which fairseq has no architecture for
    args = options(arch=arch, _name=arch, **changes)
    model = models.build_model(args, FakeTask(symbols))
    model.built_from = args
    return model


def batch(size: int = 3, length: int = 9, symbols: int = 20, seed: int = 0) -> torch.Tensor:
    """Random tokens (size, length), all but the first row padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(4, 4 + symbols, (size, length), generator=generator)
    tokens[:, 0] = 0
    for row in range(1, size):
        tokens[row, length - row % (length - 1) :] = 1
    return tokens


def pairs(size: int = 3, source: int = 9, target: int = 7, symbols: int = 20, seed: int = 0) -> dict:
    """What an encoder-decoder model is called with: random sentences, the source padded on the left as fairseq does."""
    tokens = batch(size, source, symbols, seed).flip(1)
    previous = batch(size, target, symbols, seed + 1)
    previous[:, 0] = 2
    return {"src_tokens": tokens, "src_lengths": tokens.ne(1).sum(1), "prev_output_tokens": previous}


def inputs(arch: str, size: int = 3, length: int = 9, seed: int = 0) -> dict:
    """Arguments of the forward of a model of *arch*."""
    if arch.endswith(("roberta", "_lm")):
        return {"src_tokens": batch(size, length, seed=seed)}
    return pairs(size, length, max(2, length - 2), seed=seed)


def state_of(model, arch: str = "layerdrop_roberta") -> dict:
    """The checkpoint that fairseq would have saved of *model*, as ``checkpoint.read`` gives it."""
    return {
        "args": None,
        "cfg": {
            "model": vars(model.built_from) | {"_name": arch, "arch": arch},
            "task": {"_name": "masked_lm", "data": "", "tokens_per_sample": 64},
            "common": {"user_dir": "/somewhere", "seed": 1},
        },
        "model": model.state_dict(),
        "optimizer_history": [
            {
                "criterion_name": "MaskedLmLoss",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {"best": None},
                "num_updates": 7,
            }
        ],
        "extra_state": {"train_iterator": {"epoch": 3}, "best": 1.0},
        "last_optimizer_state": {"state": {}},
    }


def save_as_before_2020(state, path) -> None:
    """Save *state* as ``torch.save`` did before PyTorch 1.6."""
    torch.save(state, path, _use_new_zipfile_serialization=False)


def assert_equal_but_for_rounding(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal to 1e-5 of the greatest value, at least of 1: gradients that sum over a batch round as their sums do."""
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-5, rtol=0)


def child_of(parent, plan, arch: str = "layerdrop_roberta"):
    """Surgery, then fairseq's own building and loading of what it made."""
    return child_and_state(parent, plan, arch)[0]


def child_and_state(parent, plan, arch: str):
    """The same, and the child's checkpoint as ``checkpoint.read`` gives it."""
    state = prune(Parent(state_of(parent, arch)), plan).state
    cfg = OmegaConf.create(state["cfg"], flags={"allow_objects": True})
    child = inspect.unwrap(models.build_model)(cfg.model, FakeTask(), True)  # without what this plugin puts around it
    child.load_state_dict(state["model"], strict=True, model_cfg=cfg.model)
    return child, state | {"cfg": checkpoint.plain(state["cfg"])}


class Logits(torch.nn.Module):
    """A model's logits alone: the tracer does not understand fairseq's dictionaries of extras."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *inputs):
        return self.model(*inputs)[0]


def search(model, beam: int) -> list:
    """The hypotheses (tokens) that fairseq's beam search finds for the sentences of :func:`pairs`."""
    sample = {"net_input": {name: value for name, value in pairs().items() if name.startswith("src_")}}
    generator = SequenceGenerator([model], dictionary(), beam_size=beam, max_len_b=10)
    found = generator.generate([model], sample)
    return [[hypothesis["tokens"].tolist() for hypothesis in hypotheses] for hypotheses in found]


def run(*command, cwd=None, check=True, env=None) -> subprocess.CompletedProcess:
    """Run a command of this environment (fairseq-train, layerdrop, ...); its output is in ``stdout``, both streams."""
    command = [str(part) for part in command]
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    env = {"PATH": path, "OMP_NUM_THREADS": "1"} | (env or {})
    result = (fresh.run if command[0] in (*fresh.COMMANDS, "python") else _subprocess)(command, cwd, env)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {result.returncode}\n{result.stdout[-4000:]}")
    return result


def _subprocess(command, cwd, env):
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )


def write_data(folder: Path) -> None:
    """Binarise random text with fairseq-preprocess: ``lm`` (language models), ``nlu`` (two classes), ``nmt`` (a-b)."""
    rng = random.Random(0)
    for split, lines in (("train", 120), ("valid", 30), ("test", 21)):
        labels = [rng.randint(0, 1) for _ in range(lines)]
        words = [f"w{number}" for number in range(40)]
        texts = [" ".join(rng.choices(words[:25] if y else words[15:], k=rng.randint(3, 14))) for y in labels]
        (folder / f"{split}.txt").write_text("\n".join(texts) + "\n")
        (folder / f"{split}.label").write_text("\n".join(map(str, labels)) + "\n")
    for kind, destination, extra in (
        ("txt", "lm", []),
        ("txt", "nlu/input0", ["--srcdict", folder / "lm" / "dict.txt"]),
        ("label", "nlu/label", []),
    ):
        for split in ("train", "valid", "test"):
            (folder / f"{split}.raw").write_text((folder / f"{split}.{kind}").read_text())
        run(
            *("fairseq-preprocess", "--only-source", "--destdir", folder / destination, "--workers", "1", *extra),
            *("--trainpref", folder / "train.raw", "--validpref", folder / "valid.raw"),
            *("--testpref", folder / "test.raw"),
        )
    for split in ("train", "valid", "test"):
        lines = (folder / f"{split}.txt").read_text().splitlines()
        (folder / f"{split}.a").write_text("".join(f"{line}\n" for line in lines))
        (folder / f"{split}.b").write_text("".join(f"{' '.join(line.split()[::-1])}\n" for line in lines))
    run(
        *("fairseq-preprocess", "-s", "a", "-t", "b", "--joined-dictionary", "--workers", "1"),
        *("--srcdict", folder / "lm" / "dict.txt", "--destdir", folder / "nmt"),
        *("--trainpref", folder / "train", "--validpref", folder / "valid", "--testpref", folder / "test"),
    )


TRAIN = (
    *("--optimizer", "adam", "--lr", "1e-3", "--batch-size", "16", "--cpu", "--no-progress-bar", "--seed", "3"),
    *("--required-batch-size-multiple", "1", "--user-dir", USER_DIR, "--num-workers", "0"),
)
PRETRAIN = (
    *("--task", "masked_lm", "--criterion", "masked_lm", "--tokens-per-sample", "32"),
    *("--arch", "layerdrop_roberta_tiny", "--encoder-layers", "4", "--encoder-embed-dim", "16"),
    *("--encoder-ffn-embed-dim", "32", "--encoder-attention-heads", "2", "--dropout", "0", "--attention-dropout", "0"),
    *TRAIN,
)
FINETUNE = (
    *("--task", "pruning_sentence_prediction", "--criterion", "sentence_prediction", "--num-classes", "2"),
    *("--init-token", "0", "--arch", "layerdrop_roberta", "--best-checkpoint-metric", "accuracy"),
    *("--maximize-best-checkpoint-metric", "--no-epoch-checkpoints", *TRAIN),
)
VALIDATE = (
    *("--task", "sentence_prediction", "--criterion", "sentence_prediction", "--valid-subset", "test"),
    *("--batch-size", "8", "--required-batch-size-multiple", "1", "--cpu", "--no-progress-bar"),
)
NMT = (
    *("--task", "translation", "--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1"),
    *("--arch", "layerdrop_transformer_tiny", "--encoder-layers", "4", "--decoder-layers", "3"),
    *("--encoder-embed-dim", "16", "--decoder-embed-dim", "16", "--encoder-ffn-embed-dim", "32"),
    *("--decoder-ffn-embed-dim", "32", "--encoder-attention-heads", "2", "--decoder-attention-heads", "2"),
    *("--share-all-embeddings", "--dropout", "0", "--disable-validation", "--source-lang", "a", "--target-lang", "b"),
    *TRAIN,
)
GENERATE = (
    *("--gen-subset", "test", "--batch-size", "8", "--required-batch-size-multiple", "1", "--cpu", "--beam", "3"),
    *("--max-len-b", "20", "--no-progress-bar", "--num-workers", "0"),
)
LANGUAGE_MODEL = (
    *("--task", "language_modeling", "--criterion", "cross_entropy", "--tokens-per-sample", "32"),
    *("--arch", "layerdrop_transformer_lm_gpt2_tiny", "--decoder-layers", "4", "--decoder-embed-dim", "16"),
    *("--decoder-ffn-embed-dim", "32", "--decoder-attention-heads", "2", "--dropout", "0", "--attention-dropout", "0"),
    *("--disable-validation", *TRAIN),
)
