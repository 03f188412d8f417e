"""Wall time of a training step with LayerDrop: stock fairseq and this plugin, dropping the same layers.

At every rate p both train on the same batches with the same weights and draws, taking turns step by step. A step is
what fairseq's trainer does: forward, label-smoothed loss, backward, gradient norm, Adam. Its learning rate is 0, so
that the weights stay the same and the losses and gradient norms of both can be compared; ends with status 1 if they
differ.

Two more models never run some layers: they measure the share of a step that layers take, which a rate can save.
"""

import math
import statistics
import sys
from dataclasses import dataclass

import side_by_side
import tabulate
import torch
import translation
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.modules import LayerDropModuleList
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from torch import nn

from layerdrop_plugin import provenance
from layerdrop_plugin.anatomy import STACKS
from layerdrop_plugin.modules.drop_rates import layer_rates
from layerdrop_plugin.modules.drop_seed import DropSeed
from layerdrop_plugin.modules.layer_stack import draw_kept

RATES = (0.0, 0.2, 0.5)
GOAL = 1.02  # maximum of this plugin's time divided by stock fairseq's
TOLERANCE = 1e-4  # of losses and gradient norms, relative
PHASES = ("forward", "backward", "optimizer")
OPTIONS = {
    "batch": (32, "sentence pairs of a batch"),
    "steps": (8, "steps of a round, each on another batch; at least 2"),
    "repeats": (5, "timed rounds"),
}
SMOKE = {"layers": 2, "width": 16, "heads": 2, "vocabulary": 60, "batch": 3, "steps": 2, "repeats": 2, "threads": 1}


@dataclass(frozen=True)
class Variant:
    """A model to time.

    Attributes:
        arch: fairseq's architecture.
        rate: chance p that a layer is left out of a step, in both stacks.
        never: stacks whose layers never run; only for stock fairseq's architecture.
    """

    arch: str
    rate: float
    never: tuple[str, ...] = ()


BARE = {"no encoder layers": Variant(translation.STOCK, RATES[-1], ("encoder",))}
BARE["no layers"] = Variant(translation.STOCK, RATES[-1], STACKS)
PAIRS = {rate: (f"stock, p = {rate:g}", f"ours, p = {rate:g}") for rate in RATES}
VARIANTS = {
    name: Variant(arch, rate)
    for rate, names in PAIRS.items()
    for name, arch in zip(names, (translation.STOCK, translation.OURS), strict=True)
} | BARE


class Schedule:
    """The layers that a step keeps, as this plugin draws them; stock fairseq's models use the same."""

    def __init__(self, seed, layers):
        self._seed, self._layers = seed, layers

    def kept(self, variant, stack, update):
        """The layers (tuple) of *stack* that *variant* runs in a step."""
        rates = layer_rates(0.0 if stack in variant.never else variant.rate, self._layers)
        return () if stack in variant.never else draw_kept(DropSeed(self._seed, update, 0, stack), rates)

    def dropped(self, variant, stack, weights):
        """The share of the layers of *stack* that *variant* drops in a round, the mean over steps with *weights*."""
        kept = [len(self.kept(variant, stack, update)) for update, _ in enumerate(weights, 1)]
        return 1 - statistics.fmean(kept, weights) / self._layers


class ScheduledLayerDrop(LayerDropModuleList):
    """fairseq's LayerDrop, which draws random numbers at the same cost but runs the layers in ``kept``.

    It has a random generator of its own, so that it does not change the random numbers of dropout.
    """

    def __init__(self, layers):
        super().__init__(0.0, list(nn.ModuleList.__iter__(layers)))
        self.kept, self._generator = (), torch.Generator()

    def __iter__(self):
        torch.empty(len(self)).uniform_(generator=self._generator)
        return (layer for depth, layer in enumerate(nn.ModuleList.__iter__(self)) if depth in self.kept)


