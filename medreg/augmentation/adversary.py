"""AdvChain: the chained transformation of an image that a segmentation network answers least consistently."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medreg.augmentation.affine import AffineMap
from medreg.augmentation.anatomy import AnatomyCheck
from medreg.augmentation.ascent import Ascent
from medreg.augmentation.attack import Attack, Disagreement, Round
from medreg.augmentation.bias import BiasField
from medreg.augmentation.chain import Chain, Parameters
from medreg.augmentation.chain_rule import ChainRule
from medreg.augmentation.chance import Chance
from medreg.augmentation.comparison import Comparison, Region, one_hot, structures
from medreg.augmentation.geometric import Outside
from medreg.augmentation.intensity import Intensity
from medreg.augmentation.member import Member
from medreg.augmentation.morph import Morph
from medreg.augmentation.network_pass import Network, NetworkPass, Scores, check_clean, check_images
from medreg.augmentation.noise import Noise
from medreg.errors import ConfigError, DataError, require_choice, require_number, require_whole
from medreg.geometry.precision import at_least_single, outside_inference_mode
from medreg.losses.segmentation.consistency import Consistency

log = logging.getLogger("medreg")


@dataclass
class AdvChain:
    """Consistency of a network with itself under the worst of bounded transformations, as a loss.

    Called with a network and images, labelled or not, it draws a chain of members, ascends from random parameters
    to larger divergence, and returns the divergence between the network's answers to the clean images (a constant)
    and to the transformed ones (whose gradient reaches the weights). In the ascent no weight gets a gradient, no
    running statistic moves, dropout repeats its masks, and all is computed in float32 at least.

    The defaults are those of the authors' experiments, `AdvChain.paper(2)`. Chen et al., Enhancing MR Image
    Segmentation with Realistic Adversarial Data Augmentation, MedIA 2022; code cherise215/advchain 870cd2f (2021)
    and ed5cd70 (2023).

    Everything random depends on (seed, step, rank) alone, and the chain on (seed, step), so that all processes of
    DDP work on the same one.

    Attributes:
        members: transformations to choose from, in a list or by name; None is left out.
        rule: which of them are chained, and in which order.
        consistency: D.
        steps: of the ascent; 0 is a random chain.
        step_size: α, or one for every member.
        decay: "root" α/√(i + 1) (2021), "constant" α (2023).
        projection: onto the bounds after "every" step, or the "last" only (released; several steps leave the bounds).
        power_iteration: members that take the unit gradient at a tiny perturbation instead of a step: all, none, one
            answer for every member, or "smart", the noise alone (2021; none in 2023).
        reference: predictions of the clean images sent forward and back ("warped", 2021), or as they are ("clean",
            2023: then interpolation alone makes a loss).
        truth: the reference is the labels instead of predictions.
        intensity: what is done to the intensities of transformed images.
        region: where predictions are compared.
        ignore_background: noise and bias leave voxels alone that have the smallest intensity of a clean image and
            channel (what `intensity` "rescale" does to an image afterwards moves them, "clamp" does not).
        anatomy: rejects transformations that cost structures; needs labels.
        outer_statistics: whether running statistics of batch normalisation take in adversarial images, "update"
            (2023), or not, "frozen".
        outer_train: put the network into train mode for the outer pass, whatever its mode (released).
        scores: what of the network's output are scores before softmax: None, a key, an index or a function.
        seed: of everything random.
    """

    members: Sequence[Member | None] | Mapping[str, Member | None] = field(
        default_factory=lambda: _members("paper", 2)
    )
    rule: ChainRule = field(default_factory=ChainRule, kw_only=True)
    consistency: Consistency = field(default_factory=Consistency, kw_only=True)
    steps: int = field(default=1, kw_only=True)
    step_size: float | Sequence[float] = field(default=1.0, kw_only=True)
    decay: Literal["constant", "root"] = field(default="root", kw_only=True)
    projection: Literal["every", "last"] = field(default="every", kw_only=True)
    power_iteration: bool | Sequence[bool] | Literal["smart"] = field(default="smart", kw_only=True)
    reference: Literal["warped", "clean"] = field(default="warped", kw_only=True)
    truth: bool = field(default=False, kw_only=True)
    intensity: Intensity = field(default_factory=Intensity, kw_only=True)
    region: Region = field(default_factory=Region, kw_only=True)
    ignore_background: bool = field(default=False, kw_only=True)
    anatomy: AnatomyCheck | None = field(default=None, kw_only=True)
    outer_statistics: Literal["frozen", "update"] = field(default="frozen", kw_only=True)
    outer_train: bool = field(default=False, kw_only=True)
    scores: Scores = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    calls: int = field(default=0, init=False, compare=False)

    def __post_init__(self) -> None:
        given = self.members
        listed = given.values() if isinstance(given, Mapping) else given
        self._members = tuple(member for member in listed if member is not None)
        self.members = self._members
        if not self._members:
            raise ConfigError("The adversary has no members; list at least one transformation of images.")
        for member in self._members:
            if not callable(getattr(member, "draw", None)):  # whatever does what a member does will do
                raise ConfigError(
                    f"members holds {member!r}, which is no Member; give objects of that class."
                )
        if not isinstance(self.rule, ChainRule):
            raise ConfigError(f"rule is {self.rule!r}, which is no ChainRule; give an object of that class.")
        require_choice("reference", self.reference, ("warped", "clean"))
        require_choice("outer_statistics", self.outer_statistics, ("frozen", "update"))
        require_whole("seed", self.seed, 0)
        self._ascent = Ascent(self.steps, self.decay, self.projection)
        self._sizes = self._each("step_size", self.step_size)
        for size in self._sizes:
            require_number("step_size", size, least=0)
        smart = [isinstance(member, Noise) for member in self._members]
        power = smart if self.power_iteration == "smart" else self.power_iteration
        self._power = self._each("power_iteration", power)

    @classmethod
    def paper(cls, ndim: int = 2, *, padding: Outside = "zeros", **changes: Any) -> AdvChain:
        """The authors' experiments of 2021.

        Args:
            ndim: axes of the images, 2 or 3.
            padding: what enters an image from outside: "lowest" where the background is not 0.
            changes: of other options.
        """
        return cls(**{"members": _members("paper", ndim, padding), **changes})

    @classmethod
    def release(cls, ndim: int = 2, *, padding: Outside = "zeros", **changes: Any) -> AdvChain:
        """The released code of 2023 without its defects; arguments as of `paper`."""
        options: dict[str, Any] = {
            "members": _members("release", ndim, padding),
            "rule": ChainRule("random_length"),
            "consistency": Consistency(divergence="mse"),
            "decay": "constant",
            "power_iteration": False,
            "reference": "clean",
            "intensity": Intensity("clamp"),
        }
        return cls(**{**options, **changes})

    def __call__(
        self,
        network: Network,
        images: Tensor,
        *,
        labels: Tensor | None = None,
        step: int | None = None,
        module: nn.Module | None = None,
        clean: Tensor | None = None,
    ) -> Tensor:
        """Consistency loss of a batch, a scalar; its gradient reaches the network only.

        Arguments and errors as of `disagreement`.
        """
        return self.disagreement(network, images, labels=labels, step=step, module=module, clean=clean).loss

    def disagreement(
        self,
        network: Network,
        images: Tensor,
        *,
        labels: Tensor | None = None,
        step: int | None = None,
        module: nn.Module | None = None,
        clean: Tensor | None = None,
    ) -> Disagreement:
        """The consistency loss, and the divergence from which the ascent has started.

        Args:
            network: from images to scores, a module or a function.
            images: (N, C, *S), of any range.
            labels: (N, K, *S) one-hot, or whole numbers (N, 1, *S) or (N, *S); only `truth` and `anatomy` use them.
            step: number of this training step, from which chance is derived; None counts the calls.
            module: whose statistics and mode are meant if the network is a function.
            clean: scores (N, K, *S) of these images by the present weights and mode, if they are known already: saves a
                pass. They are taken as constants.

        Raises:
            DataError, CompositionError: images, labels and network do not fit each other.
        """

        def found(images: Tensor, labels: Tensor | None, clean: Tensor | None) -> Disagreement:
            passed: list[Tensor] = []
            asked = self._asked(network, images, step, module)
            with asked.standing_still(images.device):
                game = self._begin(asked, images, labels, clean)
                parameters = self._search(game, passed=passed)
                with torch.no_grad():
                    moved, fellows = game.comparison.transformed(game.chain, parameters)
            scores = asked.outer(moved, statistics=self.outer_statistics, train=self.outer_train)
            with torch.autocast(device_type=images.device.type, enabled=False):
                judged = game.comparison.compared(game.chain, parameters, scores, fellows)
            _warn_of_nothing(judged.mask)
            loss = judged.divergence.mean()
            return Disagreement(loss, passed[0].mean() if passed else loss.detach())

        check_images(images)
        check_clean(clean, images)
        return outside_inference_mode(found, images, labels, clean)

    def attack(
        self,
        network: Network,
        images: Tensor,
        *,
        step: int | None = None,
        module: nn.Module | None = None,
        labels: Tensor | None = None,
        clean: Tensor | None = None,
    ) -> Attack:
        """The transformation alone, with its divergences before and after; arguments as of a call."""

        def found(images: Tensor, labels: Tensor | None, clean: Tensor | None) -> Attack:
            asked = self._asked(network, images, step, module)
            with asked.standing_still(images.device), torch.no_grad():
                game = self._begin(asked, images, labels, clean)
                starts: list[Parameters] = []
                parameters = self._search(game, starts)
                before, _ = game.judged(starts[-1])
                judged, moved = game.judged(parameters)
            _warn_of_nothing(judged.mask)
            return Attack(
                moved,
                game.chain,
                parameters,
                judged.reference,
                judged.mask,
                before.divergence,
                judged.divergence,
            )

        check_images(images)
        check_clean(clean, images)
        return outside_inference_mode(found, images, labels, clean)

    def drawn(self, chance: Chance) -> tuple[Chain, Sequence[int]]:
        """The chain of a step, and the places of its members among those of the adversary."""
        order = self.rule.choose(len(self._members), chance.of_chain())
        return Chain(tuple(self._members[i] for i in order)), order

    def climb(
        self, order: Sequence[int], start: Parameters, divergence: Callable[[Parameters], Tensor]
    ) -> Parameters:
        """Parameters of a chain where (N,) values are larger than at the start; the start itself for 0 steps."""
        members = [self._members[i] for i in order]
        sizes, power = [self._sizes[i] for i in order], [self._power[i] for i in order]
        return self._ascent.climb(members, start, divergence, sizes=sizes, power=power)

    def _asked(
        self, network: Network, images: Tensor, step: int | None, module: nn.Module | None
    ) -> NetworkPass:
        if step is None:
            step, self.calls = self.calls, self.calls + 1
        require_whole("step", step, 0)
        if module is None and isinstance(network, nn.Module):
            module = network
        return NetworkPass(network, module, self.scores, images.dtype, Chance(self.seed, step))

    def _begin(
        self, asked: NetworkPass, images: Tensor, labels: Tensor | None, clean: Tensor | None
    ) -> Round:
        images = at_least_single(images.detach())
        with torch.no_grad():
            expected = self._expected(asked, images, labels, clean)
        comparison = Comparison(
            images,
            expected,
            self.truth,
            self.reference == "warped",
            self.consistency,
            self.intensity,
            self.region,
            self.ignore_background,
        )
        kept = structures(labels, like=images) if self.anatomy and labels is not None else None
        chain, order = self.drawn(asked.chance)
        return Round(chain, order, asked, comparison, kept, asked.chance.of_parameters(images.device))

    def _expected(
        self, asked: NetworkPass, images: Tensor, labels: Tensor | None, clean: Tensor | None
    ) -> Tensor:
        if (self.truth or self.anatomy) and labels is None:
            option = "truth" if self.truth else "anatomy"
            raise DataError(f"The option {option} of the adversary needs labels, and the call has none.")
        if self.truth and labels is not None and labels.ndim == images.ndim and labels.shape[1] > 1:
            return one_hot(labels, classes=labels.shape[1], like=images)
        scores = asked.quiet(images) if clean is None else at_least_single(clean.detach())
        if not self.truth or labels is None:
            return scores
        return one_hot(labels, classes=scores.shape[1], like=images)

    def _search(
        self, game: Round, starts: list[Parameters] | None = None, passed: list[Tensor] | None = None
    ) -> Parameters:
        """Parameters after the ascent; random starts, and divergences on the way (N,), are added to lists."""

        def draw() -> Parameters:
            with torch.no_grad():
                start = game.chain.draw(game.comparison.clean, generator=game.generator)
            if starts is not None:
                starts.append(start)
            return start

        def climb(start: Parameters) -> Parameters:
            def divergence(phi: Parameters) -> Tensor:
                value = game.judged(phi)[0].divergence
                if passed is not None:
                    passed.append(value.detach())
                return value

            return self.climb(game.order, start, divergence)

        if self.anatomy is None or game.structures is None:
            return climb(draw())
        identity = tuple(member.identity(game.comparison.clean) for member in game.chain.members)
        return self.anatomy.keep(game.chain, game.structures, draw, climb, identity)

    def _each(self, name: str, value: Any) -> list[Any]:
        if not isinstance(value, Sequence):
            return [value] * len(self._members)
        if len(value) != len(self._members):
            raise ConfigError(
                f"{name} has {len(value)} entries for {len(self._members)} members; give one each."
            )
        return list(value)


def _members(preset: str, ndim: int, padding: Outside = "zeros") -> tuple[Member, ...]:
    require_choice("ndim", ndim, (2, 3))
    photometric = [getattr(family, preset)(ndim) for family in (Noise, BiasField)]
    geometric = [getattr(family, preset)(ndim, padding=padding) for family in (Morph, AffineMap)]
    return (*photometric, *geometric)


def _warn_of_nothing(mask: Tensor) -> None:
    if not bool(mask.any()):
        log.warning(
            "No voxel of these images came back from the chain, so that the consistency loss is 0: bounds of geometric "
            "members, or `region`, leave nothing to compare."
        )
