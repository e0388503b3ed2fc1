"""One module at many parameter vectors: vectorised where the module allows it, one by one where not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from medreg.errors import ConfigError, require_choice
from medreg.inference.variational.selection import Selection

VECTORISE = ("auto", "vmap", "loop")
RANDOM = (
    "The module draws random numbers while it is evaluated (dropout?); switch that off, since the randomness is in the "
    "parameters here."
)


class Evaluator:
    """Calls a stateless module with a stack of parameter vectors.

    Args:
        selection: where the parameters lie in a vector.
        vectorise: vmap, loop, or auto: vmap until the module turns out not to allow it.
        chunk_size: vectors side by side in vmap; none for all.
    """

    def __init__(self, selection: Selection, vectorise: str = "auto", chunk_size: int | None = None) -> None:
        require_choice("vectorise", vectorise, VECTORISE)
        if chunk_size is not None and chunk_size < 1:
            raise ConfigError(f"chunk_size is {chunk_size}; it has to be at least 1.")
        self.selection, self.vectorise, self.chunk_size = selection, vectorise, chunk_size
        self.loops = vectorise == "loop"

    def __call__(
        self,
        module: nn.Module,
        vectors: Tensor,
        inputs: tuple[Any, ...],
        after: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Outputs of all vectors, (n, D) → the module's output, or `after` of it, with a first axis n.

        Raises:
            ConfigError: the module draws random numbers, as dropout does.
        """

        def call(vector: Tensor) -> Any:
            output = functional_call(module, self.selection.unflatten(vector), inputs)
            return output if after is None else after(output)

        if not self.loops:
            try:
                return vmap(call, randomness="error", chunk_size=self.chunk_size)(vectors)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, ValueError, NotImplementedError) as error:
                self._explain(error)
        outputs = _one_by_one(call, vectors)
        self.loops = True  # and the module is not to blame for an input that fits nowhere
        return outputs

    def _explain(self, error: Exception) -> None:
        """Raise what a loop would not mend."""
        if "randomness" in str(error):
            raise ConfigError(RANDOM) from error
        if self.vectorise == "vmap":
            raise ConfigError(
                f"The module cannot be vectorised; take vectorise=loop. torch says: {error}"
            ) from error


def _one_by_one(call: Callable[[Tensor], Any], vectors: Tensor) -> Any:
    before = _random_state(vectors.device)
    outputs = stack([call(vector) for vector in vectors])
    if not torch.equal(before, _random_state(vectors.device)):
        raise ConfigError(RANDOM)
    return outputs


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def stack(outputs: list[Any]) -> Any:
    """Stack equal structures of tensors: tensors, tuples, lists and dictionaries of them."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return torch.stack(outputs)
    if isinstance(first, dict):
        return type(first)((key, stack([one[key] for one in outputs])) for key in first)
    if isinstance(first, tuple | list):
        parts = [stack(list(column)) for column in zip(*outputs, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    return first
