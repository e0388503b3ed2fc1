"""Compiled loops for the operators that PyTorch runs far from the machine's limit on a CPU.

One file an operator, each the fast form of a torch formula that stays beside it as the reference. Without
the optional extra `fast` (numba) nothing here runs, and nothing but speed is lost.
"""
