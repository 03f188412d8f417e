"""The trainings and children of four_layer_bert.sh, one a line: python bert_children.py LAYERS DEPTH...

Each line is NAME TAB FOLDER TAB START TAB LAYERS-SPEC TAB METHOD TAB COST. START is what it begins with: imported,
parent or layerdrop (the parent that was fine-tuned with LayerDrop). METHOD is tuned, distilled, layerdrop (tuned with
it) or cut (not trained at all). COST is the time of its training, in that of one layer.
"""

import argparse

ALL = "all"


def children(layers, depths):
    """Rows (name, folder, start, spec, method, cost).

    Args:
        layers (int): of the imported model.
        depths (list[int]): numbers of layers to cut down to; the one nearest to 4 that is at most half of the layers is
            compared in most ways.
    """
    rows = [
        ("parent", "parent", "imported", ALL, "tuned", layers),
        ("parent with LayerDrop", "layerdrop", "imported", ALL, "layerdrop", layers),
    ]
    compared = min(depths, key=lambda depth: (2 * depth > layers, abs(depth - 4), depth))
    for depth in depths:
        for rule in ("even", "first"):
            rows.append((f"{depth} {rule}", f"{depth}-{rule}", "parent", f"{rule}:{depth}", "tuned", depth))
        if 2 * depth == layers:  # every-other:0.5 is even there; depth counted from 1 keeps the other half
            name = f"{depth} every-other-from-1"
            rows.append((name, name.replace(" ", "-"), "parent", "every-other-from-1:0.5", "tuned", depth))
        if depth == compared:
            rows.append((f"{depth} spread", f"{depth}-spread", "parent", f"spread:{depth}", "tuned", depth))
            rows.append(
                (
                    f"{depth} spread, distilled",
                    f"{depth}-distilled",
                    "parent",
                    f"spread:{depth}",
                    "distilled",
                    depth + layers / 3,
                )
            )
            rows.append(
                (f"{depth} spread of the imported", f"{depth}-imported", "imported", f"spread:{depth}", "tuned", depth)
            )
    for depth in depths:
        rows.append((f"{depth} spread, cut", f"{depth}-cut", "parent", f"spread:{depth}", "cut", 0))
        rows.append(
            (f"{depth} spread, LayerDrop, cut", f"{depth}-layerdrop-cut", "layerdrop", f"spread:{depth}", "cut", 0)
        )
    return rows


def smaller(layers, depths):
    """The *depths* below the model's number of *layers*, descending; SystemExit if there are none."""
    found = sorted({depth for depth in depths if depth < layers}, reverse=True)
    if not found:
        raise SystemExit(f"the model has {layers} layers: name a smaller number of them")
    return found


def main():
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("layers", type=int)
    parser.add_argument("depths", type=int, nargs="+")
    args = parser.parse_args()
    for *row, cost in children(args.layers, smaller(args.layers, args.depths)):
        print(*row, round(cost), sep="\t")


if __name__ == "__main__":
    main()
