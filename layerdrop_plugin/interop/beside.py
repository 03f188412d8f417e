"""What travels beside an imported checkpoint, in the folder huggingface/: what fairseq cannot hold.

the folder's .json files, vocab.txt, merges.txt, .model   as they were
rest.safetensors   weights that the checkpoint has no place for, the tables of positions and of segments as they
                   were, buffers; by their names without the model's prefix
import.json        rows             fairseq's row of the embeddings -> the folder's, null for a new one
                   names            of the weights in the folder: name without prefix -> name
                   dtype            of the weights in the folder, null if there are several
                   labels           names of the classes, null without a classification head
                   first_position   first row of positions that is used
                   segment_0_in_positions   whether segment 0 was added to the positions
                   new_lm_head      SHA-256 of the LM head that the import had to make, null if there was one
                   tokenizer_sha256 of the tokenizer.json that the import wrote
                   sha256           of the files with the folder's weights
                   versions         of the software
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..errors import LayerdropError
from ..safe_reading.json_file import read_json
from .folder import CONFIG, read_safetensors

BESIDE = "huggingface"
REST, ORIGIN = "rest.safetensors", "import.json"
COPIED = re.compile(r"(?!.*\.index\.json$).*\.(json|model)|vocab\.txt|merges\.txt")  # what goes there as it is


@dataclass(frozen=True)
class Origin:
    """A folder huggingface/ beside a checkpoint.

    Attributes:
        folder: its path.
        config: config.json of the Hugging Face folder.
        rest: see the module's docstring.
        said: import.json.
    """

    folder: Path
    config: dict
    rest: dict[str, Tensor]
    said: dict

    def tokenizer_files(self) -> list[Path]:
        """The Hugging Face folder's own files but for its configuration and weights."""
        ours = {REST, ORIGIN, CONFIG}
        return [path for path in sorted(self.folder.iterdir()) if path.is_file() and path.name not in ours]


def origin_beside(folder: Path) -> Origin | None:
    """What the import left in *folder*; None for a model that was not imported.

    Raises:
        LayerdropError: something of it is missing or cannot be read.
    """
    beside = folder / BESIDE
    if not beside.is_dir():
        return None
    said, config = (read_json(beside / name, "what the import left") for name in (ORIGIN, CONFIG))
    wanted = {"rows": list, "names": dict, "first_position": int}
    if not isinstance(config, dict) or not isinstance(said, dict):
        raise LayerdropError(f"{beside} does not hold what import-hf writes: copy the imported model's own folder")
    wrong = next((name for name, kind in wanted.items() if not isinstance(said.get(name), kind)), None)
    if wrong:
        raise LayerdropError(f"{beside / ORIGIN} has no {wrong}: copy the imported model's own folder")
    return Origin(beside, config, dict(read_safetensors(beside / REST)), said)


def files_beside(folder: Path) -> dict[str, bytes]:
    """Name -> contents of the files that a child of the checkpoint in *folder* has beside it, too."""
    beside = folder / BESIDE
    if not (beside / ORIGIN).is_file():
        return {}
    return {f"{BESIDE}/{path.name}": path.read_bytes() for path in sorted(beside.iterdir()) if path.is_file()}


def tensor_sha256(tensor: Tensor) -> str:
    """SHA-256 of a tensor's values, in hexadecimal."""
    return hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()
