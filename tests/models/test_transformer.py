import copy
from argparse import Namespace

import builders
import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.modules import FairseqDropout
from fairseq.sequence_generator import SequenceGenerator
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.modules.drop_seed import DropSeed
from layerdrop_plugin.modules.layer_stack import draw_kept
from layerdrop_plugin.pruning.gates import gated
from layerdrop_plugin.pruning.plan import Plan, StackPlan

PAIRS = ("transformer", "bart", "transformer_lm")
SHAPES = st.fixed_dictionaries(
    {
        "encoder_layers": st.integers(1, 4),
        "encoder_embed_dim": st.sampled_from([8, 16]),
        "encoder_ffn_embed_dim": st.integers(1, 30),
        "encoder_attention_heads": st.sampled_from([1, 2, 4]),
        "decoder_layers": st.integers(1, 4),
        "encoder_normalize_before": st.booleans(),
        "decoder_normalize_before": st.booleans(),
        "decoder_learned_pos": st.booleans(),
        "layernorm_embedding": st.booleans(),
        "share_all_embeddings": st.booleans(),
        "cross_self_attention": st.booleans(),
        "checkpoint_activations": st.booleans(),
    }
)


def pair_of_models(name, **shape):
    """fairseq's model and ours with the same weights."""
    stock, ours = builders.build(name, **shape), builders.build(f"layerdrop_{name}", **shape)
    assert list(ours.state_dict()) == list(stock.state_dict())
    ours.load_state_dict(copy.deepcopy(stock.state_dict()))
    return stock, ours


