"""Time of estimating importance, compared with a training step and with published scripts' loop over single examples.

Measured in turn on the same batches of sentences to classify: a training step (forward, backward, gradient norm, Adam;
with dropout); the same step with probes on all gates, as `--criterion head_importance` trains; the estimate alone, as
`layerdrop importance` makes it, of every head, FFN unit and layer; and the loop, which multiplies gates of ones into
the heads alone and takes one example at a time, without padding, weights' gradients included. Ends with status 1 if the
estimate and the loop give heads different scores.
"""

import statistics
import sys

import roberta
import side_by_side
import tabulate
import torch
import translation
from fairseq import utils
from fairseq.criterions.sentence_prediction import SentencePredictionConfig, SentencePredictionCriterion
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig

from layerdrop_plugin import provenance
from layerdrop_plugin.importance.estimation import sum_gradients
from layerdrop_plugin.importance.recorder import Recorder
from layerdrop_plugin.pruning.gates import gates_of

HEADS = "encoder.self_attn"
CLASSES = 2
TOLERANCE = 1e-5  # of a score, relative to the greatest one
RUNS = ("training step", "alongside training", "estimate alone", "loop over examples")
TRAINING, ALONGSIDE, ALONE, LOOP = RUNS
# (run, other run) -> bound of the ratio of their times
GOALS = {(ALONE, TRAINING): ("at most", 0.72), (ALONGSIDE, TRAINING): ("at most", 1.03)}
FASTER = {"cpu": 2.3, "cuda": 10.0}  # minimum of the loop's time divided by the estimate's
OPTIONS = {
    "batch": (32, "sentences of a batch"),
    "shortest": (10, "tokens of the shortest sentence"),
    "longest": (40, "tokens of a batch's longest sentence"),
    "batches": (4, "batches of a round"),
    "repeats": (5, "timed rounds"),
}
SMOKE = {"layers": 2, "width": 16, "heads": 2, "vocabulary": 60, "batch": 3, "shortest": 4, "longest": 7, "batches": 2}
SMOKE |= {"repeats": 2, "threads": 1}


def make_batches(args, words):
    """Batches of random sentences with random classes, sorted by length as by fairseq (list[dict])."""
    sentences = args.batches * args.batch
    tokens = roberta.make_sentences(words, sentences, args.shortest, max(args.shortest, args.longest), args.seed)
    labels = torch.randint(CLASSES, (sentences, 1), generator=torch.Generator().manual_seed(args.seed))
    lengths, order = tokens.ne(words.pad()).sum(1).sort()
    samples = []
    for rows, long in zip(order.split(args.batch), lengths.split(args.batch), strict=True):
        net_input = {"src_tokens": tokens[rows, : long.max()], "src_lengths": long}
        sample = {"id": rows, "net_input": net_input, "target": labels[rows]}
        sample = utils.apply_to_sample(lambda tensor: tensor.to(args.device), sample)
        samples.append(sample | {"nsentences": args.batch, "ntokens": int(long.sum())})
    return samples


def alone(sample, row):
    """A sentence of a batch as a batch of its own, without padding."""
    lengths = sample["net_input"]["src_lengths"][row : row + 1]
    tokens = sample["net_input"]["src_tokens"][row : row + 1, : lengths.max()]
    net_input = {"src_tokens": tokens, "src_lengths": lengths}
    return {"net_input": net_input, "target": sample["target"][row : row + 1], "nsentences": 1, "ntokens": int(lengths)}


