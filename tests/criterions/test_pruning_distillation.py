"""``--criterion pruning_distillation`` within one process: its loss, what it leaves alone and what it refuses."""

import sys

import checkpoints
import pytest
import samples
import torch
from fairseq import options, tasks
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import ModuleProxyWrapper
from fairseq.logging import metrics
from omegaconf import OmegaConf
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from layerdrop_plugin import checkpoint
from layerdrop_plugin.distillation.teacher import plan_of_child
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.importance.additivity import examples
from layerdrop_plugin.modules import layer_stack
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune
from layerdrop_plugin.pruning.vocabulary import PrunedVocabulary, VocabularyPlan

FOUR = {"encoder": "--encoder-layers 4", "decoder": "--decoder-layers 4"}
STACKS = {
    "classification": ("encoder",),
    "masked_lm": ("encoder",),
    "translation": ("encoder", "decoder"),
    "language_modeling": ("decoder",),
}
KEPT = {"encoder": (1, 3), "decoder": (0, 2)}
HELD = {"encoder": (0, 3, 4), "decoder": (0, 2, 4)}  # the child's states 0, 1, 2 against the parent's
W, T, H = 0.4, 3.0, 0.7


@pytest.fixture(scope="module")
def teachers(data, tmp_path_factory):
    """A parent of four layers (a stack) of each kind: its file."""
    folder = tmp_path_factory.mktemp("teachers")
    return {
        kind: checkpoints.save(folder / f"{kind}.pt", data, kind, " ".join(FOUR[stack] for stack in stacks))
        for kind, stacks in STACKS.items()
    }


def start(data, kind, more, base=None):
    """The run of ``pruning_distillation`` on *kind* with *more* options: its configuration, task, model, criterion."""
    folder, words = checkpoints.KINDS[kind]
    words = words.replace("--task ", "--task pruning_").split()
    name = words[words.index("--criterion") + 1]
    words[words.index("--criterion") + 1] = "pruning_distillation"
    if "--label-smoothing" in words:
        at = words.index("--label-smoothing")
        words[at : at + 2] = ["--base-criterion-args", '{"label_smoothing": 0.1}']
    given = [str(data / folder), *words, "--base-criterion", base or name, *more]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), given))
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    return cfg, task, model, task.build_criterion(cfg.criterion)


def pruned(teacher, kind):
    """Options of the child that keeps two layers of each stack."""
    kept = {stack: ",".join(map(str, KEPT[stack])) for stack in STACKS[kind]}
    return ["--prune-from", teacher, *(w for s, k in kept.items() for w in (f"--prune-{s}-layers", f"keep:{k}"))]


def weights(w=W, t=T, h=H):
    return ["--distill-weight", str(w), "--distill-temperature", str(t), "--distill-hidden", str(h)]


def batch_of(task, size=6):
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    dataset.set_epoch(1)
    return dataset.collater([dataset[number] for number in range(size)])


def states(model, sample, kind):
    """Hidden states (batch, length, width) of each stack as fairseq returns them, and the padding of each."""
    given = sample["net_input"]
    found = {}
    if kind == "translation":
        encoded = model.encoder(given["src_tokens"], given["src_lengths"], return_all_hiddens=True)
        found["encoder"] = encoded["encoder_states"], given["src_tokens"].ne(1)
        found["decoder"] = model.decoder(given["prev_output_tokens"], encoded)[1]["inner_states"]
        found["decoder"] = found["decoder"], given["prev_output_tokens"].ne(1)
    elif kind == "language_modeling":
        found["decoder"] = model.decoder(given["src_tokens"])[1]["inner_states"], given["src_tokens"].ne(1)
    else:
        inner = model(given["src_tokens"], features_only=True, return_all_hiddens=True)[1]["inner_states"]
        found["encoder"] = inner, given["src_tokens"].ne(1)
    return {stack: ([state.transpose(0, 1) for state in inner], places) for stack, (inner, places) in found.items()}


def logits(model, sample, kind):
    """Rows of logits that the loss is of."""
    if kind == "classification":
        head = {"features_only": True, "classification_head_name": "sentence_classification_head"}
        return model(**sample["net_input"], **head)[0]
    return model(**sample["net_input"])[0][sample["target"].ne(1)]


