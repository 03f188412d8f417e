"""Models for CTranslate2: the same log-probabilities and hypotheses as fairseq's, and what cannot be exported."""

import json
import re
import shutil
import sys

import builders
import checkpoints
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_plans import stack_plans

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import session, translations
from layerdrop_plugin.interop import ct2_folder, export_ct2
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune

pytest.importorskip("ctranslate2")
BIG = " ".join(f"--{s}-embed-dim 16 --{s}-attention-heads 4 --{s}-layers 3" for s in ("encoder", "decoder"))
PRE_NORM = "--encoder-normalize-before --decoder-normalize-before"
FAMILIES = {
    "translation": ("nmt", BIG),
    "language_modeling": ("lm", "--decoder-embed-dim 16 --decoder-attention-heads 4"),
}
SHAPES = ["", "--encoder-learned-pos --decoder-learned-pos", "--layernorm-embedding", "--activation-fn gelu"]


@pytest.fixture(scope="module")
def parents(data, tmp_path_factory):
    """(kind, options) -> a parent's path, made once."""
    folder, made = tmp_path_factory.mktemp("parents"), {}

    def parent(kind, more):
        if (kind, more) not in made:
            path = folder / f"{len(made)}.pt"
            made[kind, more] = checkpoints.save(path, data, kind, f"{FAMILIES[kind][1]} {more}")
        return made[kind, more]

    return parent


def child_of(path, plan, out):
    """The child that *plan* cuts out of the checkpoint *path*, written as *out*."""
    checkpoint.write(prune(Parent.load(path), plan).state, out)
    return out


def moved(lines) -> float:
    """By how much log-probabilities differ, as export said."""
    return float(re.search(r"by up to (\S+)", "\n".join(lines))[1])