class Training:
    """The training of a variant by fairseq's criterion and optimizer."""

    def __init__(self, variant, weights, task, schedule, args):
        options = translation.model_options(args, **{f"{stack}_layerdrop": variant.rate for stack in STACKS})
        self._model = translation.build(variant.arch, options, task, weights).to(args.device).train()
        self._criterion = LabelSmoothedCrossEntropyCriterion(task, sentence_avg=False, label_smoothing=0.1)
        adam = FairseqAdamConfig(adam_betas="(0.9, 0.98)", lr=[0.0], tpu=False)
        self._optimizer = FairseqAdam(adam, [p for p in self._model.parameters() if p.requires_grad])
        self._variant, self._schedule, self._seed, self._device = variant, schedule, args.seed, args.device
        self._drops = {}
        for stack in STACKS:
            layers = getattr(self._model, stack).layers
            if isinstance(layers, LayerDropModuleList):
                self._drops[stack] = getattr(self._model, stack).layers = ScheduledLayerDrop(layers)

    def step(self, item):
        """One step of fairseq's trainer.

        Args:
            item (tuple[int, dict]): number of the update, and the batch.

        Returns:
            dict: seconds of each of PHASES, and the `loss` per token and the `norm` of the gradients.
        """
        update, sample = item
        for stack, layers in self._drops.items():
            layers.kept = self._schedule.kept(self._variant, stack, update)
        self._model.set_num_updates(update)
        torch.manual_seed(self._seed + update)  # as fairseq's trainer, for dropout
        times = [side_by_side.now(self._device)]
        loss, tokens, _ = self._criterion(self._model, sample)
        times.append(side_by_side.now(self._device))
        self._optimizer.backward(loss)
        times.append(side_by_side.now(self._device))
        self._optimizer.multiply_grads(1 / tokens)
        norm = self._optimizer.clip_grad_norm(0.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        times.append(side_by_side.now(self._device))
        seconds = {phase: end - start for phase, start, end in zip(PHASES, times, times[1:], strict=False)}
        return seconds | {"loss": loss.item() / tokens, "norm": float(norm)}

    def undisturbed(self, item):
        """:meth:`step` without dropout, whose random masks depend on the memory order of a model's tensors."""
        dropouts = [module for module in self._model.modules() if isinstance(module, FairseqDropout)]
        rates = [dropout.p for dropout in dropouts]
        for dropout in dropouts:
            dropout.p = 0.0
        try:
            return self.step(item)
        finally:
            for dropout, rate in zip(dropouts, rates, strict=True):
                dropout.p = rate


def measure(args):
    """Train all variants in turn; the record."""
    task, schedule = translation.make_task(args.vocabulary), Schedule(args.seed, args.layers)
    sentences = args.steps * args.batch
    batches = translation.make_batches(task, sentences, args.batch, args.seed, args.device, targets=True)
    torch.manual_seed(args.seed)
    weights = translation.build(translation.STOCK, translation.model_options(args), task).state_dict()
    trainings = {name: Training(variant, weights, task, schedule, args) for name, variant in VARIANTS.items()}
    items = list(enumerate(batches, 1))
    runs = {name: training.step for name, training in trainings.items()}
    rounds = side_by_side.take_turns(runs, items, args.repeats, "training")
    checks = {name: [trainings[name].undisturbed(item) for item in items] for pair in PAIRS.values() for name in pair}
    seconds = {name: [sum(map(total, steps)) for steps in series] for name, series in rounds.items()}
    shares = layer_shares(seconds)
    return side_by_side.record(
        "training",
        args,
        {
            "tokens_per_step": statistics.fmean(batch["ntokens"] for batch in batches),
            "layer_shares": shares,
            "goal": GOAL,
            "variants": {name: times(series, seconds[name]) for name, series in rounds.items()},
            "rates": [compare(rate, rounds, seconds, shares, schedule) | agree(rate, checks) for rate in RATES],
        },
    )


def total(step):
    """Seconds of a step."""
    return sum(step[phase] for phase in PHASES)


def layer_shares(seconds):
    """Share of stock fairseq's step that each stack's layers take (dict), from the models that never run them.

    Args:
        seconds (dict[str, list[float]]): of each variant's rounds.
    """
    whole = seconds[PAIRS[0.0][0]]
    no_encoder, nothing = (side_by_side.ratio(seconds[name], whole)["median"] for name in BARE)
    return {"encoder": 1 - no_encoder, "decoder": no_encoder - nothing}


def times(rounds, seconds):
    """A variant's times in milliseconds per step, the median over rounds: `step` and each phase; and `seconds`."""
    count = len(rounds[0])
    phases = {phase: statistics.median(sum(step[phase] for step in steps) for steps in rounds) for phase in PHASES}
    taken = {"step": statistics.median(seconds)} | phases
    return {f"{name}_ms": 1000 * value / count for name, value in taken.items()} | {"seconds": seconds}


def compare(rate, rounds, seconds, shares, schedule):
    """Compare this plugin with stock fairseq at one rate, and both with themselves at rate 0.

    Args:
        rate (float): p.
        rounds (dict[str, list[list[dict]]]): the steps, see :meth:`Training.step`.
        seconds (dict[str, list[float]]): of each variant's rounds.
        shares (dict[str, float]): see :func:`layer_shares`.
        schedule (Schedule): the draws.

    Returns:
        dict: `rate`; `dropped`: stack -> share of layers dropped, the mean over steps weighted by their time at rate 0
        (batches differ in length); `ours_over_stock`, a :func:`side_by_side.ratio`; `stock_over_whole` and
        `ours_over_whole`: the ratio time(p) / time(0); `expected_over_whole`: that if dropped layers took no time.
    """
    stock, ours = PAIRS[rate]
    whole = [statistics.median(map(total, steps)) for steps in zip(*rounds[PAIRS[0.0][0]], strict=True)]
    dropped = {stack: schedule.dropped(VARIANTS[stock], stack, whole) for stack in STACKS}
    return {
        "rate": rate,
        "dropped": dropped,
        "ours_over_stock": side_by_side.ratio(seconds[ours], seconds[stock]),
        "expected_over_whole": 1 - sum(shares[stack] * dropped[stack] for stack in STACKS),
        "stock_over_whole": side_by_side.ratio(seconds[stock], seconds[PAIRS[0.0][0]]),
        "ours_over_whole": side_by_side.ratio(seconds[ours], seconds[PAIRS[0.0][1]]),
    }


def agree(rate, checks):
    """`same_losses`: whether both models' losses and gradient norms at one rate agree in every step of *checks*."""
    stock, ours = (checks[name] for name in PAIRS[rate])
    names = ("loss", "norm")
    close = [math.isclose(a[n], b[n], rel_tol=TOLERANCE) for a, b in zip(stock, ours, strict=True) for n in names]
    return {"same_losses": all(close)}


def tables(record):
    """The figures of :func:`measure` as tables: rates, and times of each phase."""
    rates = [
        {
            "p": row["rate"],
            "dropped": " + ".join(f"{row['dropped'][stack]:.0%}" for stack in STACKS),
            "ours / stock": f"{row['ours_over_stock']['median']:.3f}",
            "min to max": side_by_side.spread(row["ours_over_stock"]),
            "goal": f"at most {GOAL}",
            "met": side_by_side.verdict(row["ours_over_stock"], GOAL),
            "time(p) / time(0): expected": f"{row['expected_over_whole']:.3f}",
            "stock": f"{row['stock_over_whole']['median']:.3f}",
            "ours": f"{row['ours_over_whole']['median']:.3f}",
            "same losses": "yes" if row["same_losses"] else "NO",
        }
        for row in record["rates"]
    ]
    phases = [
        {"milliseconds of a step": name} | {key: f"{row[f'{key}_ms']:.1f}" for key in ("step", *PHASES)}
        for name, row in record["variants"].items()
    ]
    return "\n\n".join(tabulate.tabulate(rows, headers="keys", disable_numparse=True) for rows in (rates, phases))


def main(arguments=None):
    """Run the benchmark; 1 if losses differ where they must not, else 0."""
    args = side_by_side.parse(__file__, __doc__, OPTIONS, SMOKE, arguments)
    if args.steps < 2:
        sys.exit("training.py: error: --steps wants 2 or more: a draw belongs to an update, whose number has to change")
    torch.set_num_threads(args.threads)
    with provenance.quiet():
        record = measure(args)
    side_by_side.write(record, args.out)
    print(tables(record))
    different = [f"p = {row['rate']:g}" for row in record["rates"] if not row["same_losses"]]
    if different:
        print(f"training.py: error: losses differ from stock fairseq's: {', '.join(different)}", file=sys.stderr)
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
