"""Serve a translator over HTTP, or translate lines: CTranslate2 and SentencePiece only, neither fairseq nor PyTorch.

  pip install ctranslate2 sentencepiece
  python serve_translator.py FOLDER [--port 8000]          then:  curl --data 'Save the file.' localhost:8000
  python serve_translator.py FOLDER < sentences.txt        a translation a line

FOLDER is what  layerdrop export-ct2  wrote.
"""

import argparse
import contextlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MOST_BYTES = 1 << 20  # of a request


class Translator:
    """The model in a folder, and its SentencePiece model.

    Args:
        folder (str): the folder.
        beam (int): beam size.
        threads (int): threads of a translation.
    """

    def __init__(self, folder, beam=4, threads=2):
        import ctranslate2
        import sentencepiece

        self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(Path(folder, "sentencepiece.bpe.model")))
        self._model = ctranslate2.Translator(str(folder), device="cpu", intra_threads=threads)
        longest = json.loads(Path(folder, "layerdrop.json").read_text(encoding="utf-8"))["longest"]
        self._beam, self._longest_source, self._longest_target = beam, *longest

    def __call__(self, sentences):
        """The translations (list[str]) of sentences (list[str])."""
        pieces = self._pieces.encode(sentences, out_type=str)
        longest = min(max(map(len, pieces), default=0), self._longest_source)
        # As fairseq ranks and limits hypotheses in this project's recipes: the end mark counts as a word.
        found = self._model.translate_batch(
            pieces,
            beam_size=self._beam,
            length_penalty=1,
            return_end_token=True,
            max_decoding_length=min(int(1.2 * (longest + 1) + 10) + 1, self._longest_target),
            max_input_length=self._longest_source,  # what is longer is cut off
            max_batch_size=32,
        )
        # The last piece is the end mark, or one too many where the limit was reached.
        return [self._pieces.decode(result.hypotheses[0][:-1]) for result in found]


def handler(translate):
    """The class of a server's requests: POST of a sentence a line gives a translation a line."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers.get("Content-Length") or 0)
            if length > MOST_BYTES:
                self.send_error(413)
                return
            lines = self.rfile.read(length).decode("utf-8", "replace").splitlines()
            body = "".join(f"{line}\n" for line in translate(lines)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", help="folder of  layerdrop export-ct2")
    parser.add_argument("--port", type=int, metavar="N", help="serve on this port of this machine; 0: any that is free")
    parser.add_argument("--beam", type=int, default=4, metavar="N", help="beam size (default: 4)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of a translation (default: 2)")
    args = parser.parse_args()
    for name in ("model.bin", "layerdrop.json", "sentencepiece.bpe.model"):
        if not Path(args.folder, name).is_file():
            sys.exit(f"serve_translator.py: error: {args.folder} has no {name}: name a folder of  layerdrop export-ct2")
    try:
        translate = Translator(args.folder, args.beam, args.threads)
    except ModuleNotFoundError as error:
        sys.exit(f"serve_translator.py: error: {error.name} is not installed: pip install ctranslate2 sentencepiece")
    if args.port is None:
        for line in sys.stdin:
            print(*translate([line.strip()]), flush=True)
        return
    with ThreadingHTTPServer(("127.0.0.1", args.port), handler(translate)) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
