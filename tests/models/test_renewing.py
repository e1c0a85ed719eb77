import pytest
import torch
from torch import nn

from espalier.errors import BadInput
from espalier.factorization import factorize
from espalier.models import architecture_of, build, load, save
from espalier.models.renewing import with_new_weights
from espalier.pruning import prune

IMAGES = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def built(factory, **arguments):
    torch.manual_seed(5)
    return build(factory, classes=10, shape=(3, 32, 32), arguments=arguments).eval()


def renewed(network, seed=1):
    return with_new_weights(architecture_of(network), seed=seed).eval()


CUTS = {
    "channels": lambda network: prune(network, IMAGES, keep_macs=0.5, align=1),
    "blocks": lambda network: prune(network, IMAGES, keep_macs=0.8, pattern="blocks"),
    "nothing": lambda network: network,
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_renewed_network_has_the_shape_and_no_weight_of_the_cut_one(cut, tmp_path):
    smaller = CUTS[cut](built("espalier:resnet", depth=14, width=8))
    new = renewed(smaller)
    former, own = smaller.state_dict(), new.state_dict()
    assert {name: value.shape for name, value in own.items()} == {
        name: value.shape for name, value in former.items()
    }
    assert architecture_of(new).edits == architecture_of(smaller).edits
    layers = [module for module in new.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    theirs = [module for module in smaller.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    for one, other in zip(layers, theirs, strict=True):
        assert (one.weight != other.weight).all()
    save(new, tmp_path / "new")
    assert torch.equal(load(tmp_path / "new")(IMAGES), new(IMAGES))


def test_weights_follow_from_the_seed_alone():
    smaller = prune(built("espalier:resnet", depth=8, width=8), IMAGES, keep_macs=0.5, align=1)
    first = renewed(smaller)(IMAGES)
    torch.manual_seed(99)
    assert torch.equal(renewed(smaller)(IMAGES), first)
    assert not torch.equal(renewed(smaller, seed=2)(IMAGES), first)


def test_outputs_vary_as_much_as_those_of_the_whole_network():
    """A network without norms, in which each layer would pass on what the one before has lost."""
    whole = built("espalier:mlp", hidden=(128, 128, 128, 128, 128, 128))
    smaller = prune(whole, IMAGES, keep_macs=0.3, align=1)
    new, drawn = renewed(smaller), renewed(whole)
    assert 0.5 < new(IMAGES).std() / drawn(IMAGES).std() < 2


def test_masked_weights_have_no_shape_of_their_own():
    masked = prune(
        built("espalier:resnet", depth=8, width=8), IMAGES, sparsity=0.5, pattern="weights"
    )
    with pytest.raises(BadInput, match="whole groups were removed; found one with masked"):
        renewed(masked)


def test_products_of_low_rank_stay_and_are_drawn_anew():
    smaller = factorize(built("espalier:resnet", depth=8, width=16), IMAGES, keep_macs=0.7)
    new = renewed(smaller)
    assert architecture_of(new).replaced == architecture_of(smaller).replaced != ()
    assert not torch.allclose(new(IMAGES), smaller(IMAGES))
