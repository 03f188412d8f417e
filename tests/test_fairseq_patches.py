"""Options of fairseq's own that today's numpy, or fairseq itself, broke, on real commands."""

import builders
import pytest
import sentencepiece
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

ONE_UPDATE = ("--max-update", "1", "--no-epoch-checkpoints")
EVALUATE = ("--cpu", "--no-progress-bar", "--user-dir", builders.USER_DIR, "--required-batch-size-multiple", "1")


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
