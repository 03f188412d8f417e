"""Where fairseq's objects become ours."""

import ast
from pathlib import Path

import builders
import pytest
from fairseq.models.transformer import TransformerDecoder, TransformerEncoder

import layerdrop_plugin
from layerdrop_plugin.modules.convert import layerdrop_decoder, layerdrop_encoder
from layerdrop_plugin.modules.layer_stack import LayerStack

PACKAGE = Path(layerdrop_plugin.__file__).parent
RATES = {"layerdrop_warmup_updates": 0}
RATES |= {f"{stack}_layerdrop": 0.25 for stack in ("encoder", "decoder")}
RATES |= {f"{stack}_layerdrop_schedule": "constant" for stack in ("encoder", "decoder")}


def changes_a_class(node):
    return isinstance(node, ast.Assign) and any(getattr(target, "attr", "") == "__class__" for target in node.targets)


def test_objects_change_their_class_in_convert_alone():
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if any(map(changes_a_class, ast.walk(ast.parse(file.read_text(encoding="utf-8")))))
    }
    # scriptable.py makes copies in fairseq's classes again, for torch.jit.script.
    assert found == {"modules/convert.py", "modules/scriptable.py"}


@pytest.mark.parametrize(
    ("stock", "convert"), [(TransformerEncoder, layerdrop_encoder), (TransformerDecoder, layerdrop_decoder)]
)
def test_a_converted_encoder_or_decoder_is_the_same_object_with_the_same_weights(stock, convert):
    words = builders.dictionary()
    args = builders.build("layerdrop_transformer", **RATES).built_from
    whole = stock(args, words, builders.build("layerdrop_transformer").encoder.embed_tokens)
    before = dict(whole.named_parameters())
    found = convert(whole, args)
    assert found is whole
    assert isinstance(found.layers, LayerStack)
    assert found.layers.rates == [0.25] * 4
    assert all(weight is before[name] for name, weight in found.named_parameters())
    assert len(list(found.parameters())) == len(before)
