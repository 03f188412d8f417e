"""Target tokens per second of fairseq's beam search: stock fairseq, this plugin, and models that it has pruned.

Models take turns on the same sentences: stock fairseq's transformer; layerdrop_transformer with the same weights;
children of it that keep every other layer of the decoder, and of both sides; and all of them, and one that keeps one
layer of the decoder, in CTranslate2, in single precision and with weights of 8 bits. All of them write the same number
of words, so that only their speed differs. Ends with status 1 if one of this plugin's models and stock fairseq's with
the same weights write different hypotheses; of CTranslate2's, those that are equal are counted.
"""

import importlib.metadata
import statistics
import sys
from argparse import Namespace
from dataclasses import dataclass

import ct2_search
import side_by_side
import tabulate
import torch
import translation
from fairseq.dataclass.configs import GenerationConfig

from layerdrop_plugin import provenance
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.prune import prune
from layerdrop_plugin.pruning.rules import Rules

HALF = "every-other:0.5"
TOLERANCE = 1e-4  # of a hypothesis' score, in nats per token
OPTIONS = {
    "beam": (4, "hypotheses of a sentence"),
    "batch": (32, "sentences of a batch"),
    "sentences": (64, "source sentences"),
    "length": (25, "words of every hypothesis"),
    "repeats": (15, "timed passes of each model over the sentences"),
}
SMOKE = {"layers": 2, "width": 16, "heads": 2, "vocabulary": 60, "beam": 2, "batch": 3, "sentences": 6, "length": 5}
SMOKE |= {"repeats": 2, "threads": 1}


@dataclass(frozen=True)
class Contestant:
    """A model to time.

    Attributes:
        arch: fairseq's architecture.
        rules: stack -> rule for the layers that it keeps of the common parent; other stacks keep all.
        goal: minimum of its tokens per second divided by the first contestant's.
        quantization: type of its weights in CTranslate2; None: fairseq runs it.
    """

    arch: str
    rules: dict[str, str]
    goal: float | None = None
    quantization: str | None = None


CONTESTANTS = {
    "stock": Contestant(translation.STOCK, {}),
    "whole": Contestant(translation.OURS, {}, 1.4),
    "half the decoder": Contestant(translation.OURS, {"decoder": HALF}, 2.3),
    "half of both": Contestant(translation.OURS, {"encoder": HALF, "decoder": HALF}, 2.5),
}
EXPORTED = {
    "whole": {},
    "half the decoder": {"decoder": HALF},
    "half of both": {"encoder": HALF, "decoder": HALF},
    "half the encoder, 1 decoder layer": {"encoder": HALF, "decoder": "even:1"},
}
GOALS = {("half the encoder, 1 decoder layer", "int8"): 12.0}


def contestants():
    """name -> Contestant; those of CTranslate2 where it is installed."""
    exported = {
        f"{name}, CTranslate2 {kind}": Contestant(translation.OURS, rules, GOALS.get((name, kind)), kind)
        for name, rules in EXPORTED.items()
        for kind in ct2_search.TYPES
    }
    return CONTESTANTS | (exported if ct2_search.installed() else {})


class Search:
    """fairseq's beam search with one model, prepared and called as fairseq-generate does it."""

    def __init__(self, model, task, args):
        generation = GenerationConfig(beam=args.beam, min_len=args.length, max_len_a=0, max_len_b=args.length)
        self._task, self._models, self._device = task, [model.to(args.device).eval()], args.device
        model.prepare_for_inference_(Namespace(generation=generation))
        self._generator = task.build_generator(self._models, generation)

    def hypotheses(self, batch):
        """fairseq's hypotheses of every sentence of *batch*, best first."""
        return self._task.inference_step(self._generator, self._models, batch)

    def seconds(self, batch):
        """Seconds that *batch* takes."""
        start = side_by_side.now(self._device)
        self.hypotheses(batch)
        return side_by_side.now(self._device) - start


def make_parent(args, task):
    """The checkpoint of a stock model with random weights, as fairseq would have saved it."""
    torch.manual_seed(args.seed)
    options = translation.model_options(args)
    model = translation.build(translation.STOCK, options, task)
    cfg = {"model": options | {"_name": translation.STOCK, "arch": translation.STOCK}, "task": {"_name": "translation"}}
    return {"cfg": cfg, "model": model.state_dict()}


def child_of(parent, layers):
    """The child's checkpoint that `layerdrop prune` makes of *parent* by rules for the *layers* of its stacks."""
    return prune(Parent(parent), Rules(layers)).state


def build(arch, child, task):
    """A model of *arch* with a child's shape and weights."""
    return translation.build(arch, child["cfg"]["model"], task, child["model"])


