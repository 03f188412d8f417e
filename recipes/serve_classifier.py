"""Classes of sentences by what `layerdrop export-onnx` wrote, without fairseq and torch.

    pip install onnxruntime tokenizers numpy
    python serve_classifier.py FOLDER "what a wonderful film"   prints: class, probability, sentence, with tabs between
    python serve_classifier.py FOLDER < sentences.txt           a sentence a line; two with a tab between are a pair
    python serve_classifier.py FOLDER --port 8000               then POST a JSON list of sentences to it

A regression has no classes: its number stands in place of both.
"""

import argparse
import itertools
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

LARGEST = 1 << 20  # bytes of a request


class Classifier:
    """The model in a folder.

    Args:
        folder (Path): as export-onnx writes it.
        threads (int): threads of one operation.
        batch (int): sentences at once.
    """

    def __init__(self, folder, threads=1, batch=32):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))  # it pads and truncates
        labels = folder / "labels.json"
        self.labels = json.loads(labels.read_text(encoding="utf-8")) if labels.is_file() else None
        self.batch = batch

    def __call__(self, sentences):
        """Yield (class, probability) of each of the *sentences*; (number, None) of a regression."""
        left = iter(sentences)
        while batch := list(itertools.islice(left, self.batch)):
            encoded = self.tokenizer.encode_batch([tuple(s.split("\t", 1)) if "\t" in s else s for s in batch])
            inputs = {"input_ids": [e.ids for e in encoded], "attention_mask": [e.attention_mask for e in encoded]}
            logits = self.session.run(None, {name: np.array(value) for name, value in inputs.items()})[0]
            if self.labels is None:
                yield from ((float(row[0]), None) for row in logits)
                continue
            chances = np.exp(logits - logits.max(1, keepdims=True))
            for row in chances / chances.sum(1, keepdims=True):
                yield self.labels[int(row.argmax())], float(row.max())


def serve(classify, port):
    """Answer requests: a JSON list of sentences in, a list of {"class", "probability"} out."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            try:
                sentences = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), LARGEST)))
                if not all(isinstance(sentence, str) for sentence in sentences):
                    raise ValueError("want a JSON list of sentences")
                status, answer = 200, [{"class": name, "probability": p} for name, p in classify(sentences)]
            except (ValueError, TypeError) as error:
                status, answer = 400, {"error": str(error)}
            body = json.dumps(answer, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("sentences", nargs="*", metavar="SENTENCE")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of one operation (default: 1)")
    parser.add_argument("--port", type=int, metavar="N", help="serve on this port of 127.0.0.1 (0: a free one)")
    args = parser.parse_args()
    if not (args.folder / "model.onnx").is_file():
        sys.exit(f"serve_classifier.py: error: {args.folder} has no model.onnx: make it with  layerdrop export-onnx")
    classify = Classifier(args.folder, args.threads)
    if args.port is not None:
        serve(classify, args.port)
        return
    sentences = args.sentences or [line.rstrip("\n") for line in sys.stdin]
    for sentence, (name, chance) in zip(sentences, classify(sentences), strict=True):
        print(f"{name:g}" if chance is None else f"{name}\t{chance:.3f}", sentence, sep="\t")


if __name__ == "__main__":
    main()
