"""Load a checkpoint, answer once and print the most memory that the process has held, in bytes; see peak_memory.py.

python benchmarks/answer.py CHECKPOINT VOCABULARY THREADS
"""

import resource
import sys
from argparse import Namespace

import generate
import roberta
import torch
import translation


def main():
    """Answer as a user's process would: features of one sentence and of a batch, or a beam search."""
    path, vocabulary, threads = sys.argv[1], *map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    task, device = translation.make_task(vocabulary), torch.device("cpu")
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        if state["cfg"]["model"]["_name"] == roberta.STOCK:
            features = roberta.features_of(roberta.OURS, state, task, device)
            del state
            for size, length in ((1, 24), (32, 48)):
                features(roberta.make_sentences(task.source_dictionary, size, length, length, 1))
        else:
            model = translation.build(translation.OURS, state["cfg"]["model"], task, state["model"])
            del state
            search = generate.Search(model, task, Namespace(device=device, beam=4, length=25))
            search.hypotheses(*translation.make_batches(task, 32, 32, 1, device, targets=False))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
