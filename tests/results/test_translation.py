"""Scores of translations: from what fairseq-generate printed to a result."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF
from samples import log_file, save_translation_data, save_translator

from layerdrop_plugin.data_folder import find_split
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.results import translation
from layerdrop_plugin.results.record import Subject

SENTENCES = [[1, 2, 3, 4, 5], [6, 7, 8, 9], [10, 11, 12, 13, 14, 15], [16, 17, 18, 19, 1]]
REFERENCES = [" ".join(f"v{word}" for word in sentence) for sentence in SENTENCES]
TARGETS = [f"{text} ," for text in REFERENCES]
HYPOTHESES = [REFERENCES[0], "v6 v7 v8 v1", "v10 v11 v12", "v16 v17 v18 v19 v1"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data folder and a model of it."""
    folder = tmp_path_factory.mktemp("world")
    data = save_translation_data(folder / "data", SENTENCES)
    return data, save_translator(data, folder / "model.pt", 3)


def generated(folder, hypotheses=HYPOTHESES, order=(2, 0, 3, 1), letters="STHDP", more="", targets=TARGETS):
    """What fairseq-generate prints, longest sentences first; its H lines are tokenised, its D lines not."""
    lines = ["2026-01-01 | INFO | fairseq_cli.generate | {'_name': None}", more]
    for number in order:
        text = hypotheses[number]
        told = {
            "S": f"S-{number}\tw1 w2",
            "T": f"T-{number}\t{targets[number]}",
            "H": f"H-{number}\t-0.5\t{text} ,",
            "D": f"D-{number}\t-0.5\t{text}",
            "P": f"P-{number}\t-0.4 -0.6",
        }
        lines += [told[letter] for letter in letters]
    lines.append("Generate test with beam=4: BLEU4 = 50.00, 1.0/1.0/1.0/1.0 (BP=1.000, ratio=1.0, syslen=1, reflen=1)")
    path = folder / "generated.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def score(path, world, **changes):
    data, model = world
    subject = Subject(find_split(data, changes.pop("split", "test")), "deep", 1, model, "fairseq-generate …")
    return translation.score(path, subject, **changes)


def test_a_result_has_sacrebleus_numbers(tmp_path, world):
    values = {"loss": "4.4", "nll_loss": "4.261", "ppl": "19.18", "wpb": "24", "bsz": "4"}
    found = score(generated(tmp_path), world, log=log_file(tmp_path, values))
    bleu, chrf = BLEU(), CHRF()
    assert found["metric"] == {"name": "bleu", "value": bleu.corpus_score(HYPOTHESES, [REFERENCES]).score}
    assert 20 < found["metrics"]["bleu"] < 90
    assert found["metrics"]["chrf"] == chrf.corpus_score(HYPOTHESES, [REFERENCES]).score
    assert found["metrics"]["nll_loss_nats"] == pytest.approx(4.261 * math.log(2)) and found["loss"] == 4.4
    assert found["interval"] == found["intervals"]["bleu"]
    for name, metric in (("bleu", bleu), ("chrf", chrf)):
        low, high = found["intervals"][name]
        assert low < found["metrics"][name] < high
        resampled = metric.corpus_score(HYPOTHESES, [REFERENCES], n_bootstrap=1000)
        assert [low, high] == pytest.approx(  # as sacrebleu prints them
            [float(resampled.format(width=6).split("μ = ")[1].split(" ± ")[0]) + sign * float(
                resampled.format(width=6).split(" ± ")[1].split(")")[0]) for sign in (-1, 1)]
        )  # fmt: skip
        assert found["signatures"][name] == str(metric.get_signature())
    assert (found["examples"], found["references"], found["hypotheses"]["beam"]) == (4, "raw text", 4)
    assert (found["checkpoint"]["decoder_layers"], found["checkpoint"]["languages"]) == (3, ["de", "en"])
    assert json.loads(json.dumps(found)) == found


def test_the_detokenised_lines_count_and_else_the_tokenised_ones(tmp_path, world):
    best, without = (score(generated(tmp_path, letters=letters), world) for letters in ("STHDP", "STHP"))
    assert best["metrics"]["bleu"] > without["metrics"]["bleu"] > 0


