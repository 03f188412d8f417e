"""Checkpoints of very small random models, as fairseq-train would have saved them, for the data that builders write."""

import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

STACK = "--{0}-layers 2 --{0}-embed-dim 8 --{0}-ffn-embed-dim 12 --{0}-attention-heads 2"
ENCODER, DECODER = STACK.format("encoder"), STACK.format("decoder")
ROBERTA = f"--arch layerdrop_roberta --max-positions 40 {ENCODER}"
KINDS = {
    "classification": (
        "nlu",
        f"--task sentence_prediction --criterion sentence_prediction --num-classes 2 --init-token 0 {ROBERTA}",
    ),
    "masked_lm": ("lm", f"--task masked_lm --criterion masked_lm --tokens-per-sample 16 {ROBERTA}"),
    "translation": (
        "nmt",
        "--task translation --criterion label_smoothed_cross_entropy --label-smoothing 0.1 -s a -t b"
        f" --arch layerdrop_transformer --share-all-embeddings {ENCODER} {DECODER}",
    ),
    "language_modeling": (
        "lm",
        "--task language_modeling --criterion cross_entropy --tokens-per-sample 16"
        f" --arch layerdrop_transformer_lm_gpt2_tiny {DECODER}",
    ),
}


def save(path, data, kind: str, more: str = "", seed: int = 0) -> str:
    """Save a model of *kind* for the folder of the fixture ``data``, with *more* options; returns *path*."""
    folder, words = KINDS[kind]
    arguments = [str(data / folder), *words.split(), *more.split()]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))
    torch.manual_seed(seed)
    model = tasks.setup_task(cfg.task).build_model(cfg.model)
    with torch.no_grad():
        for weight in model.parameters():  # as far from each other as those of a trained model
            weight.add_(0.3 * torch.randn_like(weight))
    state = {
        "args": None,
        "cfg": OmegaConf.to_container(cfg, resolve=True, enum_to_str=True),
        "model": model.state_dict(),
        "optimizer_history": [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 1}],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }
    torch.save(state, path)
    return str(path)
