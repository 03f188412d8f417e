"""Children of checkpoints that look as fairseq's published ones do, in fairseq without this plugin (law 3)."""

import json

import builders
import public_checkpoints
import pytest
import torch

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune

# A BART keeps its options in a Namespace, or fairseq does not find them (families.as_saved).
PUBLIC = {**dict.fromkeys(public_checkpoints.BART, "bart"), "xlmr.base": "roberta", "m2m100.418M": "transformer"}
TRUSTING = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}  # what the published files need with PyTorch 2.6 and later
EVERY_OTHER = ("--encoder-layers", "every-other:0.5", "--decoder-layers", "every-other:0.5")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Function: a name in PUBLIC -> path of such a checkpoint, in a folder of its own."""
    root = tmp_path_factory.mktemp("published")
    made = {}

    def path(name):
        if name not in made:
            make = {"xlmr.base": public_checkpoints.xlmr, "m2m100.418M": public_checkpoints.m2m100}.get(name)
            made[name] = make(root / name) if make else public_checkpoints.bart(root / name, name)
        return made[name]

    return path


def sentences(folder, source, target):
    """Binarised random sentences with the dictionary of *folder*: train, valid and test of 8, 4 and 5 pairs."""
    words = "".join(f"w{number} w{number + 3} w{7 * number % 40}\n" for number in range(8))
    for split, count in (("train", 8), ("valid", 4), ("test", 5)):
        for side in (source, target):
            (folder / f"{split}.{side}").write_text("".join(words.splitlines(keepends=True)[:count]))
    dictionary = folder / f"dict.{source}.txt"
    builders.run(
        *("fairseq-preprocess", "-s", source, "-t", target, "--srcdict", dictionary, "--tgtdict", dictionary),
        *("--trainpref", folder / "train", "--validpref", folder / "valid", "--testpref", folder / "test"),
        *("--destdir", folder / "data", "--workers", "1"),
    )
    return folder / "data"


MANY = ("--task", "translation_multi_simple_epoch", "--lang-pairs", "de-en,en-de,en-fr", "--encoder-langtok", "src")
MANY += ("--decoder-langtok", "-s", "de", "-t", "en")


@pytest.mark.parametrize("name", PUBLIC)
def test_inspect_and_prune(published, name):
    """What the file's options say and its weights are; heads and units are removed by a plan."""
    path = published(name)
    parent = Parent.load(path)
    layers = 6 if name == "bart.base" else 12
    assert parent.family.stock == PUBLIC[name]
    assert {of.layers for _, of in parent.shape.items()} == {layers}
    assert {of.heads for _, of in parent.shape.items()} == {4}
    kept = StackPlan((1, 3, 5), {1: (0, 2)}, {}, {3: (0, 1, 2), 5: None})
    child = prune(parent, Plan(kept, kept if parent.shape.decoder else None))
    child.check()  # the weights are those of the configuration
    assert child.options["_name"] == f"layerdrop_{PUBLIC[name]}"
    assert child.options["encoder_self_attn_heads"] == "2,4,4"
    assert child.shape.encoder.sizes["ffn"] == (32, 3, None)


HUB = """
import sys
from fairseq.models.{module} import {model} as Model
hub = Model.from_pretrained({folder!r}, "child.pt", data_name_or_path={folder!r}, bpe="characters").eval()
assert "layerdrop_plugin" not in sys.modules
assert type(hub.model).__module__ == "fairseq.models.{module}.model", type(hub.model)
tokens = hub.task.source_dictionary.encode_line("<s> w1 w2 w3 </s>", append_eos=False).long()
print("features", hub.extract_features(tokens).double().sum().item())
for head in hub.model.classification_heads:
    print(head, hub.predict(head, tokens).tolist())
"""


@pytest.mark.parametrize("name", ["bart.large.mnli", "xlmr.base"])
def test_a_child_of_whole_layers_in_from_pretrained(published, name):
    path, child = published(name), published(name).parent / "child.pt"
    stacks = EVERY_OTHER[: 4 if PUBLIC[name] == "bart" else 2]
    builders.run("layerdrop", "prune", path, child, *stacks)
    module, model = ("bart", "BARTModel") if PUBLIC[name] == "bart" else ("roberta", "XLMRModel")
    code = HUB.format(module=module, model=model, folder=str(path.parent))
    alone = builders.run("python", "-c", code, cwd="/", env=TRUSTING if module == "bart" else None).stdout
    assert "features " in alone and ("mnli " in alone) == (name == "bart.large.mnli")
    described = json.loads(builders.run("layerdrop", "inspect", child, "--json").stdout)
    assert (described["architecture"], described["family"]) == (
        ("bart_large", "bart") if module == "bart" else ("roberta", "roberta")
    )
    assert described["encoder"]["layers"] == 6