def test_references_of_three_kinds(tmp_path, world):
    given = tmp_path / "given.txt"
    given.write_text("\n".join(HYPOTHESES) + "\n")
    found = score(generated(tmp_path), world, references=given)
    assert (found["references"], found["metrics"]["bleu"]) == ("given file", pytest.approx(100))
    given.write_text("one line\n")
    with pytest.raises(LayerdropError, match="given.txt has 1 lines, but the data folder has 4 sentences"):
        score(generated(tmp_path), world, references=given)

    data = save_translation_data(tmp_path / "data", SENTENCES)
    (data / "test.en").unlink()
    alone = score(generated(tmp_path, [f"{text} ," for text in REFERENCES]), (data, world[1]))
    assert (alone["references"], alone["metrics"]["bleu"]) == ("tokenised", pytest.approx(100))
    with pytest.raises(LayerdropError, match="no references: .*test.en is missing"):
        translation.copy_source(Subject(find_split(data, "test"), "copy"))


def test_a_copy_of_the_source_needs_no_model(world):
    found = translation.copy_source(Subject(find_split(world[0], "test"), "copy of the source"))
    source = [text.replace("v", "w") for text in REFERENCES]
    assert found["metrics"]["chrf"] == CHRF().corpus_score(source, [REFERENCES]).score > 0
    assert (found["checkpoint"], found["seed"], found["plan"]) == (None, None, None)
    assert (found["metric"]["value"], found["interval"]) == (0.0, None)


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs",)))), st.randoms())
def test_sentences_come_back_in_order_whatever_they_hold(texts, random):
    order = list(range(len(texts)))
    random.shuffle(order)
    lines = [f"{letter}-{number}\t-0.5\t{texts[number]}" for number in order for letter in "HD"]
    found = translation.read_generated("\n".join(lines).split("\n"))
    assert found["H"] == found["D"] and len(found["D"]) == len(texts)
    if texts:
        assert translation.in_order(found["D"], len(texts), "path", "test") == texts


def test_output_that_is_refused(tmp_path, world):
    def refused(match, world=world, **changes):
        with pytest.raises(LayerdropError, match=match) as caught:
            score(generated(tmp_path, **changes), world)
        assert "\n" not in str(caught.value)

    refused("has 3 of 4 sentences of 'test'.*--required-batch-size-multiple 1", order=(2, 0, 3))
    refused("several hypotheses for one sentence.*--nbest 1", order=(2, 0, 3, 1, 1))
    refused("has no sentences: did fairseq-generate finish", order=())
    refused("pieces of words.*'▁v6 ▁v7.*--remove-bpe sentencepiece", hypotheses=["a", "▁v6 ▁v7", "b", "c"])
    refused("pieces of words", hypotheses=["a", "b", "on@@ e", "c"])
    (tmp_path / "other.pt").write_text("x")
    refused("evaluated .*other.pt, not .*model.pt", more=f"loading model(s) from {tmp_path}/other.pt")
    shorter = save_translation_data(tmp_path / "shorter", SENTENCES[:3])
    refused("has a sentence 3, but 'test' in the data folder has 3", world=(shorter, world[1]))
    other = save_translation_data(tmp_path / "other", SENTENCES, "valid")
    with pytest.raises(LayerdropError, match="translates 'test', not 'valid'"):
        score(generated(tmp_path), (other, world[1]), split="valid")


def test_a_model_of_the_other_direction_is_scored_against_what_it_writes(tmp_path, world):
    back = save_translator(world[0], tmp_path / "back.pt", 1, "-s en -t de")
    perfect = [text.replace("v", "w") for text in REFERENCES]
    found = score(generated(tmp_path, perfect, targets=perfect), (world[0], back))
    assert found["metrics"]["bleu"] == pytest.approx(100)
    assert found["data_sha256"] == find_split(world[0], "test").sha256()
    assert score(generated(tmp_path, REFERENCES), (world[0], back))["metrics"]["bleu"] == 0
    for model, of, target, source in ((back, REFERENCES, "en", "de"), (world[1], perfect, "de", "en")):
        wrong = f"translated {source}-{target}, but .* translates {target}-{source}: run .*--source-lang {target} "
        for targets in (of, [f"▁{text.replace(' ', ' ▁')}" for text in of]):  # as if the folder's name said it
            with pytest.raises(LayerdropError, match=wrong):
                score(generated(tmp_path, REFERENCES, targets=targets), (world[0], model))
    (world[0] / "dict.de.txt").rename(tmp_path / "dict.de.txt")
    with pytest.raises(LayerdropError, match="cannot read .*test.de-en.de.idx with dict.de.txt"):
        score(generated(tmp_path, perfect), (world[0], back))
    (tmp_path / "dict.de.txt").rename(world[0] / "dict.de.txt")
    data = tmp_path / "french"
    save_translation_data(data, SENTENCES)
    for file in {*data.glob("*.en*"), *data.glob("*.de-en.*")}:
        file.rename(data / file.name.replace("en", "fr"))
    with pytest.raises(LayerdropError, match="back.pt translates en-de, but .*french is de-fr"):
        score(generated(tmp_path, perfect), (data, back))
