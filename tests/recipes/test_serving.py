"""Exported models where people serve them: environments of their own, without fairseq, with the engine only."""

import fcntl
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from .conftest import RECIPES

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

import exporting  # noqa: E402
from hf_folders import REFERENCES, expected, load  # noqa: E402
from test_like_transformers import KINDS, tokens_of  # noqa: E402

from layerdrop_plugin.interop import export_hf, export_onnx  # noqa: E402
from layerdrop_plugin.interop.import_hf import import_folder  # noqa: E402

ROOT = RECIPES.parent
LOAD = """
import json, sys
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer
folder, kind, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
tokenizer, model = AutoTokenizer.from_pretrained(folder), globals()[kind].from_pretrained(folder)
inputs = tokenizer(*map(list, zip(*texts)), padding="longest", return_tensors="pt")
output = model.eval()(**inputs)
found = output["logits" if "logits" in output else "last_hidden_state"]
print(json.dumps({"labels": model.config.id2label, "ids": inputs["input_ids"].tolist(), "found": found.tolist()}))
"""


def environment_of(downloads, name, packages, torch=False):
    """The Python of an environment that is kept in *downloads*; with *torch* this one's packages are behind its own."""
    folder = downloads / name
    downloads.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    with open(downloads / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            if torch:
                site = next(path for path in sys.path if path.endswith("site-packages"))
                next(folder.glob("lib/python*/site-packages")).joinpath("beside.pth").write_text(f"{site}\n")
            limits = [] if torch else ["-c", ROOT / "constraints.txt"]
            subprocess.run([python, "-m", "pip", "install", "-q", *limits, *packages], check=True)
            (folder / "done").touch()
    return python


def run(python, *words, text=None):
    """The output of a command of another environment, without this one's paths."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    env |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}
    command = [str(word) for word in (python, *words)]
    done = subprocess.run(command, input=text, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An imported classifier."""
    out = tmp_path_factory.mktemp("imported") / "model"
    import_folder(REFERENCES / "bert_classes", out)
    return out


@pytest.mark.recipe
@pytest.mark.xdist_group("serving")
def test_a_classifier_is_served_without_fairseq_and_torch(model, downloads, tmp_path):
    """The classes that transformers' own numbers say; also over HTTP."""
    python = environment_of(downloads, "serving", ["onnxruntime", "numpy", "tokenizers"])
    missing = (
        "import importlib.util as u; print([u.find_spec(n) is None for n in ('torch', 'fairseq', 'transformers')])"
    )
    assert run(python, "-c", missing).strip() == "[True, True, True]"
    export_onnx.export_folder(model / "checkpoint.pt", tmp_path / "out")
    script, labels = RECIPES / "serve_classifier.py", np.array(["very_bad", "so-so", "good"])
    for kind, texts in KINDS.items():
        logits = expected("bert_classes")[f"{kind}_logits"]
        lines = run(python, script, tmp_path / "out", text="".join("\t".join(parts) + "\n" for parts in texts))
        found = [line.split("\t", 2) for line in lines.splitlines()]
        assert [name for name, _, _ in found] == labels[logits.argmax(1)].tolist()
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        np.testing.assert_allclose([float(chance) for _, chance, _ in found], chances.max(1), atol=2e-3)
    command = [python, script, tmp_path / "out", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url, begun = server.stdout.readline().strip(), time.monotonic()
            body = json.dumps([parts[0] for parts in KINDS["single"]]).encode()
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
                found = json.load(answer)
            assert time.monotonic() >= begun
        finally:
            server.terminate()
    assert [one["class"] for one in found] == labels[expected("bert_classes")["single_logits"].argmax(1)].tolist()


@pytest.mark.recipe
@pytest.mark.xdist_group("serving")
@pytest.mark.parametrize("version", ["==4.57.*", ">=5"])
def test_transformers_loads_what_is_exported(model, downloads, tmp_path, version):
    """A padded child and, with its own classes, the child of an LM whose folder names no tokenizer class of its own."""
    name = "transformers" + "".join(letter for letter in version if letter.isdigit())
    python = environment_of(downloads, name, [f"transformers{version}"], torch=True)
    child = exporting.child_of(model, exporting.UNEVEN, tmp_path / "child")
    export_hf.export_folder(child / "checkpoint.pt", tmp_path / "hf")
    for kind, texts in KINDS.items():
        words = (tmp_path / "hf", "AutoModelForSequenceClassification", json.dumps(texts))
        found = json.loads(run(python, "-c", LOAD, *words))
        assert list(found["labels"].values()) == ["very bad", "so-so", "good"]
        hub = load(child)
        scores = hub.predict("sentence_classification_head", tokens_of(hub, texts), return_logits=True)
        np.testing.assert_allclose(found["found"], scores.detach().numpy(), atol=1e-5)
        assert found["ids"] == expected("bert_classes")[f"{kind}_ids"].tolist()
    import_folder(REFERENCES / "xlm_roberta", tmp_path / "lm")
    (tmp_path / "lm" / "huggingface" / "tokenizer.json").unlink()
    state = json.loads((tmp_path / "lm" / "huggingface" / "import.json").read_text())
    state["tokenizer_sha256"] = None  # as after a change of the vocabulary: files of our own
    (tmp_path / "lm" / "huggingface" / "import.json").write_text(json.dumps(state))
    export_hf.export_folder(tmp_path / "lm" / "checkpoint.pt", tmp_path / "lm-hf")
    texts = KINDS["single"]
    found = json.loads(run(python, "-c", LOAD, tmp_path / "lm-hf", "AutoModelForMaskedLM", json.dumps(texts)))
    mask = expected("xlm_roberta")["single_mask"].astype(bool)
    np.testing.assert_allclose(
        np.array(found["found"])[mask], expected("xlm_roberta")["single_logits"][mask], atol=1e-5
    )
