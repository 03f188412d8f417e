"""The patches: a list that names all of them; and options of fairseq's own that they mend, on real commands."""

import contextlib
import shutil
import sys
from pathlib import Path

import builders
import pytest
import sentencepiece
import torch
from fairseq import checkpoint_utils, models, options, tasks
from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.hub_utils import GeneratorHubInterface
from fairseq.logging import metrics
from fairseq.models.roberta import RobertaHubInterface
from fairseq.search import DiverseBeamSearch
from fairseq.sequence_generator import SequenceGeneratorWithAlignment
from fairseq.tasks.masked_lm import MaskedLMTask
from fairseq.trainer import Trainer
from fairseq_cli import validate

import layerdrop_plugin
from layerdrop_plugin import fairseq_patches
from layerdrop_plugin.fairseq_patches import (
    checkpoints,
    data_and_search,
    hub,
    inference,
    interpreter,
    learned_rates,
    options_as_data,
)
from layerdrop_plugin.modules.learned_rates import LearnedRates

ONE_UPDATE = ("--max-update", "1", "--no-epoch-checkpoints")
EVALUATE = ("--cpu", "--no-progress-bar", "--user-dir", builders.USER_DIR, "--required-batch-size-multiple", "1")


REPLACED = (  # what the patches put functions in the place of, and how many do
    (sys, "excepthook", 1),
    (checkpoint_utils, "load_checkpoint_to_cpu", 1),
    (checkpoint_utils, "load_model_ensemble_and_task", 1),
    (models, "build_model", 3),
    (EpochBatchIterator, "load_state_dict", 1),
    (MaskedLMTask, "load_dataset", 1),
    (DiverseBeamSearch, "step", 1),
    (DiverseBeamSearch, "prune_sentences", 1),
    (SequenceGeneratorWithAlignment, "generate", 1),
    (GeneratorHubInterface, "generate", 1),
    (RobertaHubInterface, "encode", 1),
    (RobertaHubInterface, "__init__", 1),
    (validate, "main", 1),
    (RobertaHubInterface, "extract_features", 1),
    (RobertaHubInterface, "fill_mask", 1),
    (Trainer, "__init__", 1),
)


def test_every_patch_is_in_the_list_once_and_says_when_it_can_go():
    rooms = (checkpoints, data_and_search, hub, inference, interpreter, learned_rates, options_as_data)
    functions = {name for room in rooms for name in vars(room) if name.startswith("patch_")}
    assert sorted(patch.__name__ for patch in fairseq_patches.PATCHES) == sorted(functions)
    assert all("Can be removed when" in " ".join(patch.__doc__.split()) for patch in fairseq_patches.PATCHES)


def test_registering_again_changes_nothing():
    before = [getattr(owner, name) for owner, name, _ in REPLACED]
    path, safe = layerdrop_plugin.__path__, len(checkpoints_allowed())
    layerdrop_plugin.register()
    fairseq_patches.install()
    assert all(getattr(owner, name) is was for (owner, name, _), was in zip(REPLACED, before, strict=True))
    assert layerdrop_plugin.__path__ is path and len(checkpoints_allowed()) == safe


def test_each_function_is_replaced_as_often_as_there_are_patches_of_it():
    package = Path(layerdrop_plugin.__file__).parent
    for owner, name, times in REPLACED:
        function, layers = getattr(owner, name), 0
        while Path(function.__code__.co_filename).is_relative_to(package) and hasattr(function, "__wrapped__"):
            function, layers = function.__wrapped__, layers + 1
            if not hasattr(function, "__code__"):
                break
        assert layers == times, name


def test_the_reference_names_every_patch():
    page = (Path(builders.USER_DIR).parent / "docs" / "reference.md").read_text(encoding="utf-8")
    section = page.split("## What importing the plugin patches")[1].split("\n## ")[0]
    assert all(f"| `{patch.__name__}` |" in section for patch in fairseq_patches.PATCHES)


