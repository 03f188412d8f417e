"""Children through fairseq's hub interface, with this plugin imported and with fairseq's own classes."""

import copy
import inspect
import io

import builders
import checkpoints
import pytest
import torch
from fairseq import checkpoint_utils, models
from fairseq.models.transformer import TransformerModel

from layerdrop_plugin import checkpoint
from layerdrop_plugin.models.transformer import LayerDropTransformerModel
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune

SENTENCES = ["w3 w4 w5 w1", "w2", "w9 w9 w1 w30 w7 w2"]
SEARCH = {"beam": 3, "max_len_b": 8}


@pytest.fixture(scope="module")
def child(data, tmp_path_factory):
    """A stock child of one layer on each side."""
    folder = tmp_path_factory.mktemp("child")
    parent = checkpoint.read(checkpoints.save(folder / "parent.pt", data, "translation"))
    plan = Plan(encoder=StackPlan((0,)), decoder=StackPlan((1,)))
    checkpoint.write(prune(Parent(parent), plan).state, folder / "child.pt")
    return folder / "child.pt"


def hub(child, data):
    folder, name = str(child.parent), child.name
    return TransformerModel.from_pretrained(folder, name, data_name_or_path=str(data / "nmt"), bpe=None).eval()


@pytest.fixture
def hubs(child, data, monkeypatch):
    """The child on fairseq's classes and on ours."""
    ours = hub(child, data)
    monkeypatch.setattr(models, "build_model", inspect.unwrap(models.build_model))
    stock = hub(child, data)
    assert isinstance(ours.models[0], LayerDropTransformerModel)
    assert type(stock.models[0]) is TransformerModel
    return stock, ours


@pytest.mark.parametrize("asked", ["hard", "soft", True])
def test_alignments_asked_for_in_a_call_are_fairseqs(hubs, asked):
    """What is neither hard nor soft is hard, as fairseq's help says."""
    stock, ours = hubs
    tokens = [ours.encode(sentence) for sentence in SENTENCES]
    expected = stock.generate(tokens, print_alignment="hard" if asked is True else asked, **SEARCH)
    found = ours.generate(tokens, print_alignment=asked, **SEARCH)
    for theirs, mine in zip(sum(expected, []), sum(found, []), strict=True):
        assert torch.equal(mine["tokens"], theirs["tokens"])
        if asked == "soft":
            numbers = [torch.tensor([[float(x) for x in row] for row in of["alignment"]]) for of in (mine, theirs)]
            torch.testing.assert_close(*numbers, atol=2e-6, rtol=0)
        else:
            assert mine["alignment"] == theirs["alignment"]
    assert ours.translate(SENTENCES, print_alignment=asked, **SEARCH) == stock.translate(SENTENCES, **SEARCH)


def test_hypotheses_of_the_hub_tell_their_attention_as_fairseqs(hubs):
    """With and without alignments, in any order."""
    stock, ours = hubs
    tokens = [ours.encode(sentence) for sentence in SENTENCES]
    expected = sum(stock.generate(tokens, **SEARCH), [])
    for asked in (None, "hard", None):
        found = sum(ours.generate(tokens, print_alignment=asked, **SEARCH), [])
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine["attention"], theirs["attention"], atol=1e-5, rtol=0)


def test_a_loaded_child_can_be_scripted_traced_pickled_and_copied(child, data):
    """As it can be without this plugin."""
    (model,), *_ = checkpoint_utils.load_model_ensemble_and_task([str(child)], {"data": str(data / "nmt")})
    assert isinstance(model.eval(), LayerDropTransformerModel)
    inputs, file = builders.pairs(), io.BytesIO()
    expected = model(**inputs)[0]
    torch.save(model, file)
    file.seek(0)
    traced = torch.jit.trace(builders.Logits(model), tuple(inputs.values()))
    torch.testing.assert_close(traced(*inputs.values()), expected, atol=1e-5, rtol=0)
    for again in (torch.load(file, weights_only=False), copy.deepcopy(model), torch.jit.script(model)):
        torch.testing.assert_close(again(**inputs)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("command", ["fairseq-generate", "fairseq-interactive"])
def test_commands_print_alignments(child, data, command, tmp_path):
    given = tmp_path / "given.txt"
    given.write_text("\n".join(SENTENCES) + "\n")
    more = ["--input", given] if command == "fairseq-interactive" else builders.GENERATE
    options = ["--path", child, "--cpu", "--beam", "3", "--max-len-b", "8", "--print-alignment"]
    run = builders.run(command, data / "nmt", *more, *options, "--user-dir", builders.USER_DIR)
    lines = [line for line in run.stdout.splitlines() if line.startswith("A-")]
    assert len(lines) == (len(SENTENCES) if command == "fairseq-interactive" else 21)
    assert all("-" in line.split("\t")[1] for line in lines)
