"""What the options of a model may be, against what fairseq's parsers say that they are."""

import argparse
from collections.abc import Iterator

import pytest
from fairseq.models import MODEL_REGISTRY

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.families import FAMILIES
from layerdrop_plugin.pruning.option_values import KNOWN, check_depth, check_options

PATHS = {"encoder_embed_path", "decoder_embed_path"}  # any text
MODELS = [name for stock in FAMILIES for name in (stock, f"layerdrop_{stock}") if name in MODEL_REGISTRY]


def options_of(model: str) -> Iterator[argparse.Action]:
    parser = argparse.ArgumentParser(conflict_handler="resolve", add_help=False)
    MODEL_REGISTRY[model].add_args(parser)
    return iter(parser._actions)


@pytest.mark.parametrize("model", MODELS)
def test_every_option_of_fairseq_and_ours_is_known_and_its_default_is_valid(model):
    assert {option.dest for option in options_of(model)} - KNOWN.keys() <= PATHS
    check_options({option.dest: option.default for option in options_of(model) if option.default != "==SUPPRESS=="})


@pytest.mark.parametrize("model", MODELS)
def test_values_of_another_type_are_refused(model):
    wrong = {int: ["x", 1.5, True, [], -7, 1 << 70], float: ["x", float("nan"), [], -1.0], bool: ["x", 2, 0.5, []]}
    compared = 0
    for option in options_of(model):
        kind = bool if option.nargs == 0 else option.type
        if option.dest in KNOWN and kind in wrong and option.dest != "base_shuffle":  # a number here, a flag there
            for value in wrong[kind]:
                with pytest.raises(LayerdropError, match=f"its option {option.dest} is .* it must be "):
                    check_options({option.dest: value})
                compared += 1
    assert compared > 50


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"adaptive_softmax_cutoff": "open('x')"}, "must be a list of whole numbers"),
        ({"encoder_xformers_att_config": "[1]"}, "must be settings by name"),
        ({"encoder_embed_dim": 12, "encoder_attention_heads": 5}, "is no multiple of 5 heads"),
        ({"encoder_embed_dim": 1024, "max_positions": 1 << 20}, "more than 1 GiB"),
        ({"activation_fn": "__import__"}, "must be one of relu"),
        ({"dictionary_sha256": "x"}, "must be a SHA-256"),
        ({"encoder_layerdrop_schedule": "never"}, "must be one of"),
    ],
)
def test_what_no_model_can_be_is_refused(options, said):
    with pytest.raises(LayerdropError, match=said):
        check_options(options)


def test_what_a_model_can_be_is_accepted():
    check_options(
        {
            "adaptive_softmax_cutoff": "100,200",
            "decoder_layers_to_keep": "[0, 2]",
            "character_filters": "[(1, 64), (2, 128)]",
            "encoder_xformers_att_config": "{'name': 'scaled_dot_product'}",
            "encoder_layers_to_keep": None,
            "an_option_of_another_plugin": object(),
        }
    )


def test_a_depth_that_the_weights_do_not_have_is_refused():
    weights = {"decoder.layers.0.fc1.weight": None, "decoder.layers.1.fc1.weight": None}
    check_depth({"decoder_layers": 2}, weights)
    check_depth({"decoder_layers": 10**9, "decoder_layers_to_keep": "0,1"}, weights)
    with pytest.raises(LayerdropError, match="its decoder_layers is 1000000000, but it has weights of 2"):
        check_depth({"decoder_layers": 10**9}, weights)
