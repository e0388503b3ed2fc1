"""The documentation is true: links lead somewhere, names exist, commands compose, and marked blocks run.

A fenced block whose info string is `bash run` or `python run` is executed by the slow test, page by page and in order,
in an empty folder, with the training shortened. Every other command is parsed and its configuration composed.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
import tokenize
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.errors import HydraException

from hydra_plugins.medreg_sweepers._space import space_of
from medreg.cli.main import build_parser
from medreg.config.application import overrides_of
from medreg.config.command import BENCHMARK, CAPTURE_RANGE
from medreg.config.compose import compose_unchecked
from medreg.config.suggest import groups, leaf_keys, parse
from medreg.errors import MedregError

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELLS, RUN = ("bash", "sh"), "run"
PLUGINS = ("joblib", "submitit_local", "submitit_slurm", "slurm", "ray")  # launchers that are extras
OF_THE_USER = (
    "configs/local/default.yaml",
    "configs/method/mytool.yaml",
    "configs/task/NAME.yaml",
    "data=liver",
    "model=small",
)  # files that a page tells the reader to write
WRITTEN = {
    "report.md",
    "ranking.md",
    "tables.md",
    "table.md",
    "sweep.md",
}  # by commands, into the user's folders
SHORT = "trainer.max_epochs=1 pictures=1"
SMALL = "data.dataset.prepare.subjects=6 data.dataset.prepare.testing=2 data.loader.repeat=1"
FEW_HEARTS = (
    "data.dataset.prepare.training=8 data.dataset.prepare.validation=2 data.dataset.prepare.testing=2"
)
# Of the shell that runs a page: the checkout is elsewhere, and training is short.
PREAMBLE = f"""
set -euo pipefail
short() {{
  local extra="{SHORT}"
  case " $* " in
    *" data=folder"*|*" data=acdc"*) ;;
    *" data=heart_population"*) extra="$extra {FEW_HEARTS}" ;;
    *) extra="$extra {SMALL}" ;;
  esac
  for word in $extra; do
    case " $* " in *" ${{word%%=*}}="*) ;; *) printf '%s ' "$word" ;; esac
  done
}}
python() {{
  if [ "$1" = train.py ]; then shift; command python {ROOT}/train.py "$@" $(short "$@"); else command python "$@"; fi
}}
medreg() {{
  if [ "$1" = train ]; then
    shift; command python -m medreg.cli.main train "$@" $(short "$@")
  else
    command python -m medreg.cli.main "$@"
  fi
}}
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    runs: bool
    text: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@lru_cache
def blocks(page: Path) -> tuple[Block, ...]:
    found, lines = [], page.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if start is None:
            start = number
            continue
        words = lines[start].strip().removeprefix("```").split() or [""]
        found.append(
            Block(page, start + 1, words[0], RUN in words[1:], "\n".join(lines[start + 1 : number]) + "\n")
        )
        start = None
    assert start is None, f"{name_of(page)}:{start}: a fence is not closed"
    return tuple(found)


@lru_cache
def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


