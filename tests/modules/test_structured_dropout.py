"""HeadDrop, FFNDrop and SublayerDrop: drawn like layers (law 4), and nothing is left without a gradient (law 5)."""

import copy

import builders
import fairseq.options
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.modules.drop_seed import STRUCTURES, DropSeed
from layerdrop_plugin.modules.structured_dropout import StructuredDropout
from layerdrop_plugin.pruning.gates import stacks_of

NAMES = ["roberta", "transformer", "transformer_lm"]
SIZES = {"encoder_attention_heads": 4, "encoder_ffn_embed_dim": 24}


def build(name, **rates):
    stacks = {"roberta": ["encoder"], "transformer": ["encoder", "decoder"], "transformer_lm": ["decoder"]}[name]
    return builders.build(
        f"layerdrop_{name}", **SIZES, **{f"{stack}_{rate}": p for stack in stacks for rate, p in rates.items()}
    )


def drops(model):
    """What the last forward dropped: factors of heads and units, and sublayers."""
    found = []
    for stack in stacks_of(model).values():
        for layer in stack:
            gates = [layer.head_gate("self_attn"), layer.head_gate("encoder_attn"), layer.ffn_gate]
            found.append([gate and gate.drop_mask is not None and gate.drop_mask.tolist() for gate in gates])
            found[-1].append(sorted(layer.dropped))
    return found


@pytest.mark.parametrize("name", NAMES)
@given(
    rates=st.fixed_dictionaries(
        {rate: st.sampled_from([0.0, 0.3, 0.9]) for rate in ("headdrop", "ffndrop", "sublayerdrop", "layerdrop")}
    ),
    checkpointed=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_every_parameter_has_a_gradient(name, rates, checkpointed):
    model = build(name, **rates)
    if checkpointed:
        model = builders.build(
            f"layerdrop_{name}",
            **SIZES,
            **{f"{s}_{rate}": p for s in ("encoder", "decoder") for rate, p in rates.items()},
            checkpoint_activations=True,
        )
    model.train()(**builders.inputs(name))[0].sum().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_drops_what_the_uninterrupted_one_would(name):
    rates = {"headdrop": 0.4, "ffndrop": 0.4, "sublayerdrop": 0.3}
    whole, resumed = build(name, **rates), build(name, **rates)
    draws = []
    for update in range(4):
        whole.set_num_updates(update)
        for _ in range(2):
            torch.rand(7)
            whole.train()(**builders.inputs(name))
            draws.append(drops(whole))
            whole.eval()(**builders.inputs(name))
            assert not any(any(one) for one in drops(whole))
    assert len({str(drawn) for drawn in draws}) == 8
    resumed.set_num_updates(3)
    for expected in draws[6:]:
        resumed.train()(**builders.inputs(name))
        assert drops(resumed) == expected


def test_a_dropped_head_contributes_nothing_and_nothing_is_rescaled():
    """A forward that drops heads is the forward of the gates that its draw closed."""
    model = build("roberta", headdrop=0.5, ffndrop=0.5).train()
    inputs = builders.inputs("roberta")
    found = model(**inputs)[0]
    gated = copy.deepcopy(model).eval()
    for mine, theirs in zip(stacks_of(model)["encoder"], stacks_of(gated)["encoder"], strict=True):
        assert set(mine.ffn_gate.drop_mask.tolist()) <= {0.0, 1.0}
        theirs.head_gate("self_attn").value = mine.head_gate("self_attn").drop_mask
        theirs.ffn_gate.value = mine.ffn_gate.drop_mask
    torch.testing.assert_close(gated(**inputs)[0], found, atol=1e-5, rtol=0)


def test_units_are_dropped_in_chunks():
    model = build("roberta", ffndrop=0.5, ffndrop_chunks=3).train()
    model(**builders.inputs("roberta"))
    for layer in stacks_of(model)["encoder"]:
        chunks = layer.ffn_gate.drop_mask.view(3, 8)
        assert torch.equal(chunks, chunks[:, :1].expand(3, 8))


@given(st.integers(0, 2**31), st.integers(0, 2**31), st.integers(0, 9), st.sampled_from(["encoder", "decoder"]))
def test_draws_of_different_structures_differ(seed, update, micro_batch, stack):
    draw = DropSeed(seed, update, micro_batch, stack)
    drawn = {tuple(draw.uniform(structure, 8)) for structure in STRUCTURES}
    assert len(drawn) == len(STRUCTURES)


def test_rates_are_met():
    model = build("roberta", headdrop=0.3, ffndrop=0.1, sublayerdrop=0.2).train()
    heads, units, sublayers = [], [], []
    for update in range(150):
        model.set_num_updates(update)
        model(**builders.inputs("roberta", size=1, length=2))
        for layer in stacks_of(model)["encoder"]:
            heads.append(layer.head_gate("self_attn").drop_mask.mean())
            units.append(layer.ffn_gate.drop_mask.mean())
            sublayers.append(len({"self_attn", "ffn"} - layer.dropped) / 2)
    for found, rate in ((heads, 0.3), (units, 0.1), (sublayers, 0.2)):
        assert abs(1 - float(sum(found)) / len(found) - rate) < 0.04


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder_headdrop": 1.0}, "--encoder-headdrop wants 0 <= p < 1"),
        ({"encoder_ffndrop": -0.1}, "--encoder-ffndrop wants 0 <= p < 1"),
        ({"encoder_sublayerdrop": "x"}, "--encoder-sublayerdrop wants a number"),
        ({"encoder_ffndrop": 0.1, "encoder_ffndrop_chunks": 99}, "want 1 to 24"),
        ({"encoder_self_attn_heads": "4,4"}, "want a number for each of the 4 layers"),
        ({"encoder_self_attn_heads": "4,4,x,-"}, "want a number for each of the 4 layers"),
        ({"encoder_ffn_units": "25,4,0,-"}, "at most 24, not 25"),
        (
            {"encoder_headdrop": 0.1, "ddp_backend": "fully_sharded"},
            "headdrop does not work under --ddp-backend fully_sh",
        ),
        ({"encoder_ffndrop": 0.1, "ddp_backend": "fully_sharded"}, "ffndrop does not work"),
        ({"encoder_sublayerdrop": 0.1, "ddp_backend": "fully_sharded"}, "sublayerdrop does not work"),
    ],
)
def test_bad_options_are_said_in_one_line(options, message):
    with pytest.raises(LayerdropError, match=message):
        builders.build("layerdrop_roberta", **SIZES, **options)