class _OneBatch:
    """A task's and a trainer's part in an update; the loss is the number of the micro-batch."""

    data_parallel_world_size = 1

    def __init__(self, rates):
        self.rates, self.updates = rates, 0

    def train_step(self, number, ignore_grad=False):
        self.rates.record_draw([0], 1.0)
        if number == "out of memory":
            raise RuntimeError(number)
        return torch.tensor(0.0 if ignore_grad else float(number)), 2, {}


class _OneUpdate(_OneBatch):
    def get_num_updates(self):
        return self.updates

    def train_step(self, task, batches, succeeds):
        for number, dummy in batches:
            with contextlib.suppress(RuntimeError):
                task.train_step(number, ignore_grad=dummy)
        self.updates += succeeds


def test_learned_rates_get_the_losses_of_successful_updates_without_dummies():
    rates = LearnedRates(0.4, 2, 4)
    task, trainer = _OneBatch(rates), _OneUpdate(rates)
    learned_rates._tell_losses(task, [rates])
    learned_rates._learn_after_updates(trainer, [rates])
    rates.record_draw([1], 1.0)  # a forward outside an update
    trainer.train_step(task, [(9, False), (9, False)], succeeds=False)
    assert rates.updates == 0
    with metrics.aggregate("train") as logged:
        trainer.train_step(task, [(3, False), (8, True), ("out of memory", False), (4, False)], succeeds=True)
    assert rates.updates == 1
    assert rates.loss_mean == 7 / 4
    assert {name: round(logged[name].val, 3) for name in logged} == {
        f"encoder_layerdrop_{name}": 0.4 for name in ("mean", "min", "max")
    }


def checkpoints_allowed():
    """What torch's allow-list has."""
    return torch.serialization.get_safe_globals()


@pytest.fixture(scope="module")
def pieces(data, tmp_path_factory):
    """A folder with text in pieces of words, binarised, and ``sentencepiece.bpe.model``."""
    folder = tmp_path_factory.mktemp("pieces")
    text = folder / "text"
    model = folder / "sentencepiece.bpe"
    sentencepiece.SentencePieceTrainer.train(
        input=str(data / "train.txt"), model_prefix=str(model), vocab_size=30, minloglevel=2
    )
    encode = sentencepiece.SentencePieceProcessor(model_file=f"{model}.model").encode
    for split in ("train", "valid"):
        lines = (data / f"{split}.txt").read_text().splitlines()
        (folder / split).write_text("".join(" ".join(line) + "\n" for line in encode(lines, out_type=str)))
    builders.run(
        *("fairseq-preprocess", "--only-source", "--destdir", text, "--workers", "1"),
        *("--trainpref", folder / "train", "--validpref", folder / "valid"),
    )
    (folder / "sentencepiece.bpe.model").rename(text / "sentencepiece.bpe.model")
    return text


@pytest.fixture(scope="module")
def language_model(data, tmp_path_factory):
    """A language model trained on sentences of their own."""
    folder = tmp_path_factory.mktemp("lm")
    eos = ("--sample-break-mode", "eos")
    builders.run("fairseq-train", data / "lm", "--save-dir", folder, *ONE_UPDATE, *eos, *builders.LANGUAGE_MODEL)
    return folder / "checkpoint_last.pt"


def hypotheses(output):
    """Number of the sentence and text of each hypothesis in fairseq-generate's *output*, by number."""
    lines = [line.split("\t") for line in output.splitlines() if line.startswith("H-")]
    return sorted(((int(name[2:]), text) for name, _, text in lines), key=lambda found: found[0])


def test_masked_lm_on_sentences_of_their_own(data, tmp_path):
    result = builders.run(
        *("fairseq-train", data / "lm", "--save-dir", tmp_path, *ONE_UPDATE, "--sample-break-mode", "eos"),
        *builders.PRETRAIN,
    )
    assert "loaded 120 blocks" in result.stdout


