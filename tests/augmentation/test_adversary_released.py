"""Numbers of the released code: the same divergence before and after a step, and the same gradient of the weights.

They were made on a CPU in November 2026 by cherise215/advchain at ed5cd70 (January 2023) and 870cd2f (August 2021),
`ComposeAdversarialTransformSolver`, with images, network and parameters of `analytic_segmentation`: the consistency
loss at those parameters, the loss after `optimizing_transform` with one step of size 1, and the norm of its gradient
in the first weights. Of ed5cd70 imports of OpenCV and `np.Inf` were replaced, of 870cd2f an import of sqlalchemy, and
`cuda()` did nothing. All defects of the releases are switched on here.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from analytic_segmentation import AnalyticNet, images, parameters

from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.affine import AffineMap
from medreg.augmentation.bias import BiasField
from medreg.augmentation.chain_rule import ChainRule
from medreg.augmentation.morph import Morph
from medreg.augmentation.noise import Noise
from medreg.losses.segmentation.consistency import Consistency

# members in order, divergence (always with 0.5 contour): at the parameters, after one step, norm of the gradient
RELEASE_2023 = [
    ("noise kl", 0.0031371, 0.0393643, 0.113950),
    ("bias kl", 0.0012921, 0.0080809, 0.031698),
    ("morph kl", 0.0190538, 0.0580194, 0.016950),
    ("affine kl", 0.0663776, 0.0952711, 0.066157),
    ("noise-bias-morph-affine mse", 0.0219298, 0.0363959, 0.023481),
    ("noise-bias-morph-affine kl", 0.0689184, 0.1259843, 0.115923),
    ("affine-bias-noise-morph mse", 0.0215024, 0.0330908, 0.017213),
    ("affine-bias-noise-morph kl", 0.0645021, 0.1315275, 0.115149),
    ("morph-affine mse", 0.0217599, 0.0299298, 0.017743),
    ("morph-affine kl", 0.0689985, 0.1035274, 0.089243),
]
RELEASE_2023_VOLUMES = [
    ("noise kl", 0.0004408, 0.0341985, 0.131190),
    ("bias kl", 0.0001698, 0.0012203, 0.028164),
    ("morph kl", 0.0000501, 0.0014268, 0.014764),
    ("affine kl", 0.0171287, 0.0534549, 0.025933),
    ("noise-bias-morph-affine mse", 0.0167722, 0.0576483, 0.036269),
    ("noise-bias-morph-affine kl", 0.0192363, 0.0604800, 0.035638),
]
# "smart": power iteration for the noise
RELEASE_2021 = [
    ("noise kl plain", 0.0066378, 0.2091951, 0.475392),
    ("bias kl plain", 0.0007178, 0.0055541, 0.011844),
    ("morph kl plain", 0.0119561, 0.0461432, 0.018141),
    ("affine kl plain", 0.0477779, 0.0667840, 0.053879),
    ("noise-bias-morph-affine mse smart", 0.0274723, 0.0604692, 0.049177),
    ("noise-bias-morph-affine mse plain", 0.0274723, 0.0563942, 0.063811),
    ("noise-bias-morph-affine kl smart", 0.0407840, 0.0921642, 0.085340),
    ("noise-bias-morph-affine kl plain", 0.0407840, 0.0823061, 0.106605),
    ("affine-morph-noise-bias mse smart", 0.0253820, 0.0616326, 0.056294),
    ("affine-morph-noise-bias mse plain", 0.0253820, 0.0706045, 0.061829),
    ("affine-morph-noise-bias kl smart", 0.0370915, 0.0911599, 0.103036),
    ("affine-morph-noise-bias kl plain", 0.0370915, 0.1085248, 0.096026),
]

FAMILIES_2023 = {
    "noise": Noise.release(2),
    "bias": BiasField.release(2, spacing=0.5, shift="never"),
    "morph": Morph.release(2, in_place=True, stride=8),
    "affine": AffineMap.release(2, coordinates="normalised"),
}
FAMILIES_2023_VOLUMES = {
    "noise": Noise.release(3),
    "bias": BiasField.release(3, spacing=0.5, shift="never", downscale=2),
    "morph": Morph.release(3, in_place=True, stride=(4, 4, 2)),
    "affine": AffineMap.release(3, coordinates="normalised"),
}
FAMILIES_2021 = {
    "noise": Noise.paper(2),
    "bias": BiasField.paper(2, spacing=0.5, shift="never", projection="sphere", clip=False),
    "morph": Morph.paper(2, in_place=True),
    "affine": AffineMap.paper(2, coordinates="normalised"),
}


@dataclass(frozen=True)
class AtWaves:
    """A member that starts from the kept parameters."""

    kind: str
    member: object

    def __getattr__(self, name):
        return getattr(self.member, name)

    def draw(self, image, *, generator):
        return parameters(self.kind, self.member, image.cpu()).to(image)


def check(row, families, preset, shape, **defects):
    case, fixed, after, gradient = row
    chain, divergence, *power = case.split()
    kinds = chain.split("-")
    adversary = preset(
        len(shape),
        members=[AtWaves(kind, families[kind]) for kind in kinds],
        rule=ChainRule("fixed"),
        consistency=Consistency(divergence, contour_unmasked=True, **defects),
        projection="last",
        power_iteration=[power == ["smart"] and kind == "noise" for kind in kinds],
    )
    network, x = AnalyticNet(len(shape)), images(shape)
    attack = adversary.attack(network, x)
    assert float(attack.before.mean()) == pytest.approx(fixed, abs=1e-5)
    assert float(attack.after.mean()) == pytest.approx(after, abs=5e-5)
    adversary(network, x).backward()
    # signs and directions of float32 gradients differ a little where they almost vanish
    assert float(network.a.weight.grad.double().norm()) == pytest.approx(gradient, rel=0.02)


@pytest.mark.parametrize("row", RELEASE_2023, ids=lambda row: row[0])
def test_release_of_2023(row):
    check(row, FAMILIES_2023, AdvChain.release, (48, 40), mse_released=True)


@pytest.mark.parametrize("row", RELEASE_2023_VOLUMES, ids=lambda row: row[0])
def test_release_of_2023_on_volumes(row):
    check(row, FAMILIES_2023_VOLUMES, AdvChain.release, (24, 20, 12), mse_released=True, sobel_released=True)


@pytest.mark.parametrize("row", RELEASE_2021, ids=lambda row: row[0])
def test_code_of_the_paper(row):
    check(row, FAMILIES_2021, AdvChain.paper, (48, 40))


def test_the_numbers_tell_defects_apart():
    """Without its switch a row of the release is missed by far more than the tolerance."""
    case, fixed, *_ = RELEASE_2023[-1]
    right = {**FAMILIES_2023, "morph": Morph.release(2, stride=8), "affine": AffineMap.release(2)}
    kinds = case.split()[0].split("-")
    adversary = AdvChain.release(
        2, members=[AtWaves(kind, right[kind]) for kind in kinds], rule=ChainRule("fixed"), steps=0
    )
    found = float(adversary.attack(AnalyticNet(2), images((48, 40))).after.mean())
    assert abs(found - fixed) > 1e-3
    assert torch.isfinite(torch.tensor(found))


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(48, 40), (24, 20, 12)])
def test_a_gpu_finds_the_same_divergence(shape):
    families = FAMILIES_2021 if len(shape) == 2 else FAMILIES_2023_VOLUMES
    adversary = AdvChain.paper(
        len(shape), members=[AtWaves(*item) for item in families.items()], rule=ChainRule("fixed"), steps=0
    )
    found = [
        float(adversary.attack(AnalyticNet(len(shape)).to(device), images(shape).to(device)).after.mean())
        for device in ("cpu", "cuda")
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    network, x = AnalyticNet(len(shape)).cuda(), images(shape).cuda()
    loss = AdvChain.paper(len(shape), steps=2)(network, x)
    loss.backward()
    assert network.a.weight.grad.isfinite().all()
