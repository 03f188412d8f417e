"""BART's classification heads, and the row of <mask> that fairseq leaves out; see test_transformer.py for the laws."""

import copy
from argparse import Namespace

import builders
import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.models.dictionaries import check_vocabulary
from layerdrop_plugin.pruning.gates import gated
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune

HEADS = ("mnli", "other")


def sentences(size: int, length: int) -> dict:
    """What sentence_prediction gives BART: every row with one ``</s>``, its last token; the decoder's rotated."""
    tokens = torch.randint(4, 20, (size, length), generator=torch.Generator().manual_seed(size + length))
    tokens[:, 0], tokens[:, -1] = 0, 2
    return {"src_tokens": tokens, "src_lengths": tokens.ne(1).sum(1), "prev_output_tokens": tokens.roll(1, 1)}


def with_heads(arch: str, **changes):
    model = builders.build(arch, **changes)
    for name in HEADS:
        model.register_classification_head(name, num_classes=3)
    return model


@given(
    size=st.integers(1, 3),
    length=st.integers(3, 8),
    training=st.booleans(),
    head=st.sampled_from(HEADS),
    tied=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_heads_are_fairseqs(size, length, training, head, tied):
    """Law 2, and law 5 for the other head and the output projection, which a classifier does not use."""
    stock = with_heads("bart", share_decoder_input_output_embed=tied)
    ours = with_heads("layerdrop_bart", share_decoder_input_output_embed=tied)
    assert list(ours.state_dict()) == list(stock.state_dict())
    ours.load_state_dict(copy.deepcopy(stock.state_dict()))
    results = []
    for model in (stock, ours):
        x, _ = model.train(training)(**sentences(size, length), classification_head_name=head)
        x.sum().backward()
        results.append((x, dict(model.named_parameters())))
    torch.testing.assert_close(results[1][0], results[0][0], atol=1e-5, rtol=0)
    for name, parameter in results[1][1].items():
        expected = results[0][1][name].grad
        if expected is not None:
            builders.assert_equal_but_for_rounding(parameter.grad, expected)
        elif training:
            assert not parameter.grad.any()


def test_a_gated_classifier_is_its_child():
    """Law 1 through a head."""
    parent = with_heads("layerdrop_bart").eval()
    plan = Plan(StackPlan((0, 2), {0: (1,)}), StackPlan((1, 3), {}, {3: ()}, {1: (0, 5, 7)}))
    state = builders.state_of(parent, "layerdrop_bart")
    state["cfg"]["model"]["load_checkpoint_heads"] = True
    child = prune(Parent(state), plan)
    assert {name.split(".")[1] for name in child.weights if name.startswith("classification")} == set(HEADS)
    model = with_heads("layerdrop_bart", **{k: v for k, v in child.options.items() if k not in ("_name", "arch")})
    model.load_state_dict(child.state["model"])
    inputs = sentences(2, 6) | {"classification_head_name": "mnli"}
    with gated(parent, plan):
        torch.testing.assert_close(model.eval()(**inputs)[0], parent(**inputs)[0], atol=1e-5, rtol=0)


def test_data_without_the_decoders_input_is_refused():
    model = with_heads("layerdrop_bart")
    with pytest.raises(LayerdropError, match="give --add-prev-output-tokens"):
        model(builders.batch(), features_only=True, classification_head_name="mnli")


class _Data:
    """A task whose dictionaries are *dictionary*."""

    def __init__(self, dictionary):
        self.source_dictionary = self.target_dictionary = dictionary


def test_a_dictionary_may_lack_mask_and_no_other_symbol():
    """fairseq leaves out BART's last row then; with another architecture it fails."""
    words = builders.dictionary()
    without, fewer = Dictionary(), Dictionary()
    for symbol in words.symbols[4:-1]:
        without.add_symbol(symbol)
    for symbol in words.symbols[5:-1]:
        fewer.add_symbol(symbol)
    bart = Parent(builders.state_of(builders.build("layerdrop_bart"), "layerdrop_bart"))
    check_vocabulary(bart, _Data(words), "the parent")
    check_vocabulary(bart, _Data(without), "the parent")
    other = Parent(builders.state_of(builders.build("layerdrop_transformer"), "layerdrop_transformer"))
    renamed = copy.deepcopy(without)
    renamed.symbols[5] = "another"
    for parent, dictionary in ((bart, fewer), (bart, renamed), (other, without)):
        with pytest.raises(LayerdropError, match="another dictionary"):
            check_vocabulary(parent, _Data(dictionary), "the parent")


def test_a_stock_child_keeps_its_options_in_a_namespace():
    """Or fairseq does not find those that only BART has; a child of our architecture has a dict."""
    parent = Parent(builders.state_of(builders.build("layerdrop_bart"), "layerdrop_bart"))
    whole = prune(parent, Plan(decoder=StackPlan((0,))))
    assert vars(whole.state["cfg"]["model"])["_name"] == "bart_large"
    assert whole.options == checkpoint.plain(whole.state["cfg"])["model"]
    uneven = prune(whole, Plan(decoder=StackPlan((0,), {0: (1,)})))
    assert uneven.state["cfg"]["model"]["_name"] == "layerdrop_bart"


@pytest.mark.parametrize(
    ("arch", "layers", "width", "scaled"),
    [
        ("layerdrop_bart", 12, 1024, False),
        ("layerdrop_bart_base", 6, 768, False),
        ("layerdrop_bart_large", 12, 1024, False),
        ("layerdrop_bart_tiny", 4, 128, False),
        ("layerdrop_bart_mbart_large", 12, 1024, True),
    ],
)
def test_presets(arch, layers, width, scaled):
    args = Namespace()
    ARCH_CONFIG_REGISTRY[arch](args)
    assert (args.encoder_layers, args.decoder_layers, args.encoder_embed_dim) == (layers, layers, width)
    assert args.no_scale_embedding is not scaled
    assert args.encoder_layerdrop == args.decoder_layerdrop == 0
