"""The speed of the stage features on several ranks compared with one process, and whether the files are the same.

    python benchmarks/feature_ranks.py [--devices 2] [--threads 2] [--images 400] [--device cuda]

Photographs with a random smooth content are encoded by one process with all threads, and by ranks that divide the
threads, without the time to start the processes and to build the encoder.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from features import photographs

from wordgaze.config.params import FeaturesParams
from wordgaze.core.checksums import read_checksums
from wordgaze.distributed.launch import started_ranks
from wordgaze.distributed.ranks import Ranks
from wordgaze.vision.encoders import build_encoder
from wordgaze.vision.feature_extraction import extract_features
from wordgaze.vision.picture_keys import PictureKeys, read_keys


def compute(ranks: Ranks, settings: FeaturesParams, raw: Path, folder: Path, threads: int) -> tuple[float, float]:
    """Computes as one of the ranks; returns the seconds, without those of starting, and those of the processors."""
    torch.set_num_threads(threads)
    ranks = Ranks(ranks.rank, ranks.world_size, ranks.local_world_size, ranks.store, find_ended=ranks.find_ended)
    encoder = build_encoder(settings.encoder, settings.weights)
    ranks.join({}, torch.device(settings.device))
    ranks.all_gather(None)
    started, started_cpu = time.perf_counter(), time.process_time()
    names = sorted(path.name for path in raw.iterdir())
    pictures = PictureKeys.of(names, read_keys(raw, names, ranks), settings.shard_size)
    extract_features(encoder, settings, raw, pictures, folder, ranks=ranks)
    seconds = time.perf_counter() - started
    return seconds, sum(ranks.all_gather(time.process_time() - started_cpu))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of all ranks together")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--encoder", default="timm/tf_efficientnet_lite0")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    print(f"{args.images} images, {args.encoder}, {args.threads} threads, {args.device}")
    with tempfile.TemporaryDirectory() as work:
        raw = Path(work) / "raw"
        raw.mkdir()
        for number, content in enumerate(photographs(args.images)):
            (raw / f"{number:05d}.jpg").write_bytes(content)
        for repeat in range(args.repeats):
            checksums = []
            for devices in (1, args.devices):
                folder = Path(work) / f"{devices}-{repeat}"
                settings = FeaturesParams.model_validate(
                    {"encoder": args.encoder, "shard_size": 16, "device": args.device, "devices": devices}
                )
                main_of_rank = partial(compute, settings=settings, raw=raw, folder=folder, threads=args.threads)
                with started_ranks(settings, main_of_rank) as ranks:
                    seconds, cpu = main_of_rank(ranks)
                checksums.append(read_checksums(folder))
                shown = f"{args.images / seconds:7.1f} images/s, {1e3 * cpu / args.images:5.1f} ms of CPU each"
                print(f"{devices} rank(s) {shown}", flush=True)
            if checksums[0] != checksums[1]:
                raise SystemExit("the ranks have written other features than one process")


if __name__ == "__main__":
    main()