def by_hand(model, teacher, sample, kind, base, held=HELD, rows=None):
    """(1 - w) · base + w · T² · KL + h · mean squared difference, by loops over examples and pairs.

    *rows* are those of the teacher's embeddings that the model has.
    """
    read = sample if rows is None else sample | {"net_input": in_teachers_rows(sample["net_input"], rows)}
    mine = torch.softmax(logits(model, sample, kind) / T, -1)
    theirs = logits(teacher, read, kind)
    theirs = torch.softmax((theirs if rows is None else theirs[:, rows]) / T, -1)
    divergence = sum((p * (p.log() - q.log())).sum() for p, q in zip(theirs, mine, strict=True))
    hidden, found, expected = 0.0, states(model, sample, kind), states(teacher, read, kind)
    for row in range(len(sample["target"])):
        size = 1 if kind == "classification" else int(sample["target"][row].ne(1).sum())
        means = []
        for stack, (inner, places) in found.items():
            for number, state in zip(held[stack], inner, strict=True):
                difference = state[row] - expected[stack][0][number][row]
                means.append(difference[places[row]].square().mean())
        hidden = hidden + size * torch.stack(means).mean()
    return (1 - W) * base + W * T**2 * divergence + H * hidden


def in_teachers_rows(given, rows):
    return {name: rows[value] if name.endswith("_tokens") else value for name, value in given.items()}


def loaded(path, task):
    """The teacher's model, loaded with fairseq's own means."""
    state = checkpoint.read(path)
    cfg = OmegaConf.create(state["cfg"], flags={"allow_objects": True})
    model = task.build_model(cfg.model, from_checkpoint=True)
    model.load_state_dict(state["model"])
    return model.eval()


@pytest.mark.parametrize("kind", STACKS)
def test_the_loss_is_the_formulas(kind, data, teachers):
    """With gradients for the child alone; in validation it is the base criterion's loss."""
    cfg, task, model, criterion = start(
        data, kind, [*pruned(teachers[kind], kind), "--teacher", teachers[kind], *weights()]
    )
    sample, teacher = batch_of(task), loaded(teachers[kind], task)
    model.eval()
    with torch.no_grad():
        base, size, plain_log = criterion(model, sample)
        expected = by_hand(model, teacher, sample, kind, base)
    loss, found_size, log = criterion(model, sample)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    assert (int(found_size), float(log["loss"])) == (int(size), pytest.approx(float(base)))
    assert not any("distill" in key for key in plain_log)
    loss.backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
    assert all(weight.grad is None for weight in criterion.teacher.model.parameters())
    assert not criterion.teacher.model.training
    assert cfg.criterion._name == {"translation": "label_smoothed_cross_entropy"}.get(kind, cfg.criterion._name)
    assert not any("distill" in key or "teacher" in key or "base" in key for key in cfg.criterion)


@pytest.mark.parametrize("kind", STACKS)
def test_the_loss_is_a_sum_over_examples(kind, data, teachers):
    """So it does not depend on how examples are put into micro-batches or given to workers."""
    _, task, model, criterion = start(
        data, kind, [*pruned(teachers[kind], kind), "--teacher", teachers[kind], *weights()]
    )
    sample = batch_of(task)
    model.eval()
    parts = [criterion(model, examples(sample, rows, 1))[0] for rows in ([0, 1], [2], [3, 4, 5])]
    torch.testing.assert_close(criterion(model, sample)[0], sum(parts), rtol=1e-5, atol=1e-5)


