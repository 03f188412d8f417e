"""Objects that older versions of fairseq pickled become plain values; references are looked up in the file only."""

import os

import numpy as np
import pytest
import torch
from fairseq.dataclass.configs import CommonEvalConfig
from fairseq.logging.meters import AverageMeter
from omegaconf import OmegaConf

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.safe_reading import configurations, references


def loaded(value, path, **how):
    torch.save({"value": value}, path, **how)
    return checkpoint.load(path)["value"]


@pytest.mark.parametrize("archive", [True, False])
def test_omegaconfs_objects_become_plain_ones(tmp_path, archive):
    plain = {"a": {"b": [1, None, {"c": 2.5}]}, "d": "text", "e": "???", "f": True}
    value = (OmegaConf.create(plain), np.float64(1))
    found = loaded(value, tmp_path / "file.pt", _use_new_zipfile_serialization=archive)
    assert found == (plain, 1.0) and type(found[0]) is dict and type(found[0]["a"]["b"]) is list


def test_those_of_fairseqs_own_types_too(tmp_path):
    expected = OmegaConf.to_container(OmegaConf.structured(CommonEvalConfig()))
    assert loaded(OmegaConf.structured(CommonEvalConfig()), tmp_path / "file.pt") == expected


def test_a_meter_becomes_its_numbers(tmp_path):
    meter = AverageMeter()
    meter.update(3.0)
    assert loaded({"loss": meter}, tmp_path / "file.pt")["loss"]["sum"] == 3.0


def test_a_type_among_the_values_is_refused_by_name(tmp_path):
    for value in (CommonEvalConfig, [CommonEvalConfig()]):
        with pytest.raises(LayerdropError, match="holds fairseq.dataclass.configs.CommonEvalConfig, which is not"):
            loaded(value, tmp_path / "file.pt")


def test_more_types_than_a_checkpoint_has_are_refused():
    with pytest.raises(ValueError, match="names 1,001 classes"):
        configurations.stand_ins({f"fairseq.a{number}" for number in range(1001)})


def test_references_are_looked_up_in_the_configuration(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "secret")
    cfg = {
        "common": {"seed": 3, "tpu": "${task.tpu}", "loop": "${common.loop}", "all": "${task}"},
        "task": {"seed": "${common.seed}", "tpu": False, "twice": "${task.seed}", "no": "${model.no}"},
        "model": {"token": "${oc.env:MY_TOKEN}", "text": "a ${common.seed}", "later": "${model.token}"},
    }
    references.resolve(cfg)
    assert cfg["task"] == {"seed": 3, "tpu": False, "twice": 3, "no": "???"}
    assert cfg["common"] == {"seed": 3, "tpu": False, "loop": "???", "all": "???"}
    assert cfg["model"] == {"token": "${oc.env:MY_TOKEN}", "text": "a ${common.seed}", "later": "???"}
    assert os.environ["MY_TOKEN"] not in str(cfg)
