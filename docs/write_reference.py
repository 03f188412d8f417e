"""Write the parts of docs/reference.md that the code knows: python docs/write_reference.py [--check]

What stands between <!-- NAME --> and <!-- end --> is made from the parsers, the registries, the pruning rules and the
recipes' own help, so that it says what they say; the rest of the page is written by hand. tests/test_reference.py fails
when the file is not what this script would write.
"""

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a checkout need not be installed

from fairseq.criterions import CRITERION_REGISTRY  # noqa: E402
from fairseq.models import (  # noqa: E402
    ARCH_CONFIG_REGISTRY,
    ARCH_MODEL_NAME_REGISTRY,
    MODEL_DATACLASS_REGISTRY,
    MODEL_REGISTRY,
)
from fairseq.tasks import TASK_REGISTRY  # noqa: E402

from layerdrop_plugin.cli.main import COMMANDS, build_parser  # noqa: E402
from layerdrop_plugin.fairseq_patches import PATCHES  # noqa: E402
from layerdrop_plugin.pruning import layer_scores  # noqa: E402
from layerdrop_plugin.pruning.layer_rules import RULES, RULES_BY_RATES  # noqa: E402

PAGE = ROOT / "docs" / "reference.md"
BLOCK = re.compile(r"(<!-- (?!end -->)([^\n]*?) -->\n).*?(<!-- end -->)", re.DOTALL)
ARCHITECTURE = "layerdrop_"  # what the names of our models and architectures begin with
CRITERIONS = ("head_importance", "pruning_distillation")
TASK = "pruning_"  # what our tasks' names begin with, before the name of fairseq's task


def rewrite(page: str) -> str:
    """*page* with everything between its markers made anew.

    Raises:
        SystemExit: a marker that nothing belongs to.
    """

    def block(match: re.Match) -> str:
        if match[2] not in BLOCKS:
            sys.exit(f"{PAGE.name}: <!-- {match[2]} --> is not one of {', '.join(BLOCKS)}")
        return f"{match[1]}\n{BLOCKS[match[2]]()}\n\n{match[3]}"

    return BLOCK.sub(block, page)


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *cells])


def commands() -> str:
    """A section for each subcommand of ``layerdrop``: its description and its options."""
    subparsers = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    listed = {action.dest for action in subparsers._choices_actions if action.help != argparse.SUPPRESS}
    shown = [name for name in COMMANDS if name in listed]  # without old names that still work
    return "\n\n".join(_command(name, subparsers.choices[name]) for name in shown)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    rows = [
        option_row(action) for action in parser._actions if action.dest != "help" and action.help != argparse.SUPPRESS
    ]
    described = [f"### layerdrop {name}", _description(parser.description)]
    return "\n\n".join([*described, table(["option", "meaning"], rows)] if rows else described)


def _description(text: str) -> str:
    """A help's description as Markdown: paragraphs with aligned columns are code, as the terminal shows them."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        aligned = re.search(r"\S {2,}\S|^ {2}", paragraph, re.MULTILINE)
        paragraphs.append(f"```text\n{textwrap.dedent(paragraph)}\n```" if aligned else paragraph)
    return "\n\n".join(paragraphs).replace("\n```\n\n```text\n", "\n\n")


def option_row(action: argparse.Action) -> list[str]:
    """``[option, meaning]`` of an argument, as its help has them."""
    value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest)
    if not action.option_strings:
        return [f"`{value}`", _meaning(action)]
    if action.nargs == 0:
        value = ""
    elif not action.metavar and not action.choices:
        value = value.upper()
    return [" or ".join(f"`{f'{name} {value}'.strip()}`" for name in action.option_strings), _meaning(action)]


def _meaning(action: argparse.Action) -> str:
    text = argparse.HelpFormatter("")._expand_help(action) if action.help else ""
    required = "required" if action.option_strings and action.required else ""
    said = "default" in text or action.nargs == 0 or action.default in (None, [], argparse.SUPPRESS)
    default = "" if said else f"default: {getattr(action.default, 'value', action.default)}"
    return "; ".join(part for part in (text, required, default) if part)


def architectures() -> str:
    """Every ``--arch`` of ours, with the shape that it stands for."""
    rows = []
    for name in ARCH_CONFIG_REGISTRY:
        if name.startswith(ARCHITECTURE):
            shape = _shape(name)
            stock = ARCH_MODEL_NAME_REGISTRY[name].removeprefix(ARCHITECTURE)
            rows.append([f"`{name}`", f"`{stock}`", *(_stack(shape, stack) for stack in ("encoder", "decoder"))])
    return table(["`--arch`", "fairseq's model", "encoder", "decoder"], rows)


def _shape(name: str) -> dict:
    """The options that an architecture sets, with its model's defaults for those that it leaves alone."""
    chosen = argparse.Namespace(decoder_layerdrop=0.0)
    ARCH_CONFIG_REGISTRY[name](chosen)
    defaults = MODEL_DATACLASS_REGISTRY.get(ARCH_MODEL_NAME_REGISTRY[name])
    return (vars(defaults()) if defaults else {}) | vars(chosen)


def _stack(shape: dict, stack: str) -> str:
    if f"{stack}_layers" not in shape:
        return ""
    layers, width, units, heads = (
        shape[f"{stack}_{option}"] for option in ("layers", "embed_dim", "ffn_embed_dim", "attention_heads")
    )
    return f"{layers} layers x {width}, FFN {units}, {heads} head{'s' * (heads > 1)}"