def every_code() -> list[tuple[Path, str]]:
    return [(page, code) for page in PAGES for code in inline_code(page)]


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def commands(block: Block) -> list[list[str]]:
    """Words of each command of a shell block; here-documents, comments and variables are taken away."""
    text = re.sub(r"<<'?(\w+)'?.*?^\1$", "", block.text, flags=re.S | re.M)
    text = re.sub(r"^\s*#.*$", "", text.replace("\\\n", " "), flags=re.M)
    found = []
    for line in text.splitlines():
        line = re.sub(r"\$\([^)]*\)", "x", line)
        for part in re.split(r"&&|\||;", line):
            words = shlex.split(re.sub(r"\$\{?\w+\}?", "x", part), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                found.append(words)
    return found


def indented(page: Path) -> Block:
    """The commands that a page shows by indentation, as README does."""
    lines = re.findall(r"^ {4}((?:python train\.py|medreg) .*)$", prose(page), flags=re.M)
    return Block(page, 0, "sh", False, "\n".join(line for line in lines if "…" not in line))


def shell_commands() -> list[tuple[Block, tuple[str, ...]]]:
    return [
        (block, tuple(words))
        for page in PAGES
        for block in (*blocks(page), indented(page))
        if block.language in SHELLS
        for words in commands(block)
    ]


def train_arguments() -> list[tuple[str, tuple[str, ...]]]:
    """Arguments of every command that composes a configuration, with where it stands."""
    found = []
    for block, words in shell_commands():
        verb, arguments = words[:2], words[2:]
        composing = verb in (
            ("python", "train.py"),
            ("medreg", "train"),
            ("medreg", "show"),
            ("medreg", "doctor"),
        )
        folder = verb == ("medreg", "doctor") and "=" not in arguments[0]  # of a Learn2Reg task
        theirs = {"--config-dir", "--help", *OF_THE_USER} & set(arguments)
        if composing and not folder and not theirs:
            found.append((f"{name_of(block.page)}:{block.line}", arguments))
    return found


def jobs_of(arguments: tuple[str, ...]) -> list[list[str]]:
    """Overrides of the first and the last job of a command."""
    overrides = overrides_of(arguments)
    if "--key" in arguments:
        overrides.remove(arguments[arguments.index("--key") + 1])
    own = [item for item in parse(overrides) if not item.key_or_group.startswith("hydra")]
    if any(item.is_sweep_override() and not item.is_discrete_sweep() for item in own):  # of a search
        space = space_of(own)
        lowest = {key: getattr(one, "choices", None) or [one.low] for key, one in space.varied.items()}
        return [space.jobs({key: values[0] for key, values in lowest.items()})[0]]
    if "-m" in arguments:
        jobs = BasicSweeper.split_arguments(own, None)[0]
        return [jobs[0], jobs[-1]]
    assert not any(item.is_sweep_override() for item in own), f"a sweep without -m: {arguments}"
    return [[str(item.input_line) for item in own]]


def compositions() -> dict[tuple[str, ...], dict[str, str]]:
    """Choices of groups → (override → where it stands): commands of the same choices are composed together."""
    known: dict[tuple[str, ...], dict[str, str]] = {}
    for where, arguments in train_arguments():
        for words in jobs_of(arguments):
            choices = tuple(sorted(word for word in words if word.lstrip("+~").split("=")[0] in groups()))
            node = known.setdefault(choices, {})
            node.update({word: where for word in words if word not in choices})
    return known


def test_every_page_is_on_the_map():
    listed = set(re.findall(r"\]\(([^)#]+\.md)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    there = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]} - {"index.md"}
    assert there == listed


def test_links_lead_somewhere():
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            file, _, anchor = target.partition("#")
            there = (page.parent / file).resolve() if file else page
            if not there.exists() or (anchor and anchor not in anchors(there)):
                broken.append(f"{name_of(page)}: {target}")
    assert not broken


def test_paths_in_the_text_exist():
    wrong = []
    for page, code in every_code():
        path = code.split(":")[0].rstrip("/")
        ours = re.fullmatch(r"(medreg|configs|tests|scripts|docs)/[\w./-]+", path) and path not in OF_THE_USER
        if ours and not (ROOT / path).exists():
            wrong.append(f"{name_of(page)}: {code}")
    assert not wrong


def texts() -> list[tuple[Path, str]]:
    """Comments and docstrings of programs and configurations, and the prose of pages, where they cite a page."""
    rooms = ("medreg", "tests", "experiments", "scripts", "configs", "docs")
    files = sorted(file for room in rooms for file in (ROOT / room).rglob("*.*"))
    found = []
    for file in [*files, ROOT / "README.md", ROOT / "pyproject.toml", ROOT / "Makefile"]:
        if file.suffix not in (".py", ".md", ".yaml", ".toml", "") or ".md" not in file.read_text("utf-8"):
            continue  # pictures and tables, and what cites nothing
        if file.suffix == ".py":
            with file.open("rb") as stream:
                tokens = list(tokenize.tokenize(stream.readline))
            said = [token.string for token in tokens if token.type in (tokenize.COMMENT, tokenize.STRING)]
            found.append((file, "\n".join(line for line in said if line.startswith(("#", '"""')))))
        elif file.suffix == ".md":
            found.append((file, re.sub(r"\]\([^)]*\)", "", prose(file))))
        else:
            found.append((file, "\n".join(re.findall(r"#.*", file.read_text("utf-8")))))
    return found


def test_a_page_that_a_text_cites_is_in_the_repository():
    """A reader cannot open notes that are not here; a name without its folder is enough only beside it."""
    wrong = []
    for file, text in texts():
        for cited in sorted(set(re.findall(r"(?<![\w./-])\w[\w./-]*\.md\b", text)) - WRITTEN):
            beside = file.suffix == ".md" and (file.parent / cited).is_file()
            if not beside and not (ROOT / cited).is_file():
                wrong.append(f"{name_of(file)}: {cited}")
    assert not wrong


def located(dotted: str) -> bool:
    """Say whether a dotted name is a module of the package or something in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_python_names_in_the_text_exist():
    now = [page for page in PAGES if page.name != "changes.md"]  # which names what was before, too
    text = [(page, page.read_text(encoding="utf-8")) for page in now]
    names = {(page, name) for page, body in text for name in re.findall(r"\bmedreg(?:\.\w+)+", body)}
    wrong = sorted(f"{name_of(page)}: {name}" for page, name in names if not located(name))
    assert not wrong


def test_group_options_in_the_text_exist():
    known, wrong = groups(), []
    for page, code in every_code():
        for group, option in re.findall(r"(?<![\w.])([a-z/]+)=([a-z_0-9]+)\b", code):
            written = f"{group}={option}"
            if (
                group in known
                and option not in (*known[group], *PLUGINS, "null")
                and written not in OF_THE_USER
            ):
                wrong.append(f"{name_of(page)}: {written}")
    assert not wrong


@lru_cache
def option_keys() -> frozenset[str]:
    together = (
        ["data=folder_slices"],
        ["data=heart_folder"],
        ["model=cheart", "data=heart_population"],
        ["model=ageheart", "data=heart_population_visits"],
        ["model=pca", "data=heart_population"],
        ["model=cvae_gan_seq", "data=heart_population"],
        ["data=brain_phantom", "model=midir", "trainer=ddp", "regularisation=elastic", "similarity=lncc"],
        ["model=optimise", "similarity=nmi"],
        ["model=voxelmorph"],
        ["model=voxelmorph", "augmentation=advchain"],
        ["model=voxelmorph_probabilistic"],
        ["model=ensemble"],
        ["model=equivariance"],
        ["model=learned_similarity"],
        ["model=learned_similarity", "similarity=learned_lcc"],
        ["model=vrnet"],
        ["model=csain"],
        ["model=csain", "task=conditional_fields"],
        ["model=mad"],
        ["similarity=mad"],
        ["model=unet"],
        ["model=unet_16", "augmentation=advchain", "semi=consistency", "data=acdc_segmentation"],
        ["model=unet_16", "semi=mean_teacher", "data=acdc_segmentation"],
        ["model=bayes"],
        ["model=bayes", "inference=vi", "likelihood=mixture_lcc", "prior=lognormal"],
        ["model=bayes", "likelihood=gaussian"],
        ["model=bayes", "likelihood=similarity"],
        ["model=unet_variational", "data=cardiac_phantom_segmentation"],
        ["model=unet", "data=acdc_corrupted"],
        ["model=unet_16", "data=acdc_segmentation", "augmentation=advchain", "semi=mean_teacher"],
        ["model=affine_refined", "data=brain_phantom_slices"],
        [],
    )
    found = {"model.regularisation.weight", "model.similarity.window"}  # of the presets of `medreg register`
    for overrides in together:
        found.update(leaf_keys(compose_unchecked(overrides)))
    found.update(leaf_keys(BENCHMARK.compose()))
    found.update(leaf_keys(CAPTURE_RANGE.compose()))
    return frozenset(found)


def test_options_in_the_text_exist():
    wrong = []
    tops = {key.split(".")[0] for key in option_keys() if "." in key}
    for page, code in every_code():
        if page.name == "changes.md":  # names what was before, too
            continue
        for key in re.findall(r"(?<![\w./+~-])([a-z_]+(?:\.[a-z_0-9]+)+)(?![\w(/])", code):
            leaf = not re.search(r"\.(py|md|yaml|csv|json|html|gz|ckpt|png|jsonl|npz|log|txt|eps)$", key)
            if leaf and key.split(".")[0] in tops and key not in option_keys():
                wrong.append(f"{name_of(page)}: {key}")
    assert not wrong


@pytest.mark.slow
def test_training_commands_compose():
    wrong = []
    for choices, others in compositions().items():
        try:
            compose_unchecked([*choices, *others])
        except HydraException as error:
            wrong.append(f"{choices} with {others}: {error}")
    assert not wrong


@pytest.mark.slow
def test_benchmark_commands_compose():
    wrong = []
    for block, words in shell_commands():
        if words[:2] == ("medreg", "benchmark") and not any(word.startswith("--") for word in words):
            try:
                BENCHMARK.compose(words[2:])
            except (MedregError, HydraException) as error:
                wrong.append(f"{name_of(block.page)}:{block.line}: {shlex.join(words)}: {error}")
    assert not wrong


def test_capture_range_commands_compose():
    wrong = []
    for block, words in shell_commands():
        if words[:2] == ("medreg", "capture-range"):
            try:
                CAPTURE_RANGE.compose(words[2:])
            except (MedregError, HydraException) as error:
                wrong.append(f"{name_of(block.page)}:{block.line}: {shlex.join(words)}: {error}")
    assert not wrong


def test_other_commands_parse(capsys):
    wrong, verbs = (
        [],
        (
            "register",
            "segment",
            "generate",
            "complete",
            "age",
            "warp",
            "report",
            "list",
            "doctor",
            "show",
            "rank",
            "calibration",
            "submit",
            "evaluate",
            "benchmark",
            "search-smoothness",
            "draw-smoothness",
        ),
    )
    for block, words in shell_commands():
        if words[0] != "medreg" or words[1] not in verbs or "--help" in words:
            continue
        cut = [word for word in words[1:] if word not in (">", "2>")]
        try:
            build_parser().parse_args(cut)
        except (SystemExit, argparse.ArgumentError):
            wrong.append(
                f"{name_of(block.page)}:{block.line}: {shlex.join(words)}: {capsys.readouterr().err}"
            )
    assert not wrong


def test_python_and_yaml_blocks_are_well_formed():
    wrong = []
    for page in PAGES:
        for block in blocks(page):
            try:
                if block.language == "python":
                    ast.parse(block.text, filename=name_of(page))
                elif block.language == "yaml":
                    yaml.safe_load(block.text)
            except (SyntaxError, yaml.YAMLError) as error:
                wrong.append(f"{name_of(page)}:{block.line}: {error}")
    assert not wrong


def test_generated_pages_are_current():
    spec = importlib.util.spec_from_file_location(
        "document_options", ROOT / "scripts" / "document_options.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name, page in script.PAGES.items():
        written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert written == page(), f"docs/reference/{name} is out of date: python scripts/document_options.py"


def page_script(page: Path) -> str:
    """The marked blocks of a page as one shell script."""
    parts = [PREAMBLE]
    for block in blocks(page):
        if block.runs and block.language in SHELLS:
            parts.append(f"echo '--- {name_of(page)}:{block.line}'\n{block.text}")
        elif block.runs:
            parts.append(
                f"echo '--- {name_of(page)}:{block.line}'\npython - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK\n"
            )
    return "\n".join(parts)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.runs for block in blocks(page))], ids=name_of
)
def test_marked_blocks_run(page, cache, tmp_path):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "MEDREG_CACHE": str(cache),
        "WANDB_MODE": "offline",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("MEDREG_DATA", None)
    done = subprocess.run(
        ["bash", "-c", page_script(page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
