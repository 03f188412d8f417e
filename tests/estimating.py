"""Runs with ``--criterion head_importance`` within the tests' process."""

import one_by_one
from fairseq import criterions
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY
from fairseq.logging import metrics
from omegaconf import OmegaConf


def root_of(data, folder, **options):
    """The configuration of a run with ``--criterion head_importance`` and further options of that."""
    known = CRITERION_DATACLASS_REGISTRY["head_importance"]()
    return OmegaConf.create(
        one_by_one.ROOT
        | {
            "checkpoint": {
                "save_dir": str(folder),
                "restore_file": "checkpoint_last.pt",
                "checkpoint_suffix": "",
                "finetune_from_model": None,
            },
            "common": {"tpu": False, "log_interval": 2, "seed": 1},
            "dataset": {"train_subset": "train"},
            "distributed_training": {"distributed_rank": 0, "ddp_backend": "pytorch_ddp"},
            "criterion": OmegaConf.to_container(OmegaConf.structured(known), enum_to_str=True)
            | {"_name": "head_importance"}
            | options,
            "task": {"data": str(data / "lm")},
        }
    )


def build(root):
    task = one_by_one.Task()
    task.cfg = root.task
    return criterions.build_criterion(root.criterion, task)


def update(criterion, model, samples, factor=1.0, succeeds=True):
    """What fairseq's trainer does with *samples* in one update."""
    logs = []
    criterion.train()
    for sample in samples:
        loss, _, log = criterion(model, sample)
        (loss * factor).backward()
        logs.append(log)
    if succeeds:
        with metrics.aggregate(new_root=True) as seen:
            type(criterion).reduce_metrics(logs)
        return seen.get_smoothed_values()
    return None
