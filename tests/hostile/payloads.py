"""Files whose unpickling would run something, or make an object that is not plain data."""

import argparse
import collections
import operator
import os
import random
from collections.abc import Callable
from pathlib import Path

import fairseq.file_utils
import fairseq.meters
import fairseq.utils
import numpy as np
import torch
from bases import Base, saved
from fairseq.dataclass.configs import CommonEvalConfig
from fairseq.logging.meters import AverageMeter
from harness import MARKER, Case
from omegaconf import DictConfig, IntegerNode, ListConfig, OmegaConf


class Payload:
    """Unpickling it calls *function* with *arguments*."""

    def __init__(self, function: Callable, *arguments: object):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def cyclic() -> DictConfig:
    """A configuration that contains itself."""
    config = OmegaConf.create({"a": {"b": 1}})
    config.__dict__["_content"]["a"].__dict__["_content"]["b"] = config
    return config


def payloads(bases: list[Base], rng: random.Random) -> Case:
    """Files whose unpickling would run something."""
    import builtins
    import subprocess

    here = f"open('{MARKER}','w')"
    made = (
        Payload(os.system, f"touch {MARKER}"),
        Payload(builtins.eval, here),
        Payload(builtins.exec, here),
        Payload(builtins.open, MARKER, "w"),
        Payload(subprocess.call, ["touch", MARKER]),
        Payload(os.mkdir, MARKER),
        Payload(os.open, MARKER, os.O_CREAT),
        Payload(builtins.map, os.mkdir, [MARKER]),
        Payload(np.load, MARKER),
        Payload(np.memmap, MARKER, "u1", "w+", 0, (1,)),
        Payload(torch.load, MARKER),
        Payload(torch.hub.load, "a", "b"),
        Payload(np.array, [1, 2]),
        Payload(bytearray, 1 << 40),
        Payload(np.ndarray, (1 << 20,), "O"),
        Payload(np.dtype, "O"),
        Payload(np.dtype, [("a", "O")]),
        Payload(np.dtype, "V8"),
        Payload(fairseq.meters.AverageMeter, "a"),
        Payload(fairseq.utils.import_user_module, argparse.Namespace(user_dir=".")),
        Payload(fairseq.file_utils.load_archive_file, "."),
        Payload(collections.defaultdict, os.mkdir),
        Payload(operator.getitem, [1], 0),
        Payload(type, "A", (), {}),
        Payload(int, "1" * 10**5),
        Payload(str, b"a", "idna"),
        AverageMeter(),
        OmegaConf.create({"a": "${oc.env:MY_TOKEN}", "b": {"c": [1, "${a}"]}}),
        OmegaConf.create(["${oc.env:MY_TOKEN}"]),
        OmegaConf.structured(CommonEvalConfig()),
        IntegerNode(3),
        cyclic(),
        np.array([object], dtype=object),
        np.zeros(2, dtype=[("a", "f8")]),
        np.datetime64("2020-01-01"),
        torch.nn.Linear(2, 2),
        torch.zeros(2, device="meta"),
        torch.zeros(3).to_sparse(),
        torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
        Path("a"),
        range(3),
        print,
    )
    base, payload = rng.choice(bases), rng.choice(made)
    state = dict(base.state)
    where = rng.choice(("cfg", "extra_state", "top", "model", "optimizer_history"))
    if where == "top":
        state["payload"] = payload
    elif where == "optimizer_history":
        state[where] = [state[where][0] | {"payload": payload}]
    else:
        state[where] = dict(state[where]) | {"payload": payload}
    plain = (torch.Tensor, AverageMeter, DictConfig, ListConfig, IntegerNode)  # or made so
    wanted = "any" if isinstance(payload, plain) and where != "model" else "refuse"
    options = {"_use_new_zipfile_serialization": rng.random() < 0.7}
    name = f"{getattr(payload, 'function', type(payload))} in {where}"
    return Case("classes that run something", name, saved(state, **options), base.commands(rng), wanted)
