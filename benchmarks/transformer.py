"""A transformer decoder with the schedule of transformers, beside the captioner of a finished project.

    python benchmarks/transformer.py [--root .] [--model models/stage2] [--layers 2 3] [--epochs 8 3]

The transformer is that of ``challengers.py``, with a layer of attention among the cells in front, which knows the
relative places of two cells (Shaw et al. 2018). It is trained with a warm-up of an epoch, its own learning rate and
label smoothing, and then with the project's self-critical loss: ``--epochs`` are those of both. Everything else is the
project's: features, captions, search and reranking. Printed are the minutes, and CIDEr of the dev split by greedy
search, beam 5 and ``neighbours``, with the 95 % interval of the difference to the captioner.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, relu

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from challengers import Transformer, TransformerMemory
from choosing import interval

from wordgaze.config.params import Stage2Params, TrainParams, load_params
from wordgaze.data.prepared import Prepared
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_features import caption_features
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.captioner_folder import CaptionerParts
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.document_frequencies import document_frequencies
from wordgaze.models.config import DecoderConfig
from wordgaze.training.batches import BatchLoader
from wordgaze.training.fit import DevScore, TrainingTask, standardise
from wordgaze.training.self_critical import SelfCriticalLoss
from wordgaze.training.train_step import Objective
from wordgaze.training.trainer import Trainer
from wordgaze.vision.feature_store import FeatureStore

SEED, BATCH_SIZE, DECODED = 1, 16, 64
LEARNING_RATES = (4e-4, 5e-5)  # of cross entropy and of the reward
STRATEGIES = {
    "greedy": GenerationConfig(strategy="greedy"),
    "beam 5": GenerationConfig(),
    "neighbours": GenerationConfig(strategy="neighbours", num_beams=40),
}


class GridTransformer(Transformer):
    """With a layer of attention among the cells of the grid, before the words attend to them."""

    def __init__(
        self, config: DecoderConfig, channels: int, vocabulary_size: int, num_layers: int, grid: tuple[int, int]
    ) -> None:
        self.num_layers = num_layers
        super().__init__(config, channels, vocabulary_size)
        width = config.hidden_size
        self.cell_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.cell_qkv, self.cell_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.cell_expand, self.cell_contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        cells = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1]))
        apart = cells[:, None] - cells[None] + torch.tensor(grid) - 1  # (L, L, 2), from 0 on
        self.register_buffer("apart", apart[:, :, 0] * (2 * grid[1] - 1) + apart[:, :, 1], persistent=False)
        self.places = nn.Parameter(torch.zeros(self.num_heads, (2 * grid[0] - 1) * (2 * grid[1] - 1)))

    def encode(self, features: Tensor) -> TransformerMemory:
        cells, rate = super().encode(features).features, self.config.dropout_features
        q, k, v = (
            part.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for part in self.cell_qkv(self.cell_norms[0](cells)).chunk(3, 2)
        )  # (B, heads, L, d)
        energy = q @ k.transpose(2, 3) * q.shape[3] ** -0.5 + self.places[:, self.get_buffer("apart")]
        context = (energy.softmax(3) @ v).transpose(1, 2).flatten(2)
        cells = cells + dropout(self.cell_out(context), rate, self.training)
        hidden = self.cell_contract(relu(self.cell_expand(self.cell_norms[1](cells))))
        cells = self.cell_norms[2](cells + dropout(hidden, rate, self.training))
        return TransformerMemory(cells, tuple(block.cross_key_value(cells) for block in self.blocks))


def train(task: TrainingTask, model: GridTransformer, epochs: tuple[int, int], reward: Stage2Params) -> None:
    """Cross entropy, and then the reward."""
    standardise(model, task.store, task.images())  # type: ignore[arg-type]
    dev_score = DevScore(task.prepared, 0, task.max_words)
    steps = len(task.images()) // BATCH_SIZE
    own = {"epochs": epochs[0], "learning_rate": LEARNING_RATES[0], "warmup_steps": steps, "doubly_stochastic": 0.0}
    xe = task.settings.model_copy(update=own)
    scst = reward.model_copy(update={"epochs": epochs[1], "learning_rate": LEARNING_RATES[1]})
    loss = SelfCriticalLoss(task.prepared.vocabulary, task.prepared.captions["train"], reward, task.max_words)
    stages: list[tuple[TrainParams, Objective]] = [(xe, Objective()), (scst, Objective(0.0, loss))]
    for settings, objective in stages:
        batches = BatchLoader(task.examples(), task.store, BATCH_SIZE, SEED)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "checkpoint.safetensors"
            Trainer(
                model, batches, lambda trained: dev_score(trained, task.store), settings, SEED, checkpoint,  # type: ignore[arg-type]
                objective=objective,
            ).train(show, lambda *_: None)  # fmt: skip


def show(row: dict[str, float]) -> None:
    print("  " + ", ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)


def scores(model: Any, parts: CaptionerParts, prepared: Prepared, store: FeatureStore) -> dict[str, Tensor]:
    """CIDEr of each dev image by each strategy."""
    images, references = prepared.references("dev")
    cider = Cider(references, document_frequencies(references))
    found = {}
    for name, config in STRATEGIES.items():
        captions = caption_features(model, prepared.vocabulary, store, images, config, DECODED, parts=parts)
        found[name] = torch.tensor(cider.reward(range(len(images)), [best.words for best, *_ in captions]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--model", type=Path, default=Path("models/stage2"))
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--epochs", type=int, nargs=2, default=(8, 3))
    args = parser.parse_args()
    captioner, params = Captioner.load(args.root / args.model, "cpu"), load_params(args.root / "params.yaml")
    prepared, store = Prepared.load(args.root / "data/prepared"), FeatureStore(args.root / "data/features")
    parts = CaptionerParts(neighbours=captioner.parts.neighbours)
    known = scores(captioner.decoder, parts, prepared, store)
    for name, of_images in known.items():
        print(f"{args.model} {name:10} {of_images.mean():.4f}", flush=True)
    settings = params.train_stage1.model_copy(update={"max_train_images": 0})
    task = TrainingTask(prepared, store, params.model, settings, params.prepare.max_words, SEED)
    for layers in args.layers:
        torch.manual_seed(SEED)
        model = GridTransformer(params.model, store.spec.channels, len(prepared.vocabulary), layers, store.spec.grid)
        started = time.perf_counter()
        train(task, model, tuple(args.epochs), params.train_stage2)
        print(f"{layers} layers, {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)
        for name, of_images in scores(model.eval(), parts, prepared, store).items():
            difference = of_images - known[name]
            low, high = interval(difference)
            print(
                f"  {name:10} {of_images.mean():.4f} ({difference.mean():+.4f}, {low:+.4f} to {high:+.4f})", flush=True
            )


if __name__ == "__main__":
    main()