def test_a_language_model_is_evaluated_sentence_by_sentence(language_model, data):
    result = builders.run(
        *("fairseq-eval-lm", data / "lm", "--path", language_model, "--sample-break-mode", "eos"),
        *("--gen-subset", "test", "--batch-size", "8", *EVALUATE),
    )
    assert "21 examples" in result.stdout and "Perplexity" in result.stdout


def test_a_language_model_generates(language_model, data):
    result = builders.run(
        *("fairseq-generate", data / "lm", "--path", language_model, "--task", "language_modeling"),
        *("--sample-break-mode", "eos", "--user-dir", builders.USER_DIR, *builders.GENERATE),
    )
    assert len(hypotheses(result.stdout)) == 21


def test_batches_in_buckets(data, tmp_path):
    result = builders.run(
        *("fairseq-train", data / "nmt", "--save-dir", tmp_path, *ONE_UPDATE, "--num-batch-buckets", "3"),
        *("--max-tokens", "400", *builders.NMT),
    )
    assert "bucketing source lengths: [" in result.stdout


WHOLE_WORDS = ("--mask-whole-words", "--mask-prob", "0.4", "--bpe", "sentencepiece")


def test_whole_words_are_masked(pieces, tmp_path):
    whole = (*WHOLE_WORDS, "--sentencepiece-model", str(pieces / "sentencepiece.bpe.model"))
    builders.run("fairseq-train", pieces, "--save-dir", tmp_path, *ONE_UPDATE, *whole, *builders.PRETRAIN)
    parsed = options.parse_args_and_arch(options.get_training_parser(), [str(pieces), *builders.PRETRAIN, *whole])
    task = tasks.setup_task(convert_namespace_to_omegaconf(parsed).task)
    task.load_dataset("valid")
    masked, text, words = task.dataset("valid"), task._load_dataset_split("valid", 1, False), task.source_dictionary
    masked.set_epoch(1)
    within = 0
    for example, tokens in zip(masked, text, strict=True):
        chosen = example["target"].ne(words.pad()).tolist()
        begins = [token < words.nspecial or words[token].startswith("\u2581") for token in tokens]
        goes_on = [place for place, begin in enumerate(begins) if not begin]
        assert all(chosen[place] == chosen[place - 1] for place in goes_on)
        within += sum(chosen[place] for place in goes_on)
        assert not all(chosen)
    assert within


def test_diverse_beams_do_not_depend_on_the_batch(data, tmp_path):
    builders.run("fairseq-train", data / "nmt", "--save-dir", tmp_path, "--max-update", "30", *builders.NMT)
    found = [
        builders.run(
            *("fairseq-generate", data / "nmt", "--path", tmp_path / "checkpoint_last.pt", *builders.GENERATE),
            *("--user-dir", builders.USER_DIR, "--beam", "4", "--nbest", "4", "--diverse-beam-groups", "2"),
            *("--batch-size", size),
        )
        for size in (1, 8)
    ]
    one, eight = (hypotheses(result.stdout) for result in found)
    assert one == eight and len(one) == 4 * 21


@pytest.mark.parametrize("damage", ["train.bin cut", "train.idx cut", "train.idx changed", "train.idx empty"])
def test_binarised_data_that_was_cut_short_is_refused_in_one_line(data, tmp_path, damage):
    shutil.copytree(data / "lm", tmp_path / "lm")
    name, how = damage.split()
    file = tmp_path / "lm" / name
    content = file.read_bytes()
    changed = content[:-1] if how == "cut" else b"" if how == "empty" else content[:30] + b"\xff\xff" + content[32:]
    file.write_bytes(changed)
    command = ("fairseq-train", tmp_path / "lm", *builders.PRETRAIN, *ONE_UPDATE, "--save-dir", tmp_path / "out")
    done = builders.run(*command, check=False)
    said = f"{done.stdout}{done.stderr or ''}"
    assert done.returncode == 1 and "Traceback" not in said
    assert "train.bin or its index is damaged" in said.strip().splitlines()[-1]