@pytest.mark.parametrize("name", PAIRS)
@given(shape=SHAPES, training=st.booleans(), size=st.integers(1, 4), length=st.integers(2, 9))
@settings(max_examples=20, deadline=None)
def test_nothing_dropped_nothing_changed(name, shape, training, size, length):
    """Law 2: fairseq's own state-dict keys, outputs, hidden states, attention and gradients."""
    results = []
    for model in pair_of_models(name, **shape):
        model.train(training)
        x, extra = model(**builders.inputs(name, size, length))
        x.sum().backward()
        attention = [a for a in extra["attn"] if a is not None]
        results.append([x, *extra["inner_states"], *attention, *(p.grad for p in model.parameters())])
    for expected, found in zip(*results, strict=True):
        if expected is not None:
            builders.assert_equal_but_for_rounding(found, expected)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("drop", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_every_parameter_has_a_gradient_and_idle_ones_zero(name, drop, checkpointed):
    """Law 5, the encoder under a decoder that is dropped altogether included."""
    model = builders.build(
        f"layerdrop_{name}", encoder_layerdrop=drop, decoder_layerdrop=drop, checkpoint_activations=checkpointed
    ).train()
    stacks = [getattr(model, stack).layers for stack in ("encoder", "decoder") if hasattr(model, stack)]
    seen = set()
    for update in range(10):
        model.zero_grad(set_to_none=True)
        model.set_num_updates(update)
        ran, hooks = set(), []
        for stack in stacks:
            for layer in stack:
                hooks.append(layer.register_forward_pre_hook(lambda module, _, ran=ran: ran.add(id(module))))
        model(**builders.inputs(name))[0].pow(2).sum().backward()
        for hook in hooks:
            hook.remove()
        assert all(parameter.grad is not None for parameter in model.parameters())
        decoder_ran = any(id(layer) in ran for layer in stacks[-1])
        for stack in stacks:
            for layer in stack:
                reaches_loss = id(layer) in ran and (decoder_ran or stack is stacks[-1])
                assert any(p.grad.any() for p in layer.parameters()) == reaches_loss
        seen.add(frozenset(ran))
    assert len(seen) == 1 if drop == 0 else len(seen) > 1 or seen == {frozenset()}


@pytest.mark.parametrize("name", PAIRS)
def test_in_evaluation_nothing_is_dropped(name):
    model = builders.build(f"layerdrop_{name}", encoder_layerdrop=0.9, decoder_layerdrop=0.9).eval()
    first, second = (model(**builders.inputs(name)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert len(first[1]["inner_states"]) == 5


@pytest.mark.parametrize("tied", [False, True])
def test_rare_words_tables_have_gradients(tied):
    """Law 5 for what a language model's batch leaves idle."""
    model = builders.build(
        "layerdrop_transformer_lm",
        symbols=40,
        decoder_input_dim=16,
        decoder_output_dim=16,
        adaptive_input=True,
        adaptive_input_cutoff="10,20",
        adaptive_softmax_cutoff="10,20",
        tie_adaptive_weights=tied,
        tie_adaptive_proj=tied,
    ).train()
    tokens = torch.full((2, 5), 4)
    features = model(tokens)[0]
    hidden, _ = model.decoder.adaptive_softmax(features, tokens)
    sum(part.sum() for part in hidden if part is not None).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


class TranslationTask(builders.FakeTask):
    """Enough of a task for a beam search."""


def translate(model, source, beam, **search):
    generator = SequenceGenerator([model], builders.dictionary(), beam_size=beam, max_len_b=12, **search)
    sample = {"net_input": {"src_tokens": source["src_tokens"], "src_lengths": source["src_lengths"]}}
    return [[(h["tokens"].tolist(), h["score"].item()) for h in hyps] for hyps in generator.generate([model], sample)]


@given(
    shape=SHAPES,
    size=st.integers(1, 6),
    length=st.integers(2, 9),
    beams=st.lists(st.integers(1, 4), min_size=2, max_size=3),
)
@settings(max_examples=12, deadline=None)
def test_beam_search_finds_what_fairseqs_finds(shape, size, length, beams):
    """Hypotheses and scores, sentences that end early included; one model searched again with another beam, and trained
    between searches (fairseq's attention remembers the beam of the last one)."""
    torch.manual_seed(size)
    stock, ours = pair_of_models("transformer", **shape)
    source = builders.pairs(size, length)
    for beam in beams:
        stock.eval(), ours.eval()
        expected, found = translate(stock, source, beam), translate(ours, source, beam)
        for theirs, mine in zip(expected, found, strict=True):
            assert [tokens for tokens, _ in mine] == [tokens for tokens, _ in theirs]
            assert [score for _, score in mine] == pytest.approx([score for _, score in theirs], abs=1e-4)
        again = builders.pairs(size, length, seed=5)
        torch.testing.assert_close(ours.train()(**again)[0], stock.train()(**again)[0], atol=1e-5, rtol=0)


def test_beams_share_one_copy_of_the_encoders_output():
    model = builders.build("layerdrop_transformer").eval()
    rows = []
    attention = model.decoder.layers[0].encoder_attn
    attention.register_forward_pre_hook(lambda m, a, k: rows.append(k["key"].size(1)), with_kwargs=True)
    translate(model, builders.pairs(3), beam=4)
    assert rows[0] == 3


@pytest.mark.parametrize("name", (*PAIRS, "roberta"))
@pytest.mark.parametrize("kept", ["TransformerEncoder", "TransformerDecoder", "MultiheadAttention", None])
def test_retain_dropout_modules_means_the_same_modules_as_in_fairseq(name, kept):
    """Under fairseq's names, and where dropout is retained it acts."""
    rates = {"dropout": 0.5, "attention_dropout": 0.5, "activation_dropout": 0.5}
    retained = []
    for model in pair_of_models(name, **rates):
        inputs, modules = builders.inputs(name), kept and [kept]
        without = model.eval()(**inputs)[0]
        asked = Namespace(beam=2, retain_dropout=True, retain_dropout_modules=modules)
        model.prepare_for_inference_(Namespace(generation=asked))
        dropouts = [(key, m) for key, m in model.named_modules() if isinstance(m, FairseqDropout)]
        retained.append([key for key, module in dropouts if module.apply_during_inference])
        assert torch.equal(model(**inputs)[0], without) == (not retained[-1])
    assert retained[0] == retained[1]


@pytest.mark.parametrize("printed", [None, "hard"])
def test_a_search_computes_attention_only_to_print_it(printed):
    """After fairseq's preparation for inference, as its commands make it."""
    model = builders.build("layerdrop_transformer").eval()
    model.prepare_for_inference_(Namespace(generation=Namespace(beam=2, print_alignment=printed)))
    inputs = builders.pairs()
    encoder_out = model.encoder(inputs["src_tokens"], inputs["src_lengths"])
    step = {"prev_output_tokens": inputs["prev_output_tokens"], "encoder_out": encoder_out}
    assert (model.decoder(**step, incremental_state={})[1]["attn"][0] is None) == (printed is None)
    assert model.decoder(**step)[1]["attn"][0] is not None


def test_the_alignment_layer_is_the_last_one_kept():
    """Of a plan; in training with LayerDrop there is attention of a layer that is named, if the draw keeps it."""
    model = builders.build("layerdrop_transformer", decoder_layerdrop=0.5).train()
    seen = set()
    for update in range(12):
        model.set_num_updates(update)
        kept = [draw_kept(DropSeed(1, update, micro_batch, "decoder"), [0.5] * 4) for micro_batch in range(2)]
        assert model(**builders.pairs())[1]["attn"][0] is None
        attention = model(**builders.pairs(), alignment_layer=2)[1]["attn"][0]
        assert (attention is not None) == (2 in kept[1])
        seen.add(kept[1])
    assert len(seen) > 2
    model.eval()
    expected = model(**builders.pairs(), alignment_layer=1)[1]["attn"][0]
    with gated(model, Plan(decoder=StackPlan((0, 1)))):
        torch.testing.assert_close(model(**builders.pairs())[1]["attn"][0], expected)
        assert model(**builders.pairs(), alignment_layer=3)[1]["attn"][0] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder_layerdrop": 1.0}, "--decoder-layerdrop wants 0 <= p < 1"),
        ({"encoder_layerdrop": -0.1}, "--encoder-layerdrop wants 0 <= p < 1"),
        ({"decoder_layerdrop": 0.8, "decoder_layerdrop_schedule": "linear"}, "would be dropped"),
        ({"decoder_layers_to_keep": "0,4"}, "decoder has layers 0 to 3"),
        ({"decoder_layers_to_keep": [1, 1]}, "repeats"),
        ({"decoder_layerdrop": 0.2, "ddp_backend": "fully_sharded"}, "fully_sharded"),
        ({"base_layers": 1}, "base-layers"),
        ({"dictionary_sha256": "0" * 64}, "another dictionary"),
        ({"target_dictionary_sha256": "0" * 64}, "target side"),
        (
            {"decoder_layerdrop": 0.2, "criterion": "label_smoothed_cross_entropy_with_alignment"},
            "--decoder-layerdrop 0",
        ),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(LayerdropError, match=message):
        builders.build("layerdrop_transformer", **changes)


@pytest.mark.parametrize("keep", [{"decoder": "3,1"}, {"encoder": "2"}, {"encoder": [0, 3], "decoder": "0"}])
def test_layers_to_keep_prunes_each_side_once(keep):
    """fairseq prunes away the side that is not named, and prunes a second time when a run resumes."""
    whole = builders.build("layerdrop_transformer")
    options = {f"{stack}_layers_to_keep": layers for stack, layers in keep.items()}
    pruned = builders.build("layerdrop_transformer", **options)
    pruned.load_state_dict(copy.deepcopy(whole.state_dict()))
    for stack in ("encoder", "decoder"):
        numbers = sorted(
            int(n) for n in ",".join(map(str, keep.get(stack, range(4)))).replace(",,", "").split(",") if n
        )
        for mine, theirs in zip(getattr(pruned, stack).layers, numbers, strict=True):
            expected = getattr(whole, stack).layers[theirs].state_dict()
            assert all(torch.equal(value, expected[key]) for key, value in mine.state_dict().items())
    resumed = builders.build("layerdrop_transformer", **options)
    resumed.load_state_dict(copy.deepcopy(pruned.state_dict()))
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), pruned.parameters(), strict=True))


