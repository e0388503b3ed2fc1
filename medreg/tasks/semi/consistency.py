"""Images without labels: predictions must agree under what the adversary does (AdvChain, semi-supervised)."""

from __future__ import annotations

from torch import Tensor, nn

from medreg.augmentation.consistency_term import ConsistencyTerm
from medreg.augmentation.ramp import linear
from medreg.augmentation.training import TrainingAugmentation
from medreg.errors import CompositionError
from medreg.losses.segmentation.consistency import Consistency
from medreg.tasks.moment import Moment
from medreg.tasks.semi.base import SemiSupervision, Unlabelled


class AdversarialConsistency(SemiSupervision):
    """λ_u D between the prediction and that of the image transformed by the adversary of the augmentation.

    Labelled and unlabelled batches have chains and parameters of their own. Source: Chen et al. 2022, released
    experiment script.

    Args:
        consistency: D of images without labels; None: that of the labelled ones.
        ramp_labelled: whether the consistency of the labelled images grows alike.
        **options: as in `SemiSupervision`.
    """

    def __init__(self, *, consistency: Consistency | None, ramp_labelled: bool, **options: float) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.consistency, self.ramp_labelled = consistency, ramp_labelled
        self.term: ConsistencyTerm | None = None

    def prepare(self, model: nn.Module, augmentation: TrainingAugmentation | None) -> None:
        """Take the adversary of the augmentation.

        Raises:
            CompositionError: it has none.
        """
        if augmentation is None or augmentation.consistency is None:
            raise CompositionError(
                "semi=consistency needs an augmentation under which predictions must agree: augmentation=advchain, "
                "random_chain or vat, for example. semi=mean_teacher works with any."
            )
        term = augmentation.consistency
        self.term = term if self.consistency is None else term.comparing(self.consistency)

    def share_of_labelled(self, epoch: int) -> float:
        """Return min((epoch + 1) / ramp_epochs, 1), epochs of the adversary, where the labelled part is ramped."""
        return self._share(epoch) if self.ramp_labelled else 1.0

    def compared(self, image: Tensor, moment: Moment) -> Unlabelled:
        """Return λ_u D, and D before and after the ascent."""
        assert self.term is not None
        if not self.term.active(moment.epoch):
            return Unlabelled(image.new_zeros(()), {})
        found = self.term(moment.scores, image, step=2 * moment.step + 1, module=moment.model)
        told = {"unlabelled": found.loss, "unlabelled_start": found.before}
        return Unlabelled(self.weight * self._share(moment.epoch) * found.loss, told)

    def _share(self, epoch: int) -> float:
        assert self.term is not None
        return linear(max(epoch - self.term.first_epoch, 0), self.ramp_epochs)
