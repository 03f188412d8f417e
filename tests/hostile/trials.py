"""The whole of the trials: ``python tests/hostile/trials.py [--cases N] [--seed N] [--jobs N] [--out FILE]``.

Prints how each kind of damaged or hostile file ended, and writes the table as JSON.
"""

import argparse
import json
import logging
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import bases as good  # noqa: E402
import builders  # noqa: E402
import checkpoints  # noqa: E402
import commands  # noqa: E402
import harness  # noqa: E402
import torch  # noqa: E402
from tqdm import tqdm  # noqa: E402

from layerdrop_plugin.provenance import made_with  # noqa: E402

OUT = Path(__file__).parent.parent.parent / "docs" / "hostile" / "hostile.json"


def bases(data: Path, folder: Path) -> list[good.Base]:
    """A good checkpoint of each kind of model, for the data folder *data*; they are written into *folder*."""
    return [
        good.Base(checkpoints.save(folder / f"{kind}.pt", data, kind), kind, data, where)
        for kind, (where, _) in checkpoints.KINDS.items()
    ]


def cases(models: list[good.Base], share: float, seed: int) -> Iterator[harness.Case]:
    """The *share* of the whole, each generator's with a seed of its own."""
    for generator, count in commands.WHOLE.items():
        rng = random.Random(f"{seed} {generator.__name__}")
        yield from generator(models, rng, max(1, round(count * share)))


def trials(data: Path, folder: Path, share: float, seed: int, jobs: int = 1) -> list[harness.Found]:
    """Run that share of the cases in *folder*, *jobs* at a time, and print those that end badly."""
    import fairseq_cli.eval_lm
    import fairseq_cli.generate
    import fairseq_cli.train
    import fairseq_cli.validate  # noqa: F401 (once, before all forks)

    import layerdrop_plugin.averaging  # noqa: F401
    from layerdrop_plugin.cli.main import build_parser
    from layerdrop_plugin.pruning.parent import Parent
    from layerdrop_plugin.pruning.plan import Plan
    from layerdrop_plugin.pruning.prune import prune

    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    try:
        (folder / "bases").mkdir()
        models = bases(data, folder / "bases")
        build_parser()
        for base in models:  # torch imports much when a meta tensor is first used
            prune(Parent.load(base.path), Plan())
        wanted = list(cases(models, share, seed))
        context = multiprocessing.get_context("fork")  # cases cannot be pickled
        answers = context.Queue()
        shares = [list(enumerate(wanted))[job::jobs] for job in range(jobs)]
        workers = [context.Process(target=_run, args=(share, folder, answers)) for share in shares]
        for worker in workers:
            worker.start()
        found = [answers.get() for _ in tqdm(wanted, unit="case", disable=len(wanted) < 100)]
        for worker in workers:
            worker.join()
        return [harness.Found(wanted[number], *ended) for number, *ended in sorted(found)]
    finally:
        logging.disable(logging.NOTSET)


def _run(share: list[tuple[int, harness.Case]], folder: Path, answers: multiprocessing.Queue) -> None:
    """Run the cases of one worker; (number, column, output) of each go into *answers*."""
    for number, case in share:
        found = harness.run(case, folder / f"case{number}")
        if found.column in harness.BAD:
            print(f"{found.column}: {case.kind}: {case.name!r}: {case.command}\n{found.output[-600:]}", flush=True)
        answers.put((number, found.column, found.output[-2000:]))


def main() -> None:
    """Run the trials that the command line asks for; status 1 if one of them ended as none may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=sum(commands.WHOLE.values()), metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="how many at a time")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="JSON file to write")
    args = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "data").mkdir()
        builders.write_data(folder / "data")
        found = trials(folder / "data", folder, args.cases / sum(commands.WHOLE.values()), args.seed, args.jobs)
    rows = harness.table(found)
    rows["together"] = {column: sum(row[column] for row in rows.values()) for column in harness.COLUMNS}
    print(f"{'':28}" + "".join(f"{column:>17}" for column in harness.COLUMNS))
    for kind, row in rows.items():
        print(f"{kind:28}" + "".join(f"{row[column]:17,}" for column in harness.COLUMNS))
    record = {"type": "layerdrop.hostile", "version": 1, "seed": args.seed, "seconds": harness.SECONDS, "rows": rows}
    record |= made_with(None)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=2) + os.linesep, encoding="utf-8")
    print(f"{time.monotonic() - begin:.0f} s; wrote {args.out}")
    sys.exit(any(rows["together"][column] for column in harness.BAD))


if __name__ == "__main__":
    main()
