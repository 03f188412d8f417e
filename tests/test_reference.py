"""docs/reference.md says what the parsers, the registries and the rules say."""

import argparse
import importlib.util
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.models import ARCH_CONFIG_REGISTRY, MODEL_REGISTRY
from fairseq.tasks import TASK_REGISTRY

from layerdrop_plugin.cli.main import COMMANDS, build_parser
from layerdrop_plugin.pruning.layer_rules import RULES
from layerdrop_plugin.pruning.plan import Plan
from layerdrop_plugin.pruning.scores import Scores

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference.md"


def options_of(kind):
    """The names of the options that a class of fairseq's registries adds."""
    parser = argparse.ArgumentParser(add_help=False)
    kind.add_args(parser)
    return {name for action in parser._actions for name in action.option_strings}


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_script_would_write(page):
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "docs" / "write_reference.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.rewrite(page) == page, "run  python docs/write_reference.py"
    assert all(f"<!-- {name} -->" in page for name in script.BLOCKS)


def test_every_subcommand_has_its_section_and_every_option_its_row(page):
    sections = dict(re.findall(r"^### layerdrop (\S+)\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL))
    subparsers = next(action for action in build_parser()._actions if action.dest == "command")
    choices = subparsers._choices_actions  # those that `layerdrop --help` lists
    shown = [action.dest for action in choices if action.help != argparse.SUPPRESS]
    assert list(sections) == [name for name in COMMANDS if name in shown]
    for name, section in sections.items():
        told = [action for action in subparsers.choices[name]._actions if action.help != argparse.SUPPRESS]
        options = {option for action in told for option in action.option_strings}
        assert options <= set(re.findall(r"--?[a-z0-9-]+", section)) | {"-h", "--help"}


def test_every_name_and_option_for_fairseq_is_there(page):
    names = [name for name in ARCH_CONFIG_REGISTRY if name.startswith("layerdrop_")]
    names += [name for name in TASK_REGISTRY if name.startswith("pruning_")]
    assert names
    for name in names:
        assert f"| `{name}` |" in page
    ours = ("head_importance", "pruning_distillation")
    added = set().union(*(options_of(CRITERION_REGISTRY[name]) for name in ours))
    for registry, prefix in ((MODEL_REGISTRY, "layerdrop_"), (TASK_REGISTRY, "pruning_")):
        for name in registry:
            if name.startswith(prefix):
                added |= options_of(registry[name]) - options_of(registry[name.removeprefix(prefix)])
    assert {"--encoder-headdrop", "--prune-from", "--base-criterion", "--teacher"} <= added
    for option in added:
        assert re.search(rf"\| `{option}[ `]", page), option


def test_every_rule_is_there(page):
    for name in RULES:
        assert f"| `{name}:" in page


def test_the_files_are_as_described(page):
    plans = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    assert [Plan.from_dict(plan).to_dict() for plan in plans] == plans
    assert len(plans) == 2
    described = page.split("### importance.json")[1].split("###")[0]
    assert {field.name for field in fields(Scores)} <= set(re.findall(r"`(\w+)`", described))


def test_every_recipe_is_there(page):
    for folder in ("recipes", "recipes/data"):
        for file in (ROOT / folder).glob("*.sh"):
            assert f"| `{file.relative_to(ROOT)}` |" in page
