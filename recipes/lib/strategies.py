"""The strategies of compare_strategies.sh, one a line: python strategies.py LAYERS PARENT DEPTH...

Each line is GROUP TAB STRATEGY TAB COST TAB TREATMENTS TAB OPTIONS. A group is compared in one panel of the page. COST
is the time of a fine-tuning, in that of one layer. TREATMENTS, with commas between them, are what is done to the child.
OPTIONS are those of `layerdrop prune`, with spaces between them; @ stands for the folder with the parent's scores, %
for the data.
"""

import argparse

from bert_children import smaller

METHODS = ("importance", "fisher", "magnitude", "random")
TREATMENTS = "as cut,reconstructed,fine-tuned"
HALF = "half of the FLOPs"
PARENTS = ("parent", "layerdrop", "learned")


def layer_rules(layers, depth):
    """Rows (strategy, rule) that keep *depth* of *layers*; the readings of every-other where they keep as many."""
    readings = layers % depth == 0  # even and every-other are then the same
    rows = [("even, every-other" if readings else "even", f"even:{depth}")]
    if readings:
        rows.append(("every-other-from-1", f"every-other-from-1:{layers - depth}/{layers}"))
    rows += [(name, f"{name}:{depth}") for name in ("spread", "first", "last", "outer")]
    return rows + [(name, f"{name}:@{name}.json:{depth}") for name in ("contribution", "loss")]


def strategies(layers, parent, depths):
    """Rows (group, strategy, cost, treatments, options) for a *parent* of PARENTS.

    The parent with learned rates is compared by its own rule and evenly spaced layers alone.
    """
    rows = []
    for depth in depths:
        group, rules = f"{depth} of {layers} layers", layer_rules(layers, depth)
        if parent == "learned":
            rules = [rules[0], ("learned", f"learned:{depth}")]
        rows += [(group, name, depth, TREATMENTS, f"--layers {rule}") for name, rule in rules]
    if parent == "learned":
        return rows
    for method in METHODS:
        treatments = "as cut,rearranged,reconstructed" + ",fine-tuned" * (method == "importance")
        options = f"--heads @{method}.json:0.5 --ffn @{method}.json:0.5"
        rows.append((HALF, f"heads and FFN units by {method}", layers / 2, treatments, options))
    budget = "--budget flops:0.5 --budget-scores @importance.json --budget-layer-scores @loss.json --budget-data %"
    return [*rows, (HALF, "layers, heads and FFN units by --budget", layers / 2, TREATMENTS, budget)]


def main():
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("layers", type=int)
    parser.add_argument("parent", choices=PARENTS)
    parser.add_argument("depths", type=int, nargs="+")
    args = parser.parse_args()
    depths = smaller(args.layers, args.depths)
    for group, strategy, cost, *rest in strategies(args.layers, args.parent, depths):
        print(group, strategy, max(1, round(cost)), *rest, sep="\t")


if __name__ == "__main__":
    main()
