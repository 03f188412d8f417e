"""Changes to what in fairseq only reads models: there this plugin's models are prepared for inference."""

import contextlib
from collections.abc import Iterator

from .replace import replaces


def patch_validation() -> None:
    """Let fairseq-validate prepare its models for inference, as fairseq-generate and -eval-lm do.

    Can be removed when fairseq-validate calls ``prepare_for_inference_``.
    """
    from fairseq_cli import validate

    @replaces(validate, "main")
    def main(original, *args, **kwargs):
        with _only_read():
            return original(*args, **kwargs)


@contextlib.contextmanager
def _only_read() -> Iterator[None]:
    """Prepare models that are loaded in this block for inference."""
    from fairseq import checkpoint_utils

    load = checkpoint_utils.load_model_ensemble_and_task

    @replaces(checkpoint_utils, "load_model_ensemble_and_task")
    def load_model_ensemble_and_task(original, *args, **kwargs):
        models, *others = original(*args, **kwargs)
        for model in models:
            _prepare(model.eval())
        return models, *others

    try:
        yield
    finally:
        checkpoint_utils.load_model_ensemble_and_task = load


def patch_roberta_hub() -> None:
    """Let RoBERTa's hub interface prepare its model for inference where it is asked without gradients.

    That is in ``fill_mask``, and in ``extract_features`` and ``predict`` under ``torch.no_grad()``; training it goes on
    as before. Can be removed when fairseq's interface calls ``prepare_for_inference_`` there.
    """
    import torch
    from fairseq.models.roberta import RobertaHubInterface

    @replaces(RobertaHubInterface, "extract_features")
    def extract_features(original, self, *args, **kwargs):
        if not self.model.training and not torch.is_grad_enabled():
            _prepare(self.model)
        return original(self, *args, **kwargs)

    @replaces(RobertaHubInterface, "fill_mask")
    def fill_mask(original, self, *args, **kwargs):
        with torch.no_grad():  # it returns words and numbers
            if not self.model.training:
                _prepare(self.model)
            return original(self, *args, **kwargs)


def _prepare(model) -> None:
    """Pack the weights of a *model* of this plugin; stock models stay as they are."""
    from ..modules.inference import ReadyForInference, optimize_for_inference

    if isinstance(model, ReadyForInference):
        optimize_for_inference(model, model.inference_dtype)
