import pytest
import torch
from torch import Tensor, nn

from wordgaze.core.errors import ModelError
from wordgaze.vision import tagger as module
from wordgaze.vision.class_words import imagenet_words
from wordgaze.vision.encoders import EncoderSpec, NetworkSpec, build_encoder
from wordgaze.vision.networks import Meta
from wordgaze.vision.tagger import Head, Tagger, choose_tag

GOOSE, POLAR_BEAR, BROWN_BEAR, SLOTH_BEAR, TEAPOT = 99, 296, 294, 297, 849


def tiny_tagger(temperature: float = 2.0) -> Tagger:
    """Two networks of 4 and 3 channels, whose classifiers see the channels 0…1 and 4…6."""
    draw = torch.Generator().manual_seed(1)
    heads = [
        Head(torch.randn(1000, size, generator=draw), torch.randn(1000, generator=draw), start)
        for size, start in ((2, 0), (3, 4))
    ]
    return Tagger(heads, channels=7, temperature=temperature)


def probabilities(**classes: float) -> Tensor:
    """Of one image; what remains is spread over the classes that were not given."""
    given = {int(name.removeprefix("c")): value for name, value in classes.items()}
    table = torch.full((1000,), (1 - sum(given.values())) / (1000 - len(given)))
    for index, value in given.items():
        table[index] = value
    return table


def test_probabilities_are_the_geometric_mean_of_the_networks() -> None:
    tagger, features = tiny_tagger(), torch.randn(3, 6, 7)
    means = features.mean(1)
    first = means[:, :2] @ tagger.heads[0].weight.T + tagger.heads[0].bias
    second = means[:, 4:] @ tagger.heads[1].weight.T + tagger.heads[1].bias
    product = (first.softmax(1) * second.softmax(1)) ** (1 / (2 * tagger.temperature))
    torch.testing.assert_close(tagger.probabilities(features), product / product.sum(1, keepdim=True))


def test_tensors_round_trip() -> None:
    tagger, features = tiny_tagger(), torch.randn(2, 6, 7)
    loaded = Tagger.load(tagger.tensors())
    assert loaded is not None
    torch.testing.assert_close(loaded.probabilities(features), tagger.probabilities(features), rtol=0.01, atol=1e-4)
    assert all(torch.equal(loaded.tensors()[name], value) for name, value in tagger.tensors().items())
    assert Tagger.load({}) is None


def test_features_of_another_encoder_are_refused() -> None:
    with pytest.raises(ModelError, match="features of 8 channels do not fit classifiers for 7"):
        tiny_tagger().probabilities(torch.randn(1, 6, 8))


class Pooled(nn.Module):
    """A classifier as timm has it: features, mean over the grid, linear layer."""

    def __init__(self, num_classes: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.conv, self.fc, self.scale = nn.Conv2d(3, 5, 16, 16), nn.Linear(5, num_classes), scale

    def forward_intermediates(self) -> None:
        """Marks a network of timm."""

    def reset_classifier(self, num_classes: int) -> None:
        self.fc = nn.Identity()

    def forward_features(self, pixels: Tensor) -> Tensor:
        return self.conv(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.fc(self.scale * self.forward_features(pixels).mean((2, 3)))


def spec_of(*names: str) -> EncoderSpec:
    half = (0.5, 0.5, 0.5)
    networks = tuple(NetworkSpec(name=name, mean=half, std=half, layers=("",), channels=5) for name in names)
    return EncoderSpec(image_size=32, interpolation="bicubic", grid=(2, 2), networks=networks)


def test_the_classifiers_come_from_the_pretrained_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = {"linear": Pooled(1000), "other classes": Pooled(10), "not linear": Pooled(1000, scale=2.0)}
    meta = Meta(32, (0.5,) * 3, (0.5,) * 3, "bicubic")
    monkeypatch.setattr(module, "build_network", lambda name, weights: (networks[name], meta))
    tagger = Tagger.from_networks(spec_of("not linear", "linear", "other classes"))
    assert tagger is not None
    assert [head.start for head in tagger.heads] == [5] and tagger.channels == 15
    torch.testing.assert_close(tagger.heads[0].weight, networks["linear"].fc.weight)
    assert Tagger.from_networks(spec_of("not linear", "other classes")) is None


def test_a_network_with_one_size_of_images_is_tried_with_that(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed(Pooled):
        def forward_features(self, pixels: Tensor) -> Tensor:
            assert pixels.shape[2:] == (48, 48), "Input size doesn't match model"
            return super().forward_features(pixels)

    network, meta = Fixed(1000), Meta(48, (0.5,) * 3, (0.5,) * 3, "bicubic")
    monkeypatch.setattr(module, "build_network", lambda name, weights: (network, meta))
    assert Tagger.from_networks(spec_of("fixed")) is not None


def test_the_default_encoder_has_a_classifier() -> None:
    encoder = build_encoder("timm/tf_efficientnet_lite0", "default", image_size=64)
    tagger = Tagger.from_networks(encoder.spec)
    assert tagger is not None
    probabilities = tagger.probabilities(encoder(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)))
    assert probabilities.shape == (1, 1000) and probabilities.sum() == pytest.approx(1)


def test_the_most_specific_word_that_is_sure_enough_is_chosen() -> None:
    sure = choose_tag(probabilities(c296=0.8, c294=0.1))
    assert sure is not None and sure.word == ("polar", "bear")
    unsure = choose_tag(probabilities(c296=0.4, c294=0.3, c297=0.2))  # one of three bears
    assert unsure is not None
    assert (unsure.word, unsure.plural, unsure.article, unsure.group) == (("bear",), ("bears",), "a", "animal")
    assert unsure.probability == pytest.approx(0.9, abs=0.01)
    assert unsure.classes[0] == (("polar", "bear"), pytest.approx(0.4))
    assert choose_tag(torch.full((1000,), 1e-3), threshold=0.7) is None


def test_a_sure_tag_of_a_single_thing_is_more_salient_than_an_unsure_one() -> None:
    sure, unsure = choose_tag(probabilities(c340=0.99)), choose_tag(probabilities(c340=0.52, c560=0.3))
    assert sure is not None and unsure is not None
    assert 0 < unsure.salience < sure.salience < 1


def test_a_word_that_the_captioner_cannot_say_is_not_chosen() -> None:
    tag = choose_tag(probabilities(c99=0.9), known=lambda word: word != ("goose",))
    assert tag is not None and tag.word == ("bird",)
    assert choose_tag(probabilities(c849=0.9), known=lambda word: False) is None


def test_a_tag_knows_what_agrees_with_it_and_what_contradicts_it() -> None:
    tag = choose_tag(probabilities(c99=0.9))
    assert tag is not None
    assert (tag.word, tag.plural) == (("goose",), ("geese",))
    assert ("geese",) in tag.accepted and ("dog",) in tag.rivals
    assert tag.rivals == imagenet_words().rivals(("goose",), "animal")