def same(search, other, batches):
    """Whether two searches write the same tokens, with scores that differ by no more than TOLERANCE."""
    for batch in batches:
        for first, second in zip(search.hypotheses(batch), other.hypotheses(batch), strict=True):
            for one, two in zip(first, second, strict=True):
                if not torch.equal(one["tokens"], two["tokens"]) or abs(one["score"] - two["score"]) > TOLERANCE:
                    return False
    return True


def count_same(exported, search, batches, words):
    """Of how many sentences CTranslate2's best hypothesis is fairseq's.

    Its search forbids an early end before it normalises the probabilities, and fairseq's after it: with random weights,
    where an end is likely at any step, that makes scores differ.
    """
    return sum(
        [words[word] for word in hypotheses[0]["tokens"].tolist()[:-1]] == best
        for batch in batches
        for best, hypotheses in zip(exported.best(batch), search.hypotheses(batch), strict=True)
    )


def measure(args):
    """Build the models, compare their hypotheses with stock fairseq's, and time them in turn; the record."""
    task = translation.make_task(args.vocabulary)
    batches = translation.make_batches(task, args.sentences, args.batch, args.seed, args.device, targets=False)
    parent, models, runs = make_parent(args, task), {}, {}
    for name, contestant in contestants().items():
        child = child_of(parent, contestant.rules)
        models[name] = {
            "architecture": contestant.arch,
            "rules": contestant.rules,
            "layers": [child["cfg"]["model"][f"{stack}_layers"] for stack in ("encoder", "decoder")],
        }
        stock, model = Search(build(translation.STOCK, child, task), task, args), build(contestant.arch, child, task)
        if contestant.quantization:
            search = ct2_search.Ct2Search(model, child, task, args, contestant.quantization)
            models[name] |= {
                "quantization": contestant.quantization,
                "sentences_same": count_same(search, stock, batches, task.target_dictionary),
            }
        else:
            search = Search(model, task, args)
            models[name]["same_hypotheses"] = same(search, stock, batches)
        runs[name] = search.seconds
    rounds = side_by_side.take_turns(runs, batches, args.repeats, "generate")
    seconds = {name: [sum(taken) for taken in rounds[name]] for name in rounds}
    for name, contestant in contestants().items():
        models[name] |= speed(seconds[name], seconds["stock"], args) | {"goal": contestant.goal}
    engine = {"ctranslate2": importlib.metadata.version("ctranslate2")} if ct2_search.installed() else {}
    return side_by_side.record("generate", args, {"models": models} | engine)


def speed(seconds, stock, args):
    """A model's figures.

    Args:
        seconds, stock (list[float]): seconds of each of its passes over the sentences, and of stock fairseq's.
        args (argparse.Namespace): the options.

    Returns:
        dict: `tokens_per_second`: target tokens of the best hypotheses, without end marks, at the median pass;
        `speed`: those over stock fairseq's, as :func:`side_by_side.ratio`; `seconds`.
    """
    tokens = args.sentences * args.length
    return {
        "tokens_per_second": tokens / statistics.median(seconds),
        "speed": side_by_side.ratio(stock, seconds),
        "seconds": seconds,
    }


def compared(model, sentences):
    """What the table says of a model's hypotheses beside stock fairseq's."""
    if "sentences_same" in model:
        return f"{model['sentences_same']} of {sentences}"
    return "yes" if model["same_hypotheses"] else "NO"


def table(models, sentences):
    """The figures of :func:`measure` as a table; of so many *sentences*."""
    rows = [
        {
            "model": name,
            "layers": "{} + {}".format(*model["layers"]),
            "tokens/s": round(model["tokens_per_second"]),
            "of stock": f"{model['speed']['median']:.2f}",
            "min to max": side_by_side.spread(model["speed"]),
            "goal": model["goal"] and f"at least {model['goal']}",
            "met": model["goal"] and side_by_side.verdict(model["speed"], model["goal"], at_least=True),
            "stock's hypotheses": compared(model, sentences),
        }
        for name, model in models.items()
    ]
    return tabulate.tabulate(rows, headers="keys", disable_numparse=True)


def main(arguments=None):
    """Run the benchmark; 1 if hypotheses differ where they must not, else 0."""
    args = side_by_side.parse(__file__, __doc__, OPTIONS, SMOKE, arguments)
    torch.set_num_threads(args.threads)
    with provenance.quiet():
        record = measure(args)
    side_by_side.write(record, args.out)
    print(table(record["models"], args.sentences))
    if not ct2_search.installed():
        print(
            "CTranslate2 is not installed and was left out: pip install -c constraints.txt ctranslate2", file=sys.stderr
        )
    different = [name for name, model in record["models"].items() if not model.get("same_hypotheses", True)]
    if different:
        print(f"generate.py: error: hypotheses differ from stock fairseq's: {', '.join(different)}", file=sys.stderr)
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
