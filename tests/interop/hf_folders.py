"""The Hugging Face folders in references/, what transformers computes with them, and fairseq's interface to imports."""

from pathlib import Path

import numpy as np
from fairseq.models.roberta import RobertaModel

REFERENCES = Path(__file__).parent / "references"
NAMES = sorted(path.name for path in REFERENCES.iterdir() if path.is_dir())


def load(folder, file="checkpoint.pt"):
    """fairseq's hub interface on an imported folder, in evaluation mode."""
    return RobertaModel.from_pretrained(str(folder), file, data_name_or_path=str(folder)).eval()


def expected(name):
    """What transformers computes: ids, masks, hidden states and logits of single sentences and of pairs."""
    return dict(np.load(REFERENCES / f"{name}.npz"))
