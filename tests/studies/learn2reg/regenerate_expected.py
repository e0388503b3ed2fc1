"""Make the expected values of test_parity.py with the official code, outside this repository.

    python tests/studies/learn2reg/regenerate_expected.py L2R_CLONE LUMIR_CLONE [--hippocampus FOLDER]

L2R_CLONE is a clone of github.com/MDL-UzL/L2R and LUMIR_CLONE one of github.com/JHU-MedImage-Reg/LUMIR_L2R. The
evaluation folders of the commits below are exported into a temporary folder; names that NumPy 2 and SciPy 1.15 have
removed are replaced there (np.NAN, np.Inf, np.bool, ndimage.filters, ndimage.morphology), `evalutils`, of which one
exception class is used, is stood in for. Only numbers are stored.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
import learn2reg_tasks as tasks

EXPECTED = Path(__file__).with_name("expected")
CURRENT, TRE_FIXED, OLD = "8847509", "28985b7", "fc713f5"
LUMIR = "9b88e63"
REPLACED = {
    r"np\.NAN\b": "np.nan",
    r"np\.Inf\b": "np.inf",
    r"np\.bool\b": "bool",
    r"ndimage\.(filters|morphology)\.": "ndimage.",
}
RUN = "from evaluation import evaluate_L2R; import sys; evaluate_L2R(*sys.argv[1:5])"
RUN_LUMIR = (
    "from evaluation import evaluate_L2R, to_json; import sys; a = sys.argv; "
    "cases, name = evaluate_L2R(*a[1:5]); to_json(cases, {}, a[3], name)"
)


def export(clone: Path, commit: str, folder: str, target: Path) -> Path:
    """Export a folder of a commit and replace removed names."""
    target.mkdir(parents=True)
    wanted = [
        "evaluation.py",
        "utils.py",
        "surface-distance",
        "surface_distance",
        "digital_diffeomorphism.py",
    ]
    listed = git(clone, "ls-tree", "--name-only", commit, f"{folder}/").decode().split()
    paths = [path for path in listed if Path(path).name in wanted]
    archive = git(clone, "archive", commit, *paths)
    subprocess.run(["tar", "x", "-C", str(target), "--strip-components=1"], input=archive, check=True)
    if (target / "surface-distance").is_dir():
        (target / "surface-distance" / "surface_distance").rename(target / "surface_distance")
    (target / "evalutils").mkdir()
    (target / "evalutils" / "__init__.py").write_text("")
    (target / "evalutils" / "exceptions.py").write_text("class ValidationError(Exception): pass\n")
    for file in [*target.glob("*.py"), *target.glob("surface_distance/*.py")]:
        text = file.read_text(encoding="utf-8")
        for old, new in REPLACED.items():
            text = re.sub(old, new, text)
        file.write_text(text, encoding="utf-8")
    return target


def git(clone: Path, *words: str) -> bytes:
    return subprocess.run(["git", "-C", str(clone), *words], check=True, capture_output=True).stdout


def run(code: Path, task: tasks.Task, program: str = RUN) -> dict:
    """Result of the official code on a task."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "metrics.json"
        words = [str(task.fields), str(task.data), str(out), str(task.config)]
        subprocess.run([sys.executable, "-c", program, *words], check=True, cwd=code)
        return json.loads(out.read_text(encoding="utf-8"))


def store(name: str, commit: str, result: dict) -> None:
    EXPECTED.mkdir(exist_ok=True)
    content = {"commit": commit} | result
    (EXPECTED / f"{name}.json").write_text(
        json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("l2r", type=Path)
    parser.add_argument("lumir", type=Path)
    parser.add_argument("--hippocampus", type=Path, help="folder HippocampusMR of scripts/arrange_samples.py")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        codes = {c: export(args.l2r, c, "evaluation", root / c) for c in (CURRENT, TRE_FIXED, OLD)}
        lumir = export(args.lumir, LUMIR, "L2R_LUMIR_Eval", root / "lumir")
        store("paired", CURRENT, run(codes[CURRENT], tasks.paired(root / "paired")))
        old = tasks.paired(root / "paired_old", key="arr_0")  # the only key that the code of then reads
        store("paired_old", OLD, run(codes[OLD], old))
        store("rough", CURRENT, run(codes[CURRENT], tasks.rough(root / "rough")))
        store("same_long", CURRENT, run(codes[CURRENT], tasks.same_modality(root / "long")))
        short = tasks.same_modality(root / "short", naming="short")
        store("same_short", TRE_FIXED, run(codes[TRE_FIXED], short))
        store("several", TRE_FIXED, run(codes[TRE_FIXED], tasks.several_modalities(root / "several")))
        store("half", CURRENT, run(codes[CURRENT], tasks.half_resolution(root / "half", enlarged=True)))
        store("lumir", LUMIR, run(lumir, tasks.lumir(root / "lumir_task"), RUN_LUMIR))
        if args.hippocampus:
            task = tasks.hippocampus(args.hippocampus, root / "h")
            store("hippocampus", CURRENT, run(codes[CURRENT], task) | {"labels": tasks.digest(task.data)})
        task = tasks.brain(root / "brain")
        store("brain", CURRENT, run(codes[CURRENT], task) | {"labels": tasks.digest(task.data)})


if __name__ == "__main__":
    main()