def architecture_options() -> str:
    """What our architectures add to fairseq's options."""
    ours = [name for name in MODEL_REGISTRY if name.startswith(ARCHITECTURE)]
    added = {
        name.removeprefix(ARCHITECTURE): _added(MODEL_REGISTRY[name], MODEL_REGISTRY[name.removeprefix(ARCHITECTURE)])
        for name in ours
    }
    return _options_of("models", added)


def task_options() -> str:
    """What our tasks add to the options of the tasks that they are named after."""
    ours = [name for name in TASK_REGISTRY if name.startswith(TASK)]
    added = {name: _added(TASK_REGISTRY[name], TASK_REGISTRY[name.removeprefix(TASK)]) for name in ours}
    return _options_of("tasks", added)


def criterion_options(name: str) -> str:
    """The options of ``--criterion`` *name*."""
    return table(["option", "meaning"], [option_row(action) for action in _arguments(CRITERION_REGISTRY[name])])


def _arguments(kind) -> list[argparse.Action]:
    """The options that a registered class adds to fairseq's command line."""
    parser = argparse.ArgumentParser(add_help=False)
    kind.add_args(parser)
    return [action for action in parser._actions if action.option_strings and action.help != argparse.SUPPRESS]


def _added(ours, stock) -> list[argparse.Action]:
    known = {name for action in _arguments(stock) for name in action.option_strings}
    return [action for action in _arguments(ours) if not known & set(action.option_strings)]


def _options_of(column: str, added: dict[str, list[argparse.Action]]) -> str:
    """A table of all options, with the names (of models or tasks) that have each one."""
    actions, having = {}, {}
    for name, found in added.items():
        for action in found:
            option = action.option_strings[0]
            actions.setdefault(option, action)
            having.setdefault(option, []).append(name)
    rows = []
    for option, action in actions.items():
        names = "all" if len(having[option]) == len(added) else ", ".join(f"`{name}`" for name in having[option])
        rows.append([*option_row(action), names])
    return table(["option", "meaning", column], rows)


def tasks() -> str:
    """Every ``--task`` of ours."""
    names = [name for name in TASK_REGISTRY if name.startswith(TASK)]
    return table(["`--task`", ""], [[f"`{name}`", inspect.getdoc(TASK_REGISTRY[name])] for name in names])


def rules() -> str:
    """Every rule for layers, with the layers that it keeps of twelve."""
    rows = []
    for name, rule in RULES.items():
        kept = ", ".join(map(str, rule(12, _example(name))))
        rows.append(_rule_row(name, rule, kept))
    rows += [_rule_row(name, rule, "those with the lowest rates") for name, rule in RULES_BY_RATES.items()]
    for line in inspect.getdoc(layer_scores).split("\n\n")[1].splitlines():
        form, meaning = re.split(r" {2,}", line.strip())
        rows.append([f"`{form}`", f"{meaning[0].upper()}{meaning[1:]}.", ""])
    return table(["rule, for example", "what it does", "layers kept of 12"], rows)


def _rule_row(name: str, rule: Callable, kept: str) -> list[str]:
    return [f"`{name}:{_example(name)}`", " ".join(inspect.getdoc(rule).replace("``", "`").split()), kept]


def _example(name: str) -> str:
    if name == "keep":
        return "0,4,7,11"
    return "0.5" if name.startswith("every-other") else "4"


def recipes() -> str:
    """Every recipe with the purpose that its help begins with."""
    files = [*sorted(ROOT.glob("recipes/*.sh")), *sorted(ROOT.glob("recipes/data/*.sh"))]
    return table(["recipe", "purpose"], [[f"`{file.relative_to(ROOT)}`", purpose(file)] for file in files])


def presets() -> str:
    """Every preset with its purpose."""
    files = sorted(ROOT.glob("recipes/presets/*.sh"))
    return table(["preset", "purpose"], [[f"`{file.stem}`", purpose(file)] for file in files])


def purpose(file: Path) -> str:
    """The first paragraph of the comment at the top of a shell script."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith(("#!", "# shellcheck")):
            continue
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or not text:
            break
        lines.append(text)
    return " ".join(lines)


def patches() -> str:
    """The changes to fairseq, PyTorch and Python, as the first lines of their docstrings say."""
    said = [inspect.getdoc(patch).split("\n\n")[0].replace("``", "`").replace("\n", " ") for patch in PATCHES]
    return table(["patch", "what it does"], [[f"`{p.__name__}`", text] for p, text in zip(PATCHES, said, strict=True)])


BLOCKS = {
    "commands": commands,
    "names: --arch": architectures,
    "options: --arch": architecture_options,
    "names: --task": tasks,
    "options: --task": task_options,
    **{f"options: --criterion {name}": partial(criterion_options, name) for name in CRITERIONS},
    "rules": rules,
    "recipes": recipes,
    "presets": presets,
    "patches": patches,
}


def main() -> None:
    """Rewrite the page, or with --check say whether that would change it."""
    page = PAGE.read_text(encoding="utf-8")
    made = rewrite(page)
    if "--check" in sys.argv[1:]:
        sys.exit(made != page)
    PAGE.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