@pytest.mark.parametrize("kind", FAMILIES)
@given(draw=st.data())
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_child_has_fairseqs_log_probabilities(kind, draw, data, parents, tmp_path):
    """Whole layers gone on either side, uneven heads and units, and pre-norm layers without a sublayer."""
    norm = draw.draw(st.sampled_from(["", PRE_NORM if kind == "translation" else "--decoder-normalize-before"]))
    shape = draw.draw(st.sampled_from(SHAPES))
    if kind == "language_modeling":
        shape = shape.replace("--encoder-learned-pos ", "")
    path = parents(kind, f"{norm} {shape}".strip())
    of = Parent.load(path).shape
    plan = Plan(**{stack: draw.draw(st.none() | stack_plans(of.get(stack))) for stack, _ in of.items()})
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    child = child_of(path, plan, tmp_path / "child.pt")
    absent = [s for s, stack in Parent.load(child).shape.items() if any(None in row for row in stack.sizes.values())]
    if any(not Parent.load(path).options[f"{stack}_normalize_before"] for stack in absent):
        with pytest.raises(LayerdropError, match=r"has no (self_attn|encoder_attn|ffn) in layer \d of its"):
            export_ct2.export(child, data / FAMILIES[kind][0], tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return
    assert moved(export_ct2.export(child, data / FAMILIES[kind][0], tmp_path / "out")) < 1e-4


def test_heads_are_padded_to_the_most_that_a_layer_has_and_that_is_said(data, parents, tmp_path):
    plan = Plan(
        encoder=StackPlan((0, 1, 2), self_attn={0: (1,), 1: (0, 3), 2: (2, 3)}),
        decoder=StackPlan((0, 2), self_attn={0: ()}, ffn={2: ()}),
    )
    child = child_of(parents("translation", ""), plan, tmp_path / "child.pt")
    lines = export_ct2.export(child, data / "nmt", tmp_path / "out")
    assert lines[0].startswith("encoder: 1 head of self_attn are zeros") and "(2)" in lines[0]
    assert lines[1].startswith("decoder: 4 heads of self_attn, 1 unit of ffn are zeros") and "(4)" in lines[1]
    uniform = Plan(encoder=StackPlan((0, 1, 2), self_attn={0: (1,), 1: (0,), 2: (2,)}))
    child = child_of(parents("translation", ""), uniform, tmp_path / "uniform.pt")
    assert len(export_ct2.export(child, data / "nmt", tmp_path / "uniform")) == 2  # nothing was padded


def that_ends_sentences(path, out):
    """A copy of the translation model *path* that writes more end marks the later it is, and none at first."""
    state = checkpoint.read(path)
    mark, positions = (state["model"][f"decoder.embed_{name}.weight"] for name in ("tokens", "positions"))
    positions[2:] += torch.arange(-8, len(positions) - 10)[:, None] * mark[2] / mark[2].norm()
    checkpoint.write(state, out)
    return out


def test_the_same_hypotheses_as_fairseqs(data, parents, tmp_path):
    parent = that_ends_sentences(parents("translation", SHAPES[1]), tmp_path / "parent.pt")
    child = child_of(parent, Plan(encoder=StackPlan((0, 1))), tmp_path / "child.pt")
    builders.run("layerdrop", "export-ct2", child, data / "nmt", tmp_path / "out")
    folder = ct2_folder.Ct2Folder.load(tmp_path / "out")
    loaded = session.load(child, data / "nmt", batch_size=1, cpu=True)
    expected = translations.translator(loaded, list(loaded.batches("test")), beam=4)()
    translator, source = folder.translator(1), loaded.split("test").binarised("a")
    found = [" ".join(translator.translate([line.split()], beam=4)[0]) for line in source]
    assert len(set(expected)) > 3 and sum(len(line.split()) < 10 for line in expected) > len(expected) / 2
    assert found == expected


def test_the_folder_says_what_it_was_made_of(data, parents, tmp_path):
    path = parents("translation", "")
    export_ct2.export(path, data / "nmt", tmp_path / "whole", command="layerdrop export-ct2 …")
    export_ct2.export(path, data / "nmt", tmp_path / "int8", "int8")
    described, origin = ct2_folder.Ct2Folder.load(tmp_path / "int8").described()
    whole = ct2_folder.Ct2Folder.load(tmp_path / "whole").described()[0]
    assert described["engine"]["quantization"] == "int8" and origin is None
    assert described["engine"]["checkpoint_sha256"] == whole["engine"]["checkpoint_sha256"] == checkpoint.sha256(path)
    assert described["weight_bytes"] < whole["weight_bytes"] and described["parameters"] == whole["parameters"]
    assert described["encoder_layers"] == 3 and described["languages"] == ["a", "b"]
    for name in ("dict.a.txt", "dict.b.txt"):
        assert (tmp_path / "whole" / name).read_text() == (data / "nmt" / name).read_text()
    assert json.loads((tmp_path / "whole/layerdrop.json").read_text())["command"] == "layerdrop export-ct2 …"


def test_a_folder_that_was_changed_is_refused(data, parents, tmp_path):
    out = tmp_path / "out"
    export_ct2.export(parents("translation", ""), data / "nmt", out)
    assert not ct2_folder.is_exported(tmp_path) and ct2_folder.is_exported(out)
    content = (out / "model.bin").read_bytes()
    (out / "model.bin").write_bytes(content[:-4] + b"abcd")
    with pytest.raises(LayerdropError, match="model.bin was changed since the export"):
        ct2_folder.Ct2Folder.load(out)
    (out / "model.bin").unlink()
    with pytest.raises(LayerdropError, match="model.bin is missing"):
        ct2_folder.Ct2Folder.load(out)
    with pytest.raises(LayerdropError, match="no folder of `layerdrop export-ct2`"):
        ct2_folder.Ct2Folder.load(tmp_path)


def test_a_language_model_does_not_translate(data, parents, tmp_path):
    export_ct2.export(parents("language_modeling", ""), data / "lm", tmp_path / "out")
    assert (tmp_path / "out/dict.txt").is_file()
    with pytest.raises(LayerdropError, match="language model: it does not translate"):
        ct2_folder.Ct2Folder.load(tmp_path / "out").translator()


def test_the_sentencepiece_model_goes_along_and_is_missed(data, parents, tmp_path):
    path, folder = tmp_path / "model.pt", shutil.copytree(data / "nmt", tmp_path / "nmt")
    shutil.copy(parents("translation", ""), path)
    (tmp_path / "sentencepiece.bpe.model").write_text("a tokenizer")
    lines = export_ct2.export(path, folder, tmp_path / "out")
    assert (tmp_path / "out/sentencepiece.bpe.model").read_text() == "a tokenizer"
    assert "no sentencepiece" not in "".join(lines)
    (tmp_path / "sentencepiece.bpe.model").unlink()
    assert "no sentencepiece.bpe.model" in export_ct2.export(path, folder, tmp_path / "words")[-1]
    for name in ("dict.a.txt", "dict.b.txt"):
        (folder / name).write_text(re.sub(r"^w1 ", "\u2581w1 ", (folder / name).read_text(), flags=re.MULTILINE))
    state = checkpoint.read(path)
    for side in ("", "target_"):
        state["cfg"]["model"].pop(f"{side}dictionary_sha256", None)
    checkpoint.write(state, path)
    with pytest.raises(LayerdropError, match="no sentencepiece.bpe.model in .* or beside the checkpoint"):
        export_ct2.export(path, folder, tmp_path / "pieces")


def test_what_is_computed_otherwise_is_not_written(data, parents, tmp_path, monkeypatch):
    """The comparison can fail: here fairseq's side is of another model."""
    other = export_ct2.log_probabilities
    monkeypatch.setattr(export_ct2, "log_probabilities", lambda *args: [row + 0.01 for row in other(*args)])
    with pytest.raises(
        LayerdropError, match="computes something else than fairseq .* by up to 0.01; nothing was written"
    ):
        export_ct2.export(parents("translation", ""), data / "nmt", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused(data, parents, tmp_path):
    export, out = export_ct2.export, tmp_path / "out"
    classifier = checkpoints.save(tmp_path / "roberta.pt", data, "classification")
    with pytest.raises(LayerdropError, match="is a roberta: export-ct2 takes translation and language models"):
        export(classifier, data / "nlu", out)
    for option in ("--no-token-positional-embeddings", "--activation-fn tanh"):
        path = checkpoints.save(tmp_path / "other.pt", data, "translation", option)
        with pytest.raises(LayerdropError, match=f"was trained with {option}"):
            export(path, data / "nmt", out)
    path = parents("translation", "")
    with pytest.raises(LayerdropError, match="gone does not exist"):
        export(path, tmp_path / "gone", out)
    with pytest.raises(LayerdropError, match="dict.a.txt"):
        export(path, tmp_path, out)  # no dictionary
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    done = builders.run("layerdrop", "export-ct2", path, data / "nmt", tmp_path / "full", check=False)
    assert done.returncode == 1 and "full exists: choose another folder" in done.stdout
    assert not out.exists()


def test_ctranslate2_that_is_not_installed(data, parents, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(LayerdropError, match=r"ctranslate2 is not installed: run  pip install .*\[ctranslate2\]"):
        export_ct2.export(parents("translation", ""), data / "nmt", tmp_path / "out")
