"""Sentence pairs that the tests of parallel data share."""

SPLITS = ("train", "valid", "test")
WORDS = {
    "es": ("el", "perro", "grande", "come", "pan", "y", "bebe", "agua", "fría", "mañana"),
    "en": ("the", "dog", "large", "eats", "bread", "and", "drinks", "water", "cold", "tomorrow"),
}
PREPARE = "data/prepare_parallel.sh"
LANGUAGES = ["--src-lang", "es", "--tgt-lang", "en"]


def sentence(language, number):
    """Sentences that correspond: different ones for different numbers."""
    return " ".join(WORDS[language][(number // 10**place) % 10] for place in range(4)) + f" {number}"


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def write(path, content):
    path.write_text("".join(f"{line}\n" for line in content), encoding="utf-8")
    return path


def write_pair(folder, name, numbers):
    """Aligned files NAME.es and NAME.en of the sentences with these numbers."""
    return [write(folder / f"{name}.{language}", (sentence(language, i) for i in numbers)) for language in WORDS]
