"""Any CNN of timm and torchvision becomes a grid of features, and the same ones when it is built from what is stored."""

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

from wordgaze.errors import ModelError
from wordgaze.vision.encoders import Encoder, build_encoder, encoder_from_spec, fold_batch_norm

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


def norms(encoder: Encoder) -> int:
    return sum(isinstance(module, torch.nn.BatchNorm2d) for module in encoder.modules())


@pytest.mark.parametrize(("name", "weights"), [(LITE0, "default"), ("torchvision/resnet18", "random")])
def test_batch_norm_folded_into_the_convolutions_changes_nothing(name: str, weights: str) -> None:
    encoder = build_encoder(name, weights, image_size=96)
    encoder = encoder if weights == "default" else lived_in(encoder)
    with torch.inference_mode():
        before = encoder(pixels(96))
        fold_batch_norm(encoder.body)
        after = encoder(pixels(96))
    assert norms(encoder) == 0
    assert float(before.abs().max()) > 0.1
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_the_fast_encoder_gives_the_features_of_the_plain_one() -> None:
    encoder = lived_in(build_encoder(TINY, "random", image_size=64))
    with torch.inference_mode():
        plain = encoder(pixels(64))
        fast, half = (encoder.optimised(CPU, dtype) for dtype in (torch.float32, torch.bfloat16))
        torch.testing.assert_close(fast(pixels(64)), plain, atol=1e-4, rtol=1e-4)
        rough = half(pixels(64))
    assert rough.dtype == torch.bfloat16
    assert float((rough.float() - plain).norm() / plain.norm()) < 0.05


def test_the_packaged_weights_are_the_ones_that_imagenet_taught() -> None:
    encoder = build_encoder(LITE0, image_size=64)
    random = build_encoder(LITE0, "random", image_size=64)
    assert (encoder.spec.mean, encoder.spec.std, encoder.spec.interpolation) == ((0.5,) * 3, (0.5,) * 3, "bicubic")
    assert (encoder.spec.grid, encoder.spec.channels) == ((2, 2), 1280)
    assert build_encoder(LITE0).spec.image_size == 224
    first = encoder.body.get_submodule("conv_stem")
    assert not torch.equal(first.weight, random.body.get_submodule("conv_stem").weight)
    assert float(encoder.body.get_submodule("bn1").running_var.std()) > 0


def test_the_last_grid_of_a_torchvision_network_is_found() -> None:
    encoder = build_encoder("torchvision/resnet50", "random")
    assert (encoder.spec.image_size, encoder.spec.grid, encoder.spec.channels) == (224, (7, 7), 2048)
    with torch.inference_mode():
        assert encoder(pixels(224, 1)).shape == (1, 49, 2048)


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
    with pytest.raises(ModelError, match=r"features\.grid \(5\) is finer than the 4x4 grid of timm/test_efficientnet"):
        build_encoder(TINY, "random", 128, grid=5)


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
    own = encoder.body.state_dict()
    assert all(torch.equal(own[key], value) for key, value in model.state_dict().items() if key in own)
    other = build_encoder(library, "random", 64).body.state_dict()
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
        with pytest.raises(ModelError, match=f"{file.name} holds no weights for EfficientNet") as caught:
            build_encoder(TINY, str(file))
        assert "\n" not in str(caught.value)
    assert not ran.exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04"])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_file_that_holds_no_weights_is_named(tmp_path: Path, content: bytes, ending: str) -> None:
    (tmp_path / f"weights{ending}").write_bytes(content)
    with pytest.raises(ModelError, match=rf"weights\{ending} holds no weights for EfficientNet"):
        build_encoder(TINY, str(tmp_path / f"weights{ending}"))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"other\.pth holds no weights for EfficientNet: Error.* in loading"):
        build_encoder(TINY, str(tmp_path / "other.pth"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("timm/resnt50", r"'timm/resnt50' is unknown to timm; near it: .*resnet50"),
        ("torchvision/resnt50", r"'torchvision/resnt50' is unknown to torchvision; near it: .*resnet50"),
        ("torchvision/xyz", r"near it: none; see the models of torchvision"),
        ("keras/resnet50", r"'keras/resnet50' is unknown: features\.encoder is torchvision/NAME or timm/NAME"),
        ("resnet50", r"'resnet50' is unknown"),
        ("timm/test_vit", r"VisionTransformer gives no grid of features"),
    ],
)
def test_an_encoder_that_cannot_be_had_is_told_with_those_near_it(name: str, told: str) -> None:
    with pytest.raises(ModelError, match=told) as caught:
        build_encoder(name, "random")
    assert "\n" not in str(caught.value)


def test_a_missing_file_of_weights_is_named() -> None:
    with pytest.raises(ModelError, match=r"features\.weights: no file nowhere\.pth; give default, random or a file"):
        build_encoder(TINY, "nowhere.pth")


def test_pictures_too_small_for_the_network_are_told() -> None:
    with pytest.raises(ModelError, match=r"torchvision/alexnet takes no pictures of 32 pixels: .*too small"):
        build_encoder("torchvision/alexnet", "random", 32)


def test_weights_that_cannot_be_downloaded_are_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the port where nobody answers
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the proxies of its first call
    with pytest.raises(ModelError, match=r"default weights of torchvision/resnet18 cannot be had: .*local file"):
        build_encoder("torchvision/resnet18")
