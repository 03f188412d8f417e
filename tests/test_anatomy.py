import subprocess
import sys

import builders
import pytest

from layerdrop_plugin import anatomy
from layerdrop_plugin.modules.drop_seed import STRUCTURES
from layerdrop_plugin.pruning.weights import LAYER

MODELS = {
    "roberta": ("encoder",),
    "transformer": ("encoder", "decoder"),
    "bart": ("encoder", "decoder"),
    "transformer_lm": ("decoder",),
}
CODE = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*{'torch', 'numpy', 'fairseq'} & set(sys.modules))"


def test_it_imports_neither_fairseq_nor_torch():
    found = subprocess.run([sys.executable, "-c", CODE, anatomy.__file__], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_of_a_layer_belongs_to_one_sublayer_of_its_stack(name):
    model = builders.build(name, scale_fc=True, scale_heads=True, scale_attn=True, scale_resids=True)
    seen = set()
    for match in filter(None, map(LAYER.match, model.state_dict())):
        kinds = [kind for kind in anatomy.SUBLAYERS.values() if kind.begins(match["rest"])]
        assert len(kinds) == 1, match["rest"]
        assert match["stack"] in kinds[0].stacks
        seen.add((match["stack"], kinds[0].name))
    assert seen == {(stack, kind.name) for stack in MODELS[name] for kind in anatomy.kinds_of_stack(stack)} - (
        {("decoder", "encoder_attn")} if name == "transformer_lm" else set()
    )


@pytest.mark.parametrize("name", MODELS)
def test_names_are_those_of_a_models_weights(name):
    """Norms, projections and the dimensions along which heads and FFN units lie, and their number there."""
    model = builders.build(name)
    weights = {}
    for key, value in model.state_dict().items():
        if match := LAYER.match(key):
            weights.setdefault(match["stack"], {})[match["rest"]] = value
    for stack, of in weights.items():
        for kind in anatomy.kinds_of_stack(stack):
            if name == "transformer_lm" and kind.name == "encoder_attn":
                continue
            assert f"{kind.norm}.weight" in of
            cut = {weight: kind.dimension(weight) for weight in of if kind.dimension(weight) is not None}
            expected = {f"{projection}.{what}": 0 for projection in kind.inputs for what in ("weight", "bias")}
            assert cut == expected | {f"{kind.output}.weight": 1}
            parts = getattr(model.built_from, f"{stack}_{kind.part.whole_option}")
            for weight, dimension in cut.items():
                assert of[weight].shape[dimension] == parts * kind.width(16, heads=2)


def test_keys_and_structures_keep_their_order():
    """Ties in a ranking and the seeds of structured dropout depend on it."""
    assert (
        *("encoder.self_attn", "decoder.self_attn", "decoder.encoder_attn"),
        *("encoder.ffn", "decoder.ffn", "encoder.layers", "decoder.layers"),
    ) == anatomy.KEYS
    assert anatomy.STACKS == ("encoder", "decoder")
    assert STRUCTURES == ("layers", "self_attn", "encoder_attn", "ffn", "sublayers")


def test_kinds_by_stack_and_by_part():
    assert [kind.name for kind in anatomy.kinds_of_stack("encoder")] == ["self_attn", "ffn"]
    assert [kind.name for kind in anatomy.kinds_of_stack("decoder")] == ["self_attn", "encoder_attn", "ffn"]
    assert anatomy.kinds_of_part(anatomy.HEADS) == ("self_attn", "encoder_attn")
    assert anatomy.kinds_of_part(anatomy.FFN_UNITS) == ("ffn",)
