"""The comparisons of strategies that were planned before the results were seen, and their paired tests.

A child's name is (parent, group, strategy, treatment), see strategies.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..evaluation import metrics
from ..evaluation.comparison import compare
from ..evaluation.significance import holm

_CUT, _REARRANGED, _RECONSTRUCTED, _TUNED = "as cut", "rearranged", "reconstructed", "fine-tuned"
TREATMENTS = (_CUT, _REARRANGED, _RECONSTRUCTED, _TUNED)  # what is done to a child, in the table's order
# Comparisons that were chosen before the results were seen: (strategy, treatment) of two children of one parent. The
# beginning of a strategy's name is enough; within one group, but for those of _ACROSS.
_PLANNED = (
    *((("every-other-from-1", treatment), ("even, every-other", treatment)) for treatment in (_CUT, _TUNED)),
    *((("even", treatment), ("first", treatment)) for treatment in (_CUT, _TUNED)),
    (("even", _CUT), ("loss", _CUT)),
    (("even", _CUT), ("contribution", _CUT)),
    (("even", _CUT), ("learned", _CUT)),
    (("even", _CUT), ("even", _RECONSTRUCTED)),
    (("even", _RECONSTRUCTED), ("even", _TUNED)),
    (("heads and FFN units by random", _CUT), ("heads and FFN units by importance", _CUT)),
    (("heads and FFN units by magnitude", _CUT), ("heads and FFN units by importance", _CUT)),
    (("heads and FFN units by importance", _CUT), ("heads and FFN units by importance", _REARRANGED)),
    (("heads and FFN units by importance", _CUT), ("heads and FFN units by importance", _RECONSTRUCTED)),
)
_ACROSS = tuple(
    (("even, every-other", treatment), ("layers, heads and FFN units by --budget", treatment))
    for treatment in (_CUT, _RECONSTRUCTED, _TUNED)
)
_HALF = "half of the FLOPs"


def planned_tests(by_name: Mapping[tuple[str, ...], Sequence[dict]], metric: str) -> list[dict[str, Any]]:
    """The planned comparisons of the children that were evaluated, seed by seed."""
    answers = {
        name: {result["seed"]: metrics.columns(result["answers"]) for result in found if result.get("answers")}
        for name, found in by_name.items()
    }
    tests = []
    for first, second in _pairs(list(by_name)):
        seeds = sorted(answers[first].keys() & answers[second].keys())
        if seeds:
            found = compare(metric, [(answers[first][seed], answers[second][seed]) for seed in seeds])
            sides = {"parent": first[0], "first": list(first[1:]), "second": list(second[1:])}
            tests.append(sides | {"seeds": seeds} | found._asdict())
    for test, corrected in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = corrected
    return tests


def _pairs(names: Sequence[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield the names of the children that are compared."""
    children = [name for name in names if len(name) == 4]
    for parent, group in dict.fromkeys(name[:2] for name in children):
        mine = [name for name in children if name[:2] == (parent, group)]
        for first, second in _PLANNED:
            sides = [_find(mine, *side) for side in (first, second)]
            if all(sides):
                yield sides[0], sides[1]
    for parent in dict.fromkeys(name[0] for name in children):
        for first, second in _ACROSS:
            layers = [name for name in children if name[0] == parent and _keeps_half(name[1])]
            halves = [name for name in children if name[:2] == (parent, _HALF)]
            sides = [_find(layers, *first), _find(halves, *second)]
            if all(sides):
                yield sides[0], sides[1]


def _find(names: Sequence[tuple[str, ...]], strategy: str, treatment: str) -> tuple[str, ...] | None:
    found = (name for name in names if name[2].startswith(strategy) and name[3] == treatment)
    return next(found, None)


def _keeps_half(group: str) -> bool:
    """Whether *group* is "N of 2N layers"."""
    words = group.split()
    return words[1:2] == ["of"] and words[3:] == ["layers"] and 2 * int(words[0]) == int(words[2])
