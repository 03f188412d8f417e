"""Gradients of gates the slow way, which is easy to see to be right: one example at a time, through plain autograd."""

import contextlib

import builders
import torch
from omegaconf import OmegaConf

from layerdrop_plugin.base_criterion import base_criterion
from layerdrop_plugin.modules.gate import HEADS, LAYER, UNITS, Gate, by_part
from layerdrop_plugin.pruning.gates import gates_of

PAD = 1
ROOT = {"common": {"tpu": False}, "optimization": {"sentence_avg": False}}
KINDS = {  # task -> our architecture and fairseq's criterion
    "masked_lm": ("layerdrop_roberta", "masked_lm"),
    "sentence_prediction": ("layerdrop_roberta", "sentence_prediction"),
    "translation": ("layerdrop_transformer", "label_smoothed_cross_entropy"),
    "language_modeling": ("layerdrop_transformer_lm", "cross_entropy"),
}


class Multiplied(Gate):
    """A gate that multiplies what each part contributes with factors of its own for each token, kept in ``xi``."""

    def __call__(self, x, before=None):
        shape = {HEADS: (*x.shape[:3], 1), UNITS: x.shape, LAYER: (*x.shape[:2], 1)}[self.layout]
        self.xi = torch.ones(shape, dtype=x.dtype, requires_grad=True)
        return x * self.xi if before is None else before + self.xi * (x - before)

    def gradient(self):
        """(parts, tokens) of one example; zero where the gate was not used."""
        if getattr(self, "xi", None) is None or self.xi.grad is None:
            return torch.zeros(self.parts, 1)
        return by_part(self.xi.grad, self.layout)[0, ..., 0]


@contextlib.contextmanager
def multiplied(model):
    """Within this block the gates of *model* are such; yields them as (key, layer, gate)."""
    gates = [
        (key, layer, gate) for key, of in gates_of(model).items() for layer, gate in enumerate(of) if gate is not None
    ]
    for _, _, gate in gates:
        gate.__class__ = Multiplied
    try:
        yield gates
    finally:
        for _, _, gate in gates:
            gate.__class__ = Gate
            gate.__dict__.pop("xi", None)


def gradients(model, loss_fn, samples):
    """Of every example of *samples* by itself: {(key, layer): (parts, tokens)}, tokens being those of its stack."""
    found = []
    with multiplied(model) as gates:
        for sample in samples:
            for row in range(len(sample["target"])):
                for _, _, gate in gates:
                    gate.xi = None
                loss_fn(alone(sample, row)).backward()
                found.append({(key, layer): gate.gradient() for key, layer, gate in gates})
    return found


def alone(sample, row):
    """Example *row* as a batch of one, without padding."""
    given = {}
    for name, tensor in sample["net_input"].items():
        one = tensor[row : row + 1]
        given[name] = one[:, one[0].ne(PAD)] if tensor.dim() == 2 else one
    target = sample["target"][row : row + 1]
    if target.size(1) > 1:  # no label
        read = sample["net_input"].get("prev_output_tokens", sample["net_input"]["src_tokens"])
        target = target[:, read[row].ne(PAD)]
    return {"net_input": given, "target": target, "ntokens": 1, "nsentences": 1}


def samples_of(kind, sizes, seed=0):
    """A batch of random examples for each of *sizes*."""
    return [sample_of(kind, size, seed=seed + 10 * number) for number, size in enumerate(sizes)]


def sample_of(kind, size=3, length=9, seed=0):
    """A batch as fairseq's task *kind* makes it, of *size* random examples."""
    generator = torch.Generator().manual_seed(seed)
    given = builders.inputs(KINDS[kind][0], size, length, seed)
    read = given.get("prev_output_tokens", given["src_tokens"])
    target = torch.randint(4, 24, read.shape, generator=generator).masked_fill(read.eq(PAD), PAD)
    if kind == "masked_lm":
        target = target.masked_fill(torch.rand(read.shape, generator=generator) < 0.6, PAD)
        target[:, 0] = 5  # or nothing might be masked
    if kind == "sentence_prediction":
        target = torch.randint(0, 3, (size, 1), generator=generator)
    given["src_lengths"] = given["src_tokens"].ne(PAD).sum(1)
    tokens = int(given["src_tokens"].ne(PAD).sum() if kind == "masked_lm" else target.ne(PAD).sum())
    return {"id": torch.arange(size), "net_input": given, "target": target, "ntokens": tokens, "nsentences": size}


def model_of(kind, **shape):
    """A small model for *kind*, in evaluation mode."""
    torch.manual_seed(0)
    model = builders.build(KINDS[kind][0], **shape)
    if kind == "sentence_prediction":
        model.register_classification_head("sentence_classification_head", num_classes=3)
    return model.eval()


class Task(builders.FakeTask):
    """What criterions ask of a task."""

    label_dictionary = builders.dictionary(3)


def criterion_of(kind, arguments=None):
    """fairseq's criterion for *kind*."""
    return base_criterion(KINDS[kind][1], {}, arguments, OmegaConf.create(ROOT)).build(Task())
