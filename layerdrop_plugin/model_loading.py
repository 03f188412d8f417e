"""The model in a checkpoint and its task, as fairseq loads them; its errors become one line."""

import os
from typing import TYPE_CHECKING, Any

from .errors import LayerdropError, first_line
from .provenance import quiet

if TYPE_CHECKING:
    from fairseq.models import BaseFairseqModel
    from fairseq.tasks import FairseqTask


def load_model(
    path: str | os.PathLike, data: str | os.PathLike, **options: Any
) -> tuple["BaseFairseqModel", "FairseqTask"]:
    """Load the model in the checkpoint *path*, and its task.

    Args:
        path: path of the checkpoint.
        data: path of the data folder that the task reads.
        options: further arguments of fairseq's ``load_model_ensemble_and_task``: ``state``, which is used in place of
            the file's contents and must name the data folder itself, and ``task``, which is not set up then.

    Raises:
        LayerdropError: it cannot be loaded with the data folder.
    """
    from fairseq import checkpoint_utils

    overrides = None if "state" in options else {"data": str(data)}
    try:
        with quiet():
            (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(path)], overrides, **options)
    except LayerdropError:
        raise
    except Exception as error:  # fairseq raises many types: for a wrong dictionary, a missing file, ...
        raise LayerdropError(f"cannot load {path} with the data in {data}: {first_line(error)}") from error
    return model, task
