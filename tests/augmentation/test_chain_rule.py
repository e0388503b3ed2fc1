"""Which chains are drawn, and how often."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
import torch

from medreg.augmentation.chain_rule import ChainRule
from medreg.augmentation.noise import Noise
from medreg.errors import ConfigError


def drawn(rule, count, *, members=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Counter(tuple(rule.choose(members, generator)) for _ in range(count))


def test_full_length_reaches_every_order_equally_often():
    # a quarter of the lengths 1 to 4
    chains = drawn(ChainRule("random_length"), 96_000)
    full = {order: chains[order] for order in permutations(range(4))}
    total = sum(full.values())
    assert abs(total - 24_000) < 600
    assert all(abs(count - 1000) < 150 for count in full.values())


def test_lengths_are_uniform_and_no_longer_than_the_longest():
    lengths = Counter(len(chain) for chain in drawn(ChainRule("random_length", longest=3), 6000).elements())
    assert set(lengths) == {1, 2, 3}
    assert all(abs(count - 2000) < 200 for count in lengths.values())
    assert set(map(len, drawn(ChainRule("random_length", longest=9), 200))) == {1, 2, 3, 4}


def test_bernoulli_keeps_each_with_a_half_and_all_where_none_is_kept():
    chains = drawn(ChainRule("bernoulli"), 24_000)
    for member in range(4):
        share = sum(count for chain, count in chains.items() if member in chain) / 24_000
        assert share == pytest.approx(0.5 + 1 / 16, abs=0.015)
    whole = sum(count for chain, count in chains.items() if len(chain) == 4) / 24_000
    assert whole == pytest.approx(2 / 16, abs=0.01)
    assert all(len(set(chain)) == len(chain) for chain in chains)


def test_a_fixed_chain_is_the_list():
    assert set(drawn(ChainRule("fixed"), 20)) == {(0, 1, 2, 3)}


def test_a_chain_of_one_member_works_under_every_rule():
    for kind in ("fixed", "bernoulli", "random_length"):
        assert set(drawn(ChainRule(kind), 20, members=1)) == {(0,)}


def test_chance_is_the_generator():
    rule = ChainRule("bernoulli")
    one = [rule.choose(4, torch.Generator().manual_seed(5)) for _ in range(3)]
    assert one[0] == one[1] == one[2]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    drawn(rule, 10)
    assert torch.equal(state, torch.get_rng_state())


def test_draw_makes_a_chain_of_the_members():
    members = (Noise.paper(), Noise.paper(epsilon=0.1))
    chain = ChainRule("fixed").draw(members, torch.Generator())
    assert chain.members == members


def test_bad_rules_are_refused():
    with pytest.raises(ConfigError, match=r"chain_rule\.kind"):
        ChainRule("shuffled")
    with pytest.raises(ConfigError, match=r"chain_rule\.longest is 0"):
        ChainRule("random_length", longest=0)
    with pytest.raises(ConfigError, match="belongs to kind=random_length"):
        ChainRule("bernoulli", longest=2)
    with pytest.raises(ConfigError, match="no members"):
        ChainRule().draw((), torch.Generator())
