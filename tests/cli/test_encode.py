from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "interop" / "references" / "bert"


def test_text_becomes_the_pieces_of_the_dictionary(layerdrop, tmp_path):
    (tmp_path / "text").write_text("The service!\n这家店\u3000[SEP]\n", encoding="utf-8")
    status, output, _ = layerdrop("encode", REFERENCE, tmp_path / "text")
    assert (status, output) == (0, "2 lines: text.pieces\n")
    assert (tmp_path / "text.pieces").read_text(encoding="utf-8") == "the serv ##ice !\n这 家 店 </s>\n"


def test_what_cannot_be_encoded_is_refused(layerdrop, tmp_path):
    """Naming the line; nothing is written."""
    text = tmp_path / "text"
    for content, message in (
        ("good\n\u0301\n".encode(), "text, line 2: nothing is left of it after tokenization"),
        (b"good\n\xff\n", "cannot be read as UTF-8 text"),
    ):
        text.write_bytes(content)
        status, _, error = layerdrop("encode", REFERENCE, text)
        assert status == 1
        assert message in error
    status, _, error = layerdrop("encode", tmp_path, text)
    assert "tokenizer.json does not exist" in error
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
