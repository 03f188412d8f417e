"""Whole files of states that say something impossible: their structure, options and weights."""

import copy
import random
import reprlib

import torch
from bases import HOSTILE_VALUES, Base, nested, saved, shared
from harness import Case


def places(value: object, path: tuple = ()) -> list[tuple]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += places(item, (*path, number))
    return found


def changed(state: dict, path: tuple, value: object) -> dict:
    """A copy of *state* with *value* at *path*; ``...`` removes what is there. Tensors are shared."""
    copied = top = dict(state)
    for key in path[:-1]:
        inner = copy.copy(copied[key])
        copied[key] = inner
        copied = inner
    if value is ...:
        del copied[path[-1]]
    else:
        copied[path[-1]] = value
    return top


def structures(bases: list[Base], rng: random.Random) -> Case:
    """States with values that do not belong there."""
    base = rng.choice(bases)
    rest = {key: value for key, value in base.state.items() if key != "model"}
    path = rng.choice([("model",), *places(rest)])
    value = rng.choice((..., *HOSTILE_VALUES, nested(60), shared(30)))
    state = changed(base.state, path, value)
    return Case("structure of the state", f"{path} = {reprlib.repr(value)[:40]}", saved(state), base.commands(rng))


def options(bases: list[Base], rng: random.Random) -> Case:
    """Configurations of models, tasks and criterions with values that run, resolve or do not fit."""
    more = (
        "encoder_xformers_att_config",
        "decoder_xformers_att_config",
        "adaptive_softmax_cutoff",
        "character_filters",
    )
    base = rng.choice(bases)
    group = rng.choice(("model", "model", "model", "task", "criterion", "common", "layerdrop"))
    own = base.state["cfg"].get(group) or {}
    own = own if isinstance(own, dict) else vars(own)
    name = rng.choice([*own, *(more if group == "model" else ("ancestors", "_name", "user_dir"))])
    value = rng.choice((*HOSTILE_VALUES, shared(25)))
    cfg = base.state["cfg"] | {group: dict(own) | {name: value}}
    wanted = "refuse" if isinstance(value, str) and "env:" in value else "any"  # an option may name another one
    return Case(
        "options",
        f"{group}.{name} = {reprlib.repr(value)[:40]}",
        saved(base.state | {"cfg": cfg}),
        base.commands(rng),
        wanted,
    )


def weights(bases: list[Base], rng: random.Random) -> Case:
    """Weights that are missing, too many, of another shape or type, or not finite."""
    base = rng.choice(bases)
    model = dict(base.state["model"])
    names = [
        n for n, v in model.items() if v.is_floating_point() and v.dim() and ".layers." in n or "embed_tokens" in n
    ]
    name = rng.choice(names)
    value = model[name]
    how = rng.choice(
        (
            "missing",
            "unknown",
            "renamed",
            "wider",
            "flat",
            "int",
            "nan",
            "inf",
            "meta",
            "sparse",
            "quantised",
            "complex",
        )
        + ("expanded", "no tensor")
    )
    if how == "missing":
        del model[name]
    elif how == "unknown":
        model[f"{name}_2"] = value
    elif how == "renamed":
        model[name.replace("e", "E", 1)] = model.pop(name)
    elif how in ("nan", "inf"):
        model[name] = value.clone()
        model[name].view(-1)[rng.randrange(value.numel())] = float(how)
    else:
        model[name] = {
            "wider": lambda: torch.cat([value, value]),
            "flat": lambda: value.flatten()[None],
            "int": lambda: value.to(torch.int32),
            "meta": lambda: value.to("meta"),
            "sparse": value.to_sparse,
            "quantised": lambda: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
            "complex": lambda: value.to(torch.complex64),
            "expanded": lambda: value.flatten()[:1].expand(10**7),
            "no tensor": lambda: rng.choice(HOSTILE_VALUES),
        }[how]()
    command = rng.choice(
        [base.prune, ["load", "parent.pt"], ["layerdrop", "average", "parent.pt", "--out", "child.pt"]]
    )
    return Case("weights", f"{how} {name}", saved(base.state | {"model": model}), command, "refuse")
