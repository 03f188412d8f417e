"""--layernorm-eps and --segment-embeddings of layerdrop_roberta."""

import copy

import builders
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.modules.segments import segments_of
from layerdrop_plugin.pruning.gates import gated
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune

BERT = {"layernorm_eps": 1e-12, "segment_embeddings": 2}
SEGMENTS = "encoder.sentence_encoder.embed_positions.segments.weight"


def pairs():
    """Tokens of pairs: the batch of builders with a separator in each row, and another one at its end."""
    tokens = builders.batch()
    tokens[:, 2] = 2
    return tokens


@pytest.mark.parametrize("off", [{}, {"layernorm_eps": None, "segment_embeddings": 0}, {"layernorm_eps": 1e-5}])
def test_without_them_nothing_is_changed(off):
    """Law 2."""
    stock, ours = builders.build("roberta"), builders.build("layerdrop_roberta", **off)
    assert list(ours.state_dict()) == list(stock.state_dict())
    ours.load_state_dict(copy.deepcopy(stock.state_dict()))
    torch.testing.assert_close(ours(pairs())[0], stock(pairs())[0], atol=1e-5, rtol=0)


def test_every_layer_norm_has_the_epsilon():
    """The LM head's and those of smaller layers too."""
    model = builders.build("layerdrop_roberta", layernorm_eps=0.125, encoder_self_attn_heads="1,2,0,-")
    norms = [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert len(norms) == 1 + 2 * 4 - 1 + 1
    assert {norm.eps for norm in norms} == {0.125}
    head = model.encoder.lm_head
    x = torch.randn(2, 16)
    normed = torch.nn.functional.layer_norm(head.activation_fn(head.dense(x)), (16,), eps=0.125)
    torch.testing.assert_close(head(x), normed @ head.weight.t() + head.bias)


def test_segments_are_counted_by_separators():
    """As BERT's tokenizer gives them; a third sentence belongs to the last segment."""
    tokens = torch.tensor([[0, 5, 2, 6, 7, 2, 1], [0, 5, 2, 2, 6, 2, 8], [0, 5, 6, 7, 8, 9, 2]])
    assert segments_of(tokens, separator=2, segments=2).tolist() == [
        [0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    assert segments_of(tokens, 2, 3)[1].tolist() == [0, 0, 0, 1, 2, 2, 2]


def test_segments_are_added_to_the_positions():
    with_segments, without = builders.build("layerdrop_roberta", **BERT), builders.build("layerdrop_roberta")
    weights = copy.deepcopy(with_segments.state_dict())
    segments = weights.pop(SEGMENTS)
    assert list(weights) == list(without.state_dict())
    weights["encoder.sentence_encoder.embed_positions.weight"] += segments[0]
    without.load_state_dict(weights)
    for norm in without.modules():
        if isinstance(norm, torch.nn.LayerNorm):
            norm.eps = 1e-12
    single = builders.batch()  # no separator in them: all is segment 0
    torch.testing.assert_close(with_segments(single)[0], without(single)[0], atol=1e-5, rtol=0)
    assert (with_segments(pairs())[0] - without(pairs())[0]).abs().max() > 1e-3


@given(st.sets(st.integers(0, 3), min_size=1), st.booleans())
@settings(max_examples=10, deadline=None)
def test_gating_is_surgery_and_a_child_names_our_architecture(layers, heads):
    """Laws 1 and 3."""
    parent = builders.build("layerdrop_roberta", **BERT).eval()
    kept = dict.fromkeys(layers, (1,)) if heads else {}
    plan = Plan(encoder=StackPlan(tuple(sorted(layers)), self_attn=kept))
    child, state = builders.child_and_state(parent, plan, "layerdrop_roberta")
    assert (state["cfg"]["model"]["_name"], state["cfg"]["model"]["arch"]) == ("layerdrop_roberta",) * 2
    with gated(parent, plan):
        expected = parent(pairs())[0]
    torch.testing.assert_close(child.eval()(pairs())[0], expected, atol=1e-5, rtol=0)


def test_a_child_without_them_goes_on_naming_the_stock_architecture():
    off = builders.build("layerdrop_roberta", layernorm_eps=None, segment_embeddings=0)
    state = prune(Parent(builders.state_of(off)), Plan(encoder=StackPlan((0, 2)))).state
    assert state["cfg"]["model"]["_name"] == "roberta"
    assert not BERT.keys() & state["cfg"]["model"].keys()


def test_fine_tuning_takes_them_from_the_parent(data, tmp_path):
    """And a stock --arch is refused, as it would leave them out."""
    checkpoint.write(builders.state_of(_of_size(data)), tmp_path / "bert.pt")
    options = ("--prune-from", tmp_path / "bert.pt", "--prune-encoder-layers", "keep:0,3", "--max-update", "1")
    command = ("fairseq-train", data / "nlu", "--save-dir", tmp_path / "run", *builders.FINETUNE, *options)
    refused = builders.run(*command, "--arch", "roberta", check=False)
    assert "the parent has --layernorm-eps, which --arch roberta cannot: use --arch layerdrop_roberta" in refused.stdout
    builders.run(*command)
    saved = checkpoint.read(tmp_path / "run" / "checkpoint_last.pt")
    assert saved["cfg"]["model"]["_name"] == "layerdrop_roberta"
    assert {name: saved["cfg"]["model"][name] for name in BERT} == BERT
    assert saved["model"][SEGMENTS].shape == (2, 16)
    model = tmp_path / "run" / "checkpoint_last.pt"
    builders.run(
        *("fairseq-validate", data / "nlu", "--path", model, "--user-dir", builders.USER_DIR, *builders.VALIDATE)
    )


def _of_size(data):
    symbols = len((data / "lm" / "dict.txt").read_text().splitlines())
    model = builders.build("layerdrop_roberta", symbols, **BERT)
    del model.built_from.dictionary_sha256
    return model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layernorm_eps": 0.0}, "--layernorm-eps 0: want a small number above 0"),
        ({"layernorm_eps": float("nan")}, "--layernorm-eps nan"),
        ({"segment_embeddings": -1}, "--segment-embeddings -1"),
        ({"segment_embeddings": 2, "no_token_positional_embeddings": True}, "needs learned positions"),
        ({"segment_embeddings": 2, "encoder_learned_pos": False}, "needs learned positions"),
    ],
)
def test_values_that_no_model_can_have_are_refused(changes, message):
    with pytest.raises(LayerdropError, match=message):
        builders.build("layerdrop_roberta", **changes)


def test_torch_jit_script_is_refused_and_trace_works():
    model = builders.build("layerdrop_roberta", **BERT).eval()
    with pytest.raises(LayerdropError, match="no segment embeddings"):
        torch.jit.script(model)
    traced = torch.jit.trace(builders.Logits(model), pairs())
    torch.testing.assert_close(traced(pairs().flip(0)), model(pairs().flip(0))[0], atol=1e-5, rtol=0)