@pytest.mark.parametrize(
    ("name", "source", "target"), [("bart.large.cnn", "source", "target"), ("m2m100.418M", "de", "en")]
)
def test_a_child_of_whole_layers_translates_as_its_parent_does_when_overridden(published, name, source, target):
    """Both in fairseq without this plugin, which prunes on loading where both sides are named."""
    path, child = published(name), published(name).parent / "child.pt"
    builders.run("layerdrop", "prune", path, child, *EVERY_OTHER)
    data = sentences(path.parent, source, target)
    task = (*MANY, "--fixed-dictionary", path.parent / "model_dict.txt") if source == "de" else ()
    common = ("fairseq-generate", data, *task, *builders.GENERATE)
    alone = builders.run(*common, "--path", child, env=TRUSTING).stdout
    kept = {f"{stack}_layers_to_keep": "1,3,5,7,9,11" for stack in ("encoder", "decoder")}
    overridden = builders.run(*common, "--path", path, "--model-overrides", str(kept), env=TRUSTING).stdout
    hypotheses = [[line for line in text.splitlines() if line.startswith("H-")] for text in (alone, overridden)]
    assert len(hypotheses[0]) == 5
    assert hypotheses[0] == hypotheses[1]


def test_fine_tuning_a_many_language_child_with_layerdrop(published, tmp_path):
    """Pruned by layers and heads, then trained and read with fairseq's task for many languages."""
    path, child = published("m2m100.418M"), tmp_path / "child.pt"
    plan = {"encoder": {"layers": [0, 11], "self_attn": {"0": [1, 2]}}, "decoder": {"layers": [5, 6, 7]}}
    (tmp_path / "plan.json").write_text(json.dumps({"version": 1} | plan))
    builders.run("layerdrop", "prune", path, child, "--plan", tmp_path / "plan.json")
    data = sentences(path.parent, "de", "en") if not (path.parent / "data").exists() else path.parent / "data"
    sizes = ("--encoder-layers", "2", "--decoder-layers", "3", "--encoder-self-attn-heads", "2,4")
    for stack in ("encoder", "decoder"):
        sizes += (f"--{stack}-embed-dim", "16", f"--{stack}-ffn-embed-dim", "32", f"--{stack}-attention-heads", "4")
        sizes += (f"--{stack}-normalize-before", f"--{stack}-layerdrop", "0.3")
    many = (*MANY[:3], "de-en", *MANY[4:-4], "--fixed-dictionary", path.parent / "model_dict.txt")
    builders.run(
        *("fairseq-train", data, *many, "--langs", "de,en,fr", "--arch", "layerdrop_transformer", *sizes),
        *("--share-all-embeddings", "--finetune-from-model", child, "--save-dir", tmp_path, "--max-update", "2"),
        *("--criterion", "label_smoothed_cross_entropy", "--disable-validation", *builders.TRAIN),
    )
    generated = builders.run(
        *("fairseq-generate", data, *MANY, "--fixed-dictionary", path.parent / "model_dict.txt"),
        *("--langs", "de,en,fr", "--path", tmp_path / "checkpoint_last.pt", "--user-dir", builders.USER_DIR),
        *builders.GENERATE,
    )
    assert sum(line.startswith("H-") for line in generated.stdout.splitlines()) == 5


@pytest.mark.parametrize(
    ("change", "plan", "message"),
    [
        ({"quant_noise_pq": 0.1}, StackPlan((0, 1), {0: (1,)}), "--quant-noise-pq: of its encoder only whole layers"),
        ({"encoder_layers": 5}, StackPlan((0,)), "its encoder_layers is 5, but it has weights of 6 encoder layers"),
        (
            {"pooler_activation_fn": "exec"},
            StackPlan((0,)),
            "its option pooler_activation_fn is 'exec': it must be one",
        ),
        ({"base_layers": 1}, StackPlan((0,)), "its base_layers 1, but it has weights of 6 decoder layers"),
        (
            {"arch": "transformer_12_12"},
            StackPlan((0,)),
            "names the architecture 'transformer_12_12', which this fairseq",
        ),
        ({"arch": "xmod_base"}, StackPlan((0,)), "the architecture 'xmod_base' cannot be pruned"),
        ({"encoder_learned_pos": False}, StackPlan((0,)), "embed_positions"),
    ],
)
def test_a_bart_that_surgery_cannot_represent_is_refused_by_name(published, tmp_path, change, plan, message):
    path = tmp_path / "changed.pt"
    state = torch.load(published("bart.base"), weights_only=False)  # our own file
    vars(state["args"]).update(change)
    torch.save(state, path)
    with pytest.raises(LayerdropError, match=message):
        prune(Parent.load(path), Plan(encoder=plan))
