"""CTranslate2's beam search with a child's weights, on the batches that fairseq's collater makes."""

import importlib.util
import tempfile

import side_by_side
import torch
from fairseq import utils

from layerdrop_plugin.interop.ct2_spec import specification
from layerdrop_plugin.pruning.parent import Parent

TYPES = ("float32", "int8")


def installed():
    """Whether CTranslate2 is there."""
    return importlib.util.find_spec("ctranslate2") is not None


class Ct2Search:
    """A model in CTranslate2 on the CPU that writes `--length` words for every sentence.

    Args:
        model (BaseFairseqModel): the model, which is used up.
        child (dict): its checkpoint.
        task (TranslationTask): with its dictionary.
        args (argparse.Namespace): the benchmark's options.
        quantization (str): one of TYPES.
    """

    def __init__(self, model, child, task, args, quantization):
        import ctranslate2

        dictionaries = (task.source_dictionary, task.target_dictionary)
        spec = specification(Parent(child), model.cpu().eval(), dictionaries)
        spec.optimize(quantization=quantization)
        with tempfile.TemporaryDirectory() as folder:
            spec.save(folder)
            self._translator = ctranslate2.Translator(folder, device="cpu", intra_threads=args.threads)
        self._words, self._beam, self._length = task.source_dictionary, args.beam, args.length

    def best(self, batch):
        """The words of the best hypothesis of every sentence of *batch*; that of the last step is cut off."""
        return [result.hypotheses[0][: self._length] for result in self._translate(self._sentences(batch))]

    def seconds(self, batch):
        """Seconds that *batch* takes."""
        sentences = self._sentences(batch)
        start = side_by_side.now(torch.device("cpu"))
        self._translate(sentences)
        return side_by_side.now(torch.device("cpu")) - start

    def _translate(self, sentences):
        # As many steps as fairseq's, whose last one writes the end mark.
        return self._translator.translate_batch(
            sentences,
            beam_size=self._beam,
            min_decoding_length=self._length,
            max_decoding_length=self._length + 1,
            max_input_length=0,
            return_end_token=True,
        )

    def _sentences(self, batch):
        rows = batch["net_input"]["src_tokens"]
        return [[self._words[word] for word in utils.strip_pad(row, self._words.pad())[:-1].tolist()] for row in rows]