class Runs:
    """One model and the runs that are timed with it."""

    def __init__(self, args):
        self._args, self._task = args, translation.make_task(args.vocabulary)
        self.words = self._task.label_dictionary = self._task.source_dictionary
        parent = roberta.make_parent(args, self._task, max(args.shortest, args.longest))
        options = parent["cfg"]["model"] | {"dropout": 0.1, "attention_dropout": 0.1}
        self._model = translation.build(roberta.OURS, options, self._task, parent["model"])
        cfg = SentencePredictionConfig()
        self._model.register_classification_head(cfg.classification_head_name, num_classes=CLASSES)
        self._model.to(args.device)
        self._criterion = SentencePredictionCriterion(cfg, self._task)
        adam = FairseqAdamConfig(adam_betas="(0.9, 0.98)", lr=[0.0], tpu=False)  # all runs see the same weights
        self._optimizer = FairseqAdam(adam, list(self._model.parameters()))
        self._recorder = Recorder(self._model)

    def _loss(self, sample):
        return self._criterion(self._model, sample)[0]

    def train(self, sample, attach=lambda loss: loss):
        """A step of fairseq's trainer; *attach* is applied to the loss before it is differentiated."""
        self._model.train()
        self._optimizer.backward(attach(self._loss(sample)))
        self._optimizer.multiply_grads(1 / sample["nsentences"])
        self._optimizer.clip_grad_norm(0.0)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def train_and_record(self, sample):
        """The same with probes on all gates."""
        sums = self._recorder.sums()
        self.train(sample, self._recorder.start_batch(sample, sums.add).attach)
        self._recorder.remove_probes()

    def estimate(self, sample):
        """Scores of the heads (Tensor) by one backward pass of the batch."""
        self._model.zero_grad()
        sums = sum_gradients(self._model, self._loss, [sample])
        return torch.tensor(sums.rows(sums.mean("absolute"))[HEADS])

    def loop(self, sample):
        """Scores of the heads (Tensor) by a backward pass of each example."""
        self._model.eval()
        gates = gates_of(self._model)[HEADS]
        total = 0.0
        for gate in gates:
            gate.value = torch.ones(gate.parts, device=self._args.device, requires_grad=True)
        for row in range(sample["nsentences"]):
            self._loss(alone(sample, row)).backward()
            total = total + torch.stack([gate.value.grad.abs() for gate in gates])
            self._model.zero_grad()
            for gate in gates:
                gate.value.grad = None
        for gate in gates:
            gate.value = None
        return total.cpu() / sample["nsentences"]


def timed(run, device):
    """A function that runs *run* on a batch and returns the seconds that it took."""

    def turn(sample):
        start = side_by_side.now(device)
        run(sample)
        return side_by_side.now(device) - start

    return turn


def measure(args):
    """Compare the scores, then time everything in turn; the record."""
    runs = Runs(args)
    batches = make_batches(args, runs.words)
    distance = max(difference(runs.estimate(sample), runs.loop(sample)) for sample in batches)
    turns = dict(zip(RUNS, (runs.train, runs.train_and_record, runs.estimate, runs.loop), strict=True))
    turns = {name: timed(run, args.device) for name, run in turns.items()}
    rounds = side_by_side.take_turns(turns, batches, args.repeats, "importance")
    seconds = {name: [sum(taken) / len(batches) for taken in series] for name, series in rounds.items()}
    goals = GOALS | {(LOOP, ALONE): ("at least", FASTER[args.device.type])}
    return side_by_side.record(
        "importance",
        args,
        {
            "runs": {
                name: {"ms": 1000 * statistics.median(taken), "seconds": taken} for name, taken in seconds.items()
            },
            "ratios": [
                {"of": one, "over": other, "wanted": bound, "goal": goal}
                | side_by_side.ratio(seconds[one], seconds[other])
                for (one, other), (bound, goal) in goals.items()
            ],
            "difference": distance,
            "same_scores": distance <= TOLERANCE,
        },
    )


def difference(scores, others):
    """The largest difference of two sets of scores (Tensor), relative to the greatest score."""
    return ((scores - others).abs().max() / others.max()).item()


def met(row):
    """Whether a ratio is within its goal."""
    return row["median"] <= row["goal"] if row["wanted"] == "at most" else row["median"] >= row["goal"]


def tables(record):
    """The figures of :func:`measure` as tables: milliseconds of a batch, and ratios."""
    times = [{"of a batch": name, "ms": f"{run['ms']:.1f}"} for name, run in record["runs"].items()]
    ratios = [
        {
            "time of": row["of"],
            "over that of": row["over"],
            "ratio": f"{row['median']:.3f}",
            "min to max": side_by_side.spread(row),
            "goal": f"{row['wanted']} {row['goal']}",
            "met": "yes" if met(row) else "no",
        }
        for row in record["ratios"]
    ]
    return "\n\n".join(tabulate.tabulate(rows, headers="keys", disable_numparse=True) for rows in (times, ratios))


def main(arguments=None):
    """Run the benchmark; 1 if the scores differ, else 0."""
    args = side_by_side.parse(__file__, __doc__, OPTIONS, SMOKE, arguments)
    torch.set_num_threads(args.threads)
    with provenance.quiet():
        record = measure(args)
    side_by_side.write(record, args.out)
    print(tables(record))
    print(f"\nscores of heads: estimate and loop differ by {record['difference']:.1e} of the greatest score")
    if not record["same_scores"]:
        print("importance.py: error: the estimate and the loop give heads different scores", file=sys.stderr)
    return int(not record["same_scores"])


if __name__ == "__main__":
    sys.exit(main())
