"""Published splits of ACDC: the sets of every number of labels and fold, on the hundred patients or fewer of them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from data_build import data_module

from medreg.data.datasets.acdc import ACDC
from medreg.errors import ConfigError, DataError

SHOTS, FOLDS = (1, 3, 10, 25, None), range(5)
SETS = ("train", "val", "test", "unlabelled")
# Validation subjects of the published sets that are trained on, by number of labels and fold.
LEAKS = {
    (1, 3): [62],
    (10, 1): [2, 22], (10, 4): [22],
    (25, 0): [82], (25, 1): [2, 22], (25, 2): [2, 62], (25, 4): [22, 62],
    (None, 0): [62, 82], (None, 1): [2, 22], (None, 2): [2, 62], (None, 3): [22, 62], (None, 4): [22, 62, 82],
}  # fmt: skip


def numbers(subjects):
    return sorted(int(name.removeprefix("patient")) for name in subjects)


def patients(root, wanted):
    """The official layout, with files that nobody reads."""
    for number in wanted:
        folder = root / "training" / f"patient{number:03d}"
        folder.mkdir(parents=True)
        for frame in (1, 12):
            for ending in ("", "_gt"):
                (folder / f"{folder.name}_frame{frame:02d}{ending}.nii.gz").touch()
        (folder / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: NOR\n")
    return root


@pytest.fixture(scope="module")
def hundred(tmp_path_factory):
    return patients(tmp_path_factory.mktemp("hundred"), range(1, 101))


@pytest.fixture(scope="module")
def split_of(hundred):
    splits, records = ACDC(hundred).published_splits(), ACDC(hundred).records()
    splitter = data_module("acdc_segmentation", hundred).splitter

    def assign(name="advchain", *, labelled=None, fold=0, leak="removed", among=None):
        chosen = [record for record in records if among is None or record.subject in among]
        return replace(splitter, published=name, fold=fold, leak=leak).assign(
            chosen, splits=splits, labelled=labelled
        )

    return assign


@pytest.mark.parametrize("name", ["advchain", "advchain_upper_bound"])
@pytest.mark.parametrize("labelled", SHOTS)
def test_the_sets_of_every_fold_have_no_subject_in_common(split_of, name, labelled):
    for fold in FOLDS:
        split = split_of(name, labelled=labelled, fold=fold)
        sets = [set(split.subjects(stage)) for stage in SETS]
        assert all(not first & second for first, second in itertools.combinations(sets, 2))
        extra = 25 if name == "advchain_upper_bound" else 0
        assert len(split.train) == (labelled or 40) + extra
        assert (len(split.test), len(split.unlabelled)) == (20, 25 - extra)
        published = (7, 6, 6, 7, 7)[fold] if labelled == 1 else 5
        assert len(split.val) == published - len(LEAKS.get((labelled, fold), ()))
        assert split.missing == ()


def test_standard_divides_all_patients(split_of):
    split = split_of("standard")
    assert [len(split.subjects(stage)) for stage in SETS] == [70, 10, 20, 0]
    assert numbers(split.train + split.val + split.test) == list(range(1, 101))
    assert split.test == split_of(labelled=3).test


def test_validation_subjects_that_are_trained_on_are_removed_and_named(split_of):
    for labelled, fold in itertools.product(SHOTS, FOLDS):
        kept = split_of(labelled=labelled, fold=fold, leak="published")
        leaks = LEAKS.get((labelled, fold), [])
        assert numbers(set(kept.train) & set(kept.val)) == leaks
        removed = split_of(labelled=labelled, fold=fold)
        assert removed.train == kept.train
        assert numbers(set(kept.val) - set(removed.val)) == leaks
        assert all(f"patient{number:03d}" in removed.selection for number in leaks)
        assert ("left out" in removed.selection) == bool(leaks)
        assert ("leak=published" in kept.selection) == bool(leaks)


def test_larger_sets_are_what_scikit_learn_draws_from_the_pool(split_of):
    pool = np.array(numbers(split_of().train))
    for labelled, fold in itertools.product((10, 25), FOLDS):
        # train_test_split(pool, train_size=N, random_state=fold): the end of one permutation.
        drawn = pool[np.random.RandomState(fold).permutation(40)[-labelled:]]
        assert numbers(split_of(labelled=labelled, fold=fold).train) == sorted(drawn)


def test_patients_that_are_not_there_are_told(hundred, tmp_path, caplog):
    present = [number for number in range(1, 101) if number not in (10, 28, 73, 14)]
    root = patients(tmp_path / "acdc", present)
    data = data_module("acdc_segmentation", root, "labelled=10", "split.published=advchain")
    split = data.split
    assert numbers(split.missing) == [10, 28, 73]  # 14 is in none of the sets
    assert [len(split.subjects(stage)) for stage in SETS] == [9, 5, 18, 25]
    assert "not in the data: patient010, patient028, patient073" in caplog.text
    file = data.save_split(tmp_path / "split.csv")
    assert "patient073,missing\n" in file.read_text()
    assert "patient016,unlabelled\n" in file.read_text()
    again = data_module("acdc_segmentation", root, "labelled=9", f"split.file={file}").split
    assert again == split


def test_the_same_sets_serve_registration(hundred):
    split = data_module("acdc", hundred, "split.published=standard").split
    assert [len(split.subjects(stage)) for stage in SETS] == [70, 10, 20, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["labelled=7", "split.published=advchain"], r"published for 1, 3, 10, 25 labelled subjects"),
        (["labelled=3", "split.published=standard"], r"all labels only, data\.labelled=null"),
        (["split.published=advchain", "split.fold=5"], r"has the folds 0 to 4"),
        (["split.published=standard", "split.fold=1"], r"has one fold, 0"),
        (["split.published=advchian"], r"this data set has advchain, advchain_upper_bound, standard"),
        (["split.published=advchain", "split.folds=5"], "both say which subjects are tested"),
        (["split.published=advchain", "split.file=x.csv"], "both say which subjects are tested"),
        (["split.published=advchain", "split.select=3"], r"data\.split\.select changes the published split"),
        (["split.published=advchain", "split.leak=no"], r"data\.split\.leak is 'no'; choose removed"),
        (["split.published=advchain", "unlabelled=26"], r"data\.unlabelled=26: there are 25 unlabelled"),
    ],
)
def test_what_is_not_published_is_refused(hundred, options, message):
    with pytest.raises(ConfigError, match=message):
        data_module("acdc_segmentation", hundred, *options).setup()


def test_other_data_have_no_published_split(hundred, tmp_path):
    tiny = [f"dataset.prepare.{word}" for word in ("subjects=3", "testing=1", "frames=2", "slices=[2,2]")]
    phantom = data_module("cardiac_phantom_segmentation", tmp_path, *tiny, "split.published=advchain")
    with pytest.raises(ConfigError, match=r"published=advchain.*none is known for this data set"):
        phantom.setup()
    few = patients(tmp_path / "few", (7, 8))
    with pytest.raises(DataError, match="none of its train subjects of fold 0 is in the data"):
        data_module("acdc_segmentation", few, "split.published=advchain").setup()