def test_layers_that_layerdrop_leaves_out_do_not_count(data, teachers, monkeypatch):
    """Of a child of layers 1 and 3, whose second one runs alone, the embeddings and the last state are compared."""
    kind = "masked_lm"
    more = [*pruned(teachers[kind], kind), "--teacher", teachers[kind], *weights(), "--encoder-layerdrop", "0.5"]
    _, task, model, criterion = start(data, kind, [*more, "--dropout", "0", "--attention-dropout", "0"])
    sample, teacher = batch_of(task), loaded(teachers[kind], task)
    monkeypatch.setattr(layer_stack, "draw_kept", lambda *_: (1,))
    with torch.no_grad():
        base = criterion(model.train(), sample)[0]
        expected = by_hand(model, teacher, sample, kind, base, {"encoder": (0, 4)})
    torch.testing.assert_close(criterion(model, sample)[0], expected, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(layer_stack, "draw_kept", lambda *_: ())
    assert criterion(model, sample)[2]["distill_hidden"] == 0


def test_regression_learns_the_teachers_numbers(data, tmp_path):
    number = "--num-classes 1 --regression-target"
    teacher = checkpoints.save(tmp_path / "teacher.pt", data, "classification", number)
    more = ["--prune-from", teacher, "--prune-encoder-layers", "keep:1", "--teacher", teacher, *weights(h=0)]
    _, task, model, criterion = start(data, "classification", [*more, *number.split()])
    sample = batch_of(task) | {"target": torch.randn(6, 1)}
    mine, theirs = (logits(one.eval(), sample, "classification") for one in (model, loaded(teacher, task)))
    expected = (1 - W) * (mine - sample["target"]).square().sum() + W * (mine - theirs).square().sum()
    torch.testing.assert_close(criterion(model, sample)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_teacher_follows_the_models_precision(dtype, data, teachers):
    """And the loss is one in single precision."""
    kind = "translation"
    _, task, model, criterion = start(
        data, kind, [*pruned(teachers[kind], kind), "--teacher", teachers[kind], *weights()]
    )
    sample = batch_of(task)
    expected = criterion(model.eval(), sample)[0]
    found = criterion(model.to(dtype), sample)[0]
    assert next(criterion.teacher.model.parameters()).dtype is dtype
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)


@pytest.mark.parametrize("kind", ["masked_lm", "translation"])
def test_data_parallelism_and_activation_checkpointing_change_nothing(kind, data, teachers, tmp_path, monkeypatch):
    """Loss and gradients with torch's DistributedDataParallel, as fairseq wraps it, around recomputed layers."""
    more = [*pruned(teachers[kind], kind), "--teacher", teachers[kind], *weights()]
    _, task, model, criterion = start(data, kind, more)
    sample = batch_of(task)
    expected = criterion(model.eval(), sample)[0]
    expected.backward()
    recomputed = ["--checkpoint-activations"] if kind == "translation" else []  # RoBERTa has no such option
    _, _, again, criterion = start(data, kind, [*more, *recomputed])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which torch replaces
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = ModuleProxyWrapper(DistributedDataParallel(again.eval()))
        found = criterion(wrapped, sample)[0]
        found.backward()
    finally:
        distributed.destroy_process_group()
    torch.testing.assert_close(found, expected)
    for (name, weight), other in zip(model.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(other.grad, weight.grad, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_an_adaptive_softmax_is_compared_by_its_probabilities(data, tmp_path):
    more = "--adaptive-softmax-cutoff 12,30"
    teacher = checkpoints.save(tmp_path / "teacher.pt", data, "language_modeling", more)
    given = ["--prune-from", teacher, "--prune-decoder-layers", "keep:1", "--teacher", teacher, *more.split()]
    given += ["--ddp-backend", "legacy_ddp", *weights(h=0)]
    _, task, model, criterion = start(data, "language_modeling", given, "adaptive_loss")
    sample = batch_of(task)
    target = sample["target"].ne(1)
    probabilities = [
        one.get_normalized_probs(one.eval()(**sample["net_input"]), log_probs=True)[target]
        for one in (model, loaded(teacher, task))
    ]
    mine, theirs = (torch.softmax(one / T, -1) for one in probabilities)
    with torch.no_grad():
        base = criterion(model, sample)[0]
    expected = (1 - W) * base + W * T**2 * (theirs * (theirs.log() - mine.log())).sum()
    torch.testing.assert_close(criterion(model, sample)[0], expected, rtol=1e-5, atol=1e-5)


def test_metrics_are_the_base_criterions_and_two_more(data, teachers):
    kind = "classification"
    _, task, model, criterion = start(
        data, kind, [*pruned(teachers[kind], kind), "--teacher", teachers[kind], *weights()]
    )
    logs = [criterion(model, batch_of(task, size))[2] for size in (2, 4)]
    with metrics.aggregate(new_root=True) as seen:
        type(criterion).reduce_metrics(logs)
    total = sum(log["distill_hidden"] for log in logs).item()
    assert seen.get_smoothed_values()["distill_hidden"] == pytest.approx(total / 6, abs=1e-3)
    assert {"loss", "accuracy", "distill_loss"} <= seen.get_smoothed_values().keys()


def pruned_vocabulary(teacher, data, kind, folder):
    """A child of *teacher* that keeps half its words, and data of these in *folder*; its file and the rows kept."""
    parent, sides = Parent.load(teacher), {"masked_lm": [""], "translation": ["a", "b"]}[kind]
    names = [f"dict.{side}.txt" if side else "dict.txt" for side in sides]
    whole = Dictionary.load(str(data / checkpoints.KINDS[kind][0] / names[0]))
    rows = [*range(4), *range(5, 40, 2), *([len(whole)] if kind == "masked_lm" else [])]  # <mask> is the last
    for name in names:
        kept = Dictionary()
        for row in range(5, 40, 2):
            kept.add_symbol(whole.symbols[row])
        kept.save(str(folder / name))
    for side in sides:
        items = [torch.tensor([*(torch.arange(3 + number) % 18 + 4).tolist(), 2]) for number in range(8)]
        samples.save_dataset(folder / (f"valid.a-b.{side}" if side else "valid"), items, len(kept))
    symbols = [*kept.symbols, "<mask>"] if kind == "masked_lm" else kept.symbols
    of_sides = {"source": tuple(rows)} | ({"target": tuple(rows)} if len(sides) == 2 else {})
    vocabulary = PrunedVocabulary(VocabularyPlan(**of_sides), dict.fromkeys(of_sides, symbols))
    plan = Plan(**{stack: StackPlan(KEPT[stack]) for stack in STACKS[kind]})
    checkpoint.write(prune(parent, plan, vocabulary).state, folder / "child.pt")
    return str(folder / "child.pt"), torch.tensor(rows)


@pytest.mark.parametrize("kind", ["masked_lm", "translation"])
def test_a_child_of_fewer_words_learns_from_the_teachers_rows_of_them(kind, data, teachers, tmp_path):
    """The teacher reads its own numbers of the words, and its probabilities are those of the words that are kept."""
    (tmp_path / checkpoints.KINDS[kind][0]).mkdir()
    child, rows = pruned_vocabulary(teachers[kind], data, kind, tmp_path / checkpoints.KINDS[kind][0])
    more = ["--prune-from", child, "--teacher", teachers[kind], *weights()]
    _, task, model, criterion = start(tmp_path, kind, more)
    _, whole, *_ = start(data, kind, [*pruned(teachers[kind], kind), "--teacher", teachers[kind]])
    sample, teacher = batch_of(task, 4), loaded(teachers[kind], whole)
    with torch.no_grad():
        base = criterion(model.eval(), sample)[0]
        expected = by_hand(model, teacher, sample, kind, base, rows=rows)
    torch.testing.assert_close(criterion(model, sample)[0], expected, rtol=1e-5, atol=1e-5)
    state = checkpoint.read(teachers[kind])
    state["cfg"]["model"]["dictionary_sha256"] = "0" * 64
    checkpoint.write(state, tmp_path / "other.pt")
    with pytest.raises(LayerdropError, match="was trained with another dictionary"):
        start(tmp_path, kind, ["--prune-from", child, "--teacher", str(tmp_path / "other.pt")])


def test_a_teacher_is_an_ancestor_by_its_file_or_by_its_shape(data, tmp_path):
    """A parent that was fine-tuned after the child was cut out of it is known by its shape."""
    path = checkpoints.save(tmp_path / "parent.pt", data, "masked_lm", "--encoder-layers 4")
    checkpoint.write(prune(Parent.load(path), Plan(encoder=StackPlan((0, 1, 3)))).state, tmp_path / "child.pt")
    child = Parent.load(tmp_path / "child.pt")
    grandchild = prune(child, Plan(encoder=StackPlan((1, 2)))).cfg
    words = {"source": child.vocabulary_size()}
    tuned = checkpoints.save(tmp_path / "tuned.pt", data, "masked_lm", "--encoder-layers 4", seed=1)
    for file, kept in ((path, (1, 3)), (tuned, (1, 3)), (tmp_path / "child.pt", (1, 2))):
        assert plan_of_child(Parent.load(file), grandchild["layerdrop"], words).encoder.layers == kept
    other = checkpoints.save(tmp_path / "other.pt", data, "masked_lm", "--encoder-layers 5")
    assert plan_of_child(Parent.load(other), grandchild["layerdrop"], words) is None


REFUSED = {
    "no teacher": ([], "needs --teacher PARENT"),
    "no file": (["--teacher", "nowhere.pt"], "nowhere.pt does not exist"),
    "weight": (["--teacher", "SAME", "--distill-weight", "1.5"], "--distill-weight 1.5 must be between 0 and 1"),
    "temperature": (["--teacher", "SAME", "--distill-temperature", "0"], "must be greater than 0"),
    "hidden": (["--teacher", "SAME", "--distill-hidden", "-1"], "--distill-hidden -1 must be at least 0"),
    "nothing": (["--teacher", "SAME", "--distill-weight", "0"], "learns nothing from the teacher"),
    "task": (["--teacher", "MASKED_LM"], "was trained for the task masked_lm, not for sentence_prediction"),
    "classes": (["--teacher", "CLASSES"], "has 3 classes, and the run 2"),
    "regression": (["--teacher", "REGRESSION"], "predicts numbers, and the run classes"),
    "dictionary": (["--teacher", "DICTIONARY"], "was trained with another dictionary"),
    "width": (["--teacher", "WIDTH", "--distill-hidden", "1"], "is 16 wide, and the model's 8"),
    "layers": (["--teacher", "LAYERS", "--distill-hidden", "1"], "does not say which layers of the teacher"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_teacher_or_an_option_that_does_not_go_with_the_run_is_refused(case, data, teachers, tmp_path):
    words, message = REFUSED[case]
    same = teachers["classification"]
    made = {
        "CLASSES": "--num-classes 3",
        "REGRESSION": "--num-classes 2 --regression-target",
        "DICTIONARY": "",
        "WIDTH": "--encoder-embed-dim 16",
        "LAYERS": "--encoder-layers 3",
    }
    name = words[1] if words else None
    if name in made:
        file = checkpoints.save(tmp_path / "teacher.pt", data, "classification", made[name])
        if case == "dictionary":
            state = checkpoint.read(file)
            state["cfg"]["model"]["dictionary_sha256"] = "0" * 64
            checkpoint.write(state, file)
    else:
        file = {"SAME": same, "MASKED_LM": teachers["masked_lm"]}.get(name, name)
    given = [file if word == name else word for word in words]
    with pytest.raises(LayerdropError, match=message) as error:
        start(data, "classification", [*pruned(same, "classification"), *given])
    assert "\n" not in str(error.value)


def test_another_width_will_do_without_hidden_states(data, teachers, tmp_path):
    file = checkpoints.save(tmp_path / "wide.pt", data, "classification", "--encoder-embed-dim 16")
    same = teachers["classification"]
    _, task, model, criterion = start(data, "classification", [*pruned(same, "classification"), "--teacher", file])
    assert criterion(model, batch_of(task))[2]["distill_loss"] > 0


def test_an_example_longer_than_the_teacher_reads_is_refused(data, teachers, tmp_path):
    short = checkpoints.save(tmp_path / "short.pt", data, "classification", "--max-positions 8")
    same = teachers["classification"]
    _, task, model, criterion = start(data, "classification", [*pruned(same, "classification"), "--teacher", short])
    with pytest.raises(LayerdropError, match="short.pt reads at most 8 tokens, and an example has 1"):
        criterion(model, batch_of(task))


@pytest.mark.parametrize("base", ["head_importance", "pruning_distillation"])
def test_it_wraps_no_wrapper(base, data, teachers):
    same = teachers["classification"]
    with pytest.raises(LayerdropError, match="is a wrapper itself"):
        start(data, "classification", [*pruned(same, "classification"), "--teacher", same], base)