RATES = ("headdrop", "ffndrop", "sublayerdrop", "layerdrop")


@pytest.mark.parametrize(
    ("arch", "rate", "options", "message"),
    [
        (
            "roberta",
            "encoder_headdrop",
            {"quant_noise_pq": 0.1},
            "heads cannot be dropped one by one with --quant-noise-pq",
        ),
        ("transformer", "encoder_headdrop", {"quant_noise_pq": 0.1}, "heads cannot be dropped one by one"),
        ("transformer_lm", "decoder_headdrop", {"quant_noise_pq": 0.1}, "heads cannot be dropped one by one"),
        ("transformer", "decoder_headdrop", {"scale_heads": True}, "--decoder-headdrop 0.5: heads cannot be dropped"),
        ("transformer_lm", "decoder_headdrop", {"scale_heads": True}, "quant-noise-pq, --scale-heads or xformers"),
        ("roberta", "encoder_ffndrop", {"quant_noise_pq": 0.1}, "FFN units cannot be dropped one by one"),
        ("transformer_lm", "decoder_ffndrop", {"scale_fc": True}, "--quant-noise-pq or --scale-fc: leave it out"),
        (
            "roberta",
            "encoder_headdrop",
            {"encoder_self_attn_heads": "0,-,0,-"},
            "finds no heads to drop in the encoder",
        ),
        ("roberta", "encoder_ffndrop", {"encoder_ffn_units": "-,0,-,0"}, "finds no FFN units to drop"),
        (
            *(
                "roberta",
                "encoder_sublayerdrop",
                {"encoder_self_attn_heads": "-,-,-,-", "encoder_ffn_units": "-,-,-,-"},
            ),
            "finds no sublayers to drop",
        ),
        *(("transformer", f"decoder_{rate}", {"decoder_layers": 0}, "to drop in the decoder") for rate in RATES),
        *(("transformer", f"encoder_{rate}", {"encoder_layers": 0}, "to drop in the encoder") for rate in RATES),
    ],
)
def test_a_rate_that_finds_nothing_to_drop_is_refused(arch, rate, options, message):
    sizes = {"encoder_attention_heads": 4, "encoder_ffn_embed_dim": 24} | options
    builders.build(f"layerdrop_{arch}", **sizes)
    with pytest.raises(LayerdropError, match=message):
        builders.build(f"layerdrop_{arch}", **sizes, **{rate: 0.5})


def test_nothing_is_dropped_within_layers_of_others():
    class Wrapped(torch.nn.Module):
        """As fairscale's wrapper around a layer."""

    for rate in RATES[:3]:
        with pytest.raises(
            LayerdropError, match=f"--encoder-{rate} 0.2: nothing can be dropped within layers of class Wr"
        ):
            StructuredDropout(**{rate: 0.2}).check([Wrapped()], "encoder")


@pytest.mark.parametrize(
    ("arch", "option"), [("roberta", "--decoder-headdrop"), ("transformer_lm", "--encoder-ffndrop")]
)
def test_a_rate_of_a_stack_that_the_model_lacks_is_no_option(arch, option, tmp_path, capsys):
    task = "language_modeling" if arch == "transformer_lm" else "masked_lm"
    given = [str(tmp_path), "--task", task, "--arch", f"layerdrop_{arch}", option, "0.1"]
    with pytest.raises(SystemExit):
        fairseq.options.parse_args_and_arch(fairseq.options.get_training_parser(), given)
    assert f"unrecognized arguments: {option}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ({"decoder_self_attn_heads": "1,1,1,1"}, {"scale_heads": True}),
        ({"decoder_ffn_units": "8,8,8,8"}, {"scale_fc": True}),
        ({"decoder_ffn_units": "8,8,8,8"}, {"quant_noise_pq": 0.1}),
        ({"decoder_self_attn_heads": "1,1,1,1"}, {"quant_noise_pq": 0.1}),
    ],
)
def test_sizes_of_what_works_with_all_its_parts_together_are_refused(sizes, options):
    with pytest.raises(LayerdropError, match="cannot be removed from"):
        builders.build("layerdrop_transformer_lm", **SIZES, **sizes, **options)
