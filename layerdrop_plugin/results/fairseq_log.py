"""Read the captured output of fairseq-validate and fairseq-generate, and check that it is complete."""

import json
import math
import os
import re

from ..errors import LayerdropError

_FLAT_JSON = re.compile(r"\{[^{}]*\}")
_MODEL = re.compile(r"loading model\(s\) from (.+)$")


class FairseqLog:
    """The captured output of one run of fairseq-validate or fairseq-generate.

    Args:
        path: path of the text file.

    Attributes:
        path: as given.
        lines: lines of the file, without line breaks.

    Raises:
        LayerdropError: the file cannot be read.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                self.lines = file.read().split("\n")  # splitlines would break sentences at Unicode's line separators
        except OSError as error:
            raise LayerdropError(f"cannot read {path}: {error.strerror}") from error

    def refuse_other_checkpoint(self, checkpoint: str | os.PathLike) -> None:
        """Raise LayerdropError if the output names another checkpoint than *checkpoint*.

        Nothing is raised if the output names none, or one of the two files does not exist any more.
        """
        for evaluated in (match.group(1) for match in map(_MODEL.search, self.lines) if match):
            # If one of the files was moved since, they cannot be compared.
            known = os.path.exists(evaluated) and os.path.exists(checkpoint)
            if known and not os.path.samefile(evaluated, checkpoint):
                raise LayerdropError(f"{self.path} evaluated {evaluated}, not {checkpoint}")

    def results(self, split: str) -> dict[str, str]:
        """The results of *split* in fairseq's JSON lines, the last ones if there are several.

        Returns:
            name, without the split's prefix -> value as text.

        Raises:
            LayerdropError: there are no results of *split*.
        """
        found = None
        for text in (match for line in self.lines for match in _FLAT_JSON.findall(line)):
            try:
                values = json.loads(text)
            except ValueError:  # a logged Python dictionary, not fairseq's JSON
                continue
            if {f"{split}_loss", f"{split}_bsz"} <= values.keys():
                found = values
        if found is None:
            raise LayerdropError(
                f"{self.path} has no results for the split '{split}': did fairseq-validate finish, "
                "with --log-format json?"
            )
        return {name.removeprefix(f"{split}_"): value for name, value in found.items()}

    def results_of_all(self, split: str, examples: int) -> dict[str, str]:
        """As :meth:`results`, but check that all of the split's *examples* were evaluated.

        fairseq reports the number of evaluated examples as `bsz`.

        Raises:
            LayerdropError: there are no results of *split*, or examples were left out.
        """
        found = self.results(split)
        if found["bsz"] != f"{examples:g}":  # as fairseq prints it
            raise LayerdropError(
                f"{self.path} has results for {found['bsz']} of the {examples} examples of '{split}': "
                "some were left out; run fairseq-validate with --required-batch-size-multiple 1"
            )
        return found

    def number(self, results: dict[str, str], name: str) -> float:
        """The value of *name* in *results* as a number.

        Raises:
            LayerdropError: it is infinite or nan.
        """
        value = float(results[name])
        if not math.isfinite(value):
            raise LayerdropError(
                f"{self.path} reports {name} = {results[name]}: the model diverged or answers everything alike"
            )
        return value