@pytest.mark.parametrize(
    ("arch", "encoder", "decoder", "width"),
    [
        ("layerdrop_transformer", 6, 6, 512),
        ("layerdrop_transformer_tiny", 6, 3, 128),
        ("layerdrop_transformer_iwslt_de_en", 6, 6, 512),
        ("layerdrop_transformer_wmt_en_de", 6, 6, 512),
        ("layerdrop_transformer_wmt_en_de_big_12_6", 12, 6, 1024),
    ],
)
def test_presets(arch, encoder, decoder, width):
    args = Namespace()
    ARCH_CONFIG_REGISTRY[arch](args)
    assert (args.encoder_layers, args.decoder_layers, args.encoder_embed_dim) == (encoder, decoder, width)
    assert args.encoder_layerdrop == args.decoder_layerdrop == 0


def test_parameters_of_the_adaptive_language_model():
    """fairseq's README: 16 layers, and 8 of them kept; of 267,744 types. On the meta device: no memory."""
    args = Namespace(tokens_per_sample=512, max_target_positions=512, add_bos_token=False, tpu=False, seed=1)
    ARCH_CONFIG_REGISTRY["layerdrop_transformer_lm_wiki103"](args)
    counts = []
    for keep in (None, "1,3,5,7,9,11,13,15"):
        task = builders.FakeTask(267_744 - 5)
        with torch.device("meta"):
            model = builders.models.build_model(
                Namespace(
                    **vars(args) | {"decoder_layers_to_keep": keep, "_name": "layerdrop_transformer_lm"},
                    ddp_backend="pytorch_ddp",
                ),
                task,
            )
        counts.append(sum(parameter.numel() for parameter in model.parameters()))
    assert counts == [246_933_504, 146_163_712]
