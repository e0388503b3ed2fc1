"""Digests tell contents apart and do not depend on how they were put together."""

from __future__ import annotations

import pytest

from medreg.io.digest import digest_of, digest_of_file


def test_it_is_the_same_everywhere():
    assert digest_of({"a": 1, "b": [2.5, None]}, "x") == digest_of({"b": [2.5, None], "a": 1}, "x")
    assert digest_of() == "4f53cda18c2baa0c"  # sha256 of "[]": names on disk must outlive a version
    assert len(digest_of(1)) == 16


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((1,), ("1",)),
        (("ab", "c"), ("a", "bc")),
        (({"a": 1},), ({"a": 2},)),
        (([1, 2],), ([2, 1],)),
        ((), ("",)),
    ],
)
def test_what_differs_has_another(first, second):
    assert digest_of(*first) != digest_of(*second)


def test_of_a_file(tmp_path):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"")
    assert digest_of_file(file) == "e3b0c44298fc1c14"  # sha256 of nothing
    file.write_bytes(bytes(3_000_000))
    whole = digest_of_file(file)
    file.write_bytes(bytes(2_999_999) + b"1")
    assert digest_of_file(file) != whole
