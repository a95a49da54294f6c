"""Hours, bytes and money of the pipeline for larger data sets on larger machines, simulated from measured coefficients.

    python benchmarks/scale_plan.py [--coefficients benchmarks/scale_plan.toml] [--output benchmarks/scale_plan.md]

The stages that pass over images are queues of shards of 256: each shard goes from the bucket to a core, to a GPU where
there is one, and to a disk, and waits where all servers are busy. A training step lasts as long as its slowest rank,
then the gradients are summed; after each epoch rank 0 decodes the dev split alone. Times of shards and steps vary as
measured ones do. The resource that is busy for the longest share of a stage is its bottleneck. The tables are those of
docs/explanation/scale.md.
"""

import argparse
import heapq
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).parent
SHARD = 256  # images
SIMULATED_SHARDS, SIMULATED_STEPS = 20_000, 200  # more of them are extrapolated
MINUTE, HOUR, DAY, YEAR = 60.0, 3600.0, 86400.0, 365 * 86400.0


@dataclass(frozen=True)
class Machine:
    """``nodes`` machines; ``cores``, ``gpus``, bytes/s of the ``network`` and bytes of ``memory`` are those of one."""

    name: str
    nodes: int
    cores: int
    gpus: int
    network: float
    memory: float

    def hourly(self, cost: Mapping[str, float]) -> float:
        """Dollars an hour."""
        gpus = self.nodes * self.gpus
        return gpus * cost["gpu_hour"] if gpus else self.nodes * self.cores * cost["core_hour"]

    def one_node(self) -> "Machine":
        """The machine that a stage has which does not divide its work among several."""
        return replace(self, nodes=1)


@dataclass(frozen=True)
class Data:
    """A data set; ``bytes`` of one image, ``epochs`` of both training stages."""

    name: str
    images: int
    captions: int
    bytes: float
    epochs: Sequence[float]
    step_images: int
    dev_images: int


@dataclass
class Stage:
    """Seconds of a stage, and for how long each resource was busy."""

    name: str
    seconds: float
    busy: dict[str, float] = field(default_factory=dict)

    @property
    def bottleneck(self) -> str:
        """The resource that was busy longest."""
        return max(self.busy, key=lambda resource: self.busy[resource])


@dataclass(frozen=True)
class Station:
    """A resource of ``servers``, each of which needs ``seconds`` for a shard."""

    resource: str
    servers: int
    seconds: float


def run_shards(name: str, images: int, stations: Sequence[Station], spread: float) -> Stage:
    """Passes all shards through the stations in order, as many at a time as each has servers."""
    draw, shards = random.Random(name), max(1, -(-images // SHARD))
    simulated = min(shards, max(SIMULATED_SHARDS, 4 * max(station.servers for station in stations)))
    free = [[0.0] * station.servers for station in stations]
    busy, end = dict.fromkeys((station.resource for station in stations), 0.0), 0.0
    for _ in range(simulated):
        ready = 0.0
        for station, servers in zip(stations, free, strict=True):
            seconds = station.seconds * max(0.0, draw.gauss(1, spread))
            ready = max(ready, servers[0]) + seconds
            heapq.heapreplace(servers, ready)
            busy[station.resource] += seconds / station.servers
        end = max(end, ready)
    more = shards / simulated
    return Stage(name, end * more, {resource: seconds * more for resource, seconds in busy.items()})


def stations(
    data: Data, machine: Machine, k: Mapping[str, float], core: float, gpu: float, written: float
) -> Iterator[Station]:
    """The resources of a stage that reads pictures: ``core`` and ``gpu`` seconds and ``written`` bytes an image."""
    yield Station("network", machine.nodes, SHARD * data.bytes / machine.network)
    yield Station("cores", machine.nodes * machine.cores, SHARD * core)
    if machine.gpus:
        yield Station("GPUs", machine.nodes * machine.gpus, SHARD * gpu)
    yield Station("disk", machine.nodes, SHARD * written / k["disk_bytes"])


def train(name: str, data: Data, machine: Machine, k: Mapping[str, float], seconds: str, epochs: float) -> Stage:
    """A training stage; ``seconds`` names the coefficients of a caption."""
    devices, kind = (machine.gpus, "gpu") if machine.gpus else (machine.cores, "core")
    ranks = min(machine.nodes * devices, data.step_images)
    captions, draw = data.captions * data.step_images, random.Random(name)
    slowest = [max(draw.gauss(1, k["step_spread"]) for _ in range(ranks)) for _ in range(SIMULATED_STEPS)]
    compute = captions / ranks * k[f"{seconds}_{kind}"] * sum(slowest) / len(slowest)
    read = data.step_images * k["feature_bytes"] / k["disk_bytes"] / machine.nodes
    link = machine.network if machine.nodes > 1 else k["nccl_bytes"] if machine.gpus else k["gloo_bytes"]
    reduce = 2 * (ranks - 1) / ranks * k["gradient_bytes"] / link
    steps = epochs * data.images / data.step_images
    dev = epochs * data.dev_images * k[f"greedy_{kind}"] / (1 if machine.gpus else machine.cores)
    resource = f"{'GPUs' if machine.gpus else 'cores'}, {ranks} {'rank' if ranks == 1 else 'ranks'}"
    busy = {resource: steps * compute, "disk": steps * read, "all_reduce": steps * reduce, "dev split on rank 0": dev}
    return Stage(name, steps * (max(compute, read) + reduce) + dev, busy)


def evaluate(data: Data, machine: Machine, k: Mapping[str, float]) -> Stage:
    """The evaluation of the test split, on one machine."""
    decode = data.dev_images * (k["beam_gpu"] if machine.gpus else k["beam_core"] / machine.cores)
    scores = data.dev_images * k["scores_core"]
    return Stage("evaluate", decode + scores, {"decoding": decode, "one core": scores})


def pipeline(data: Data, machine: Machine, k: Mapping[str, float]) -> list[Stage]:
    """The six stages. ``download``, ``prepare`` and ``evaluate`` run on one machine, ``prepare`` on one core."""
    spread, one = k["step_spread"], machine.one_node()
    encode = k["decode_core"] + (0 if machine.gpus else k["encode_core"])
    prepare = data.images * data.captions * k["prepare_core"]
    return [
        run_shards("download", data.images, list(stations(data, one, k, k["decode_core"], 0, data.bytes)), spread),
        Stage("prepare", prepare, {"one core": prepare}),
        run_shards(
            "features",
            data.images,
            list(stations(data, machine, k, encode, k["encode_gpu"], k["feature_bytes"])),
            spread,
        ),
        train("train_stage1", data, machine, k, "train", data.epochs[0]),
        train("train_stage2", data, machine, k, "self_critical", data.epochs[1]),
        evaluate(data, machine, k),
    ]


def caption_all(data: Data, machine: Machine, k: Mapping[str, float]) -> Stage:
    """Captions of all pictures of a bucket by a finished captioner, beam 5, without a feature store."""
    core = k["decode_core"] + (0 if machine.gpus else k["encode_core"] + k["beam_core"])
    gpu = k["encode_gpu"] + k["beam_gpu"]
    return run_shards("caption", data.images, list(stations(data, machine, k, core, gpu, 100)), k["step_spread"])


def duration(seconds: float) -> str:
    """Seconds in the unit that a reader would choose."""
    for size, unit in ((YEAR, "years"), (DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"


def size(count: float) -> str:
    """Bytes in the unit that a reader would choose."""
    for power, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= power:
            return f"{count / power:,.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(settings: Mapping[str, Mapping[str, Mapping[str, object]]]) -> str:
    """All tables."""
    coefficients = {**settings["measured"], **settings["assumed"]}
    k = {name: float(str(coefficient["value"])) for name, coefficient in coefficients.items()}
    sets = [Data(name, **values) for name, values in settings["data"].items()]  # type: ignore[arg-type]
    machines = [Machine(name, **values) for name, values in settings["machines"].items()]  # type: ignore[arg-type]
    parts = ["### Bytes", sizes(sets, k), "### From pictures to scores", times(sets, machines, k)]
    parts += ["### Captions of all pictures by a finished captioner, beam 5", captions(sets, machines, k)]
    parts += ["### What is computed with", sources(settings)]
    return "\n\n".join(parts) + "\n"


def sizes(sets: Sequence[Data], k: Mapping[str, float]) -> str:
    """Bytes on disk and in memory."""
    rows = [
        [
            data.name,
            f"{data.images:,}",
            size(data.images * data.bytes),
            size(data.images * k["feature_bytes"]),
            size(data.images * data.captions * k["prepare_memory"]),
            size(data.images * k["features_memory"]),
        ]
        for data in sets
    ]
    return table(["data", "images", "pictures", "features, int8", "memory of prepare", "memory of features"], rows)


def times(sets: Sequence[Data], machines: Sequence[Machine], k: Mapping[str, float]) -> str:
    """Each stage, the whole, its price, and the next bottleneck."""
    rows = []
    for data in sets:
        memory = data.images * max(data.captions * k["prepare_memory"], k["features_memory"])
        for machine in machines:
            stages = pipeline(data, machine, k)
            total = sum(stage.seconds for stage in stages)
            longest = max(stages, key=lambda stage: stage.seconds)
            reason = f"{longest.name}: {longest.bottleneck}"
            if memory > machine.memory:
                reason = f"memory of one machine ({size(memory)} of {size(machine.memory)}), then {reason}"
            rows.append(
                [
                    data.name,
                    machine.name,
                    *(duration(stage.seconds) if stage.seconds else "–" for stage in stages),
                    duration(total),
                    f"{total / HOUR * machine.hourly(k):,.2f} $",
                    reason,
                ]
            )
    names = [stage.name for stage in pipeline(sets[0], machines[0], k)]
    return table(["data", "machine", *names, "together", "price", "bottleneck"], rows)


def captions(sets: Sequence[Data], machines: Sequence[Machine], k: Mapping[str, float]) -> str:
    """The time and the price of captions for a whole bucket."""
    rows = []
    for data in sets:
        for machine in machines:
            stage = caption_all(data, machine, k)
            price = stage.seconds / HOUR * machine.hourly(k)
            rate = f"{data.images / stage.seconds:,.0f}"
            each = f"{1e6 * price / data.images:.2f} $"
            rows.append([data.name, machine.name, duration(stage.seconds), rate, each, stage.bottleneck])
    return table(["data", "machine", "time", "images/s", "price of a million", "bottleneck"], rows)


def sources(settings: Mapping[str, Mapping[str, Mapping[str, object]]]) -> str:
    """The coefficients, and where each is from."""
    rows = [
        [f"`{name}`", f"{coefficient['value']:g}", str(coefficient["unit"]), kind, str(coefficient["source"])]
        for kind in ("measured", "assumed")
        for name, coefficient in settings[kind].items()
    ]
    return table(["name", "value", "unit", "", "from"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coefficients", type=Path, default=HERE / "scale_plan.toml")
    parser.add_argument("--output", type=Path, help="a file for the tables, which are printed too")
    args = parser.parse_args()
    tables = report(tomllib.loads(args.coefficients.read_text(encoding="utf-8")))
    if args.output:
        args.output.write_text(tables, encoding="utf-8")
    print(tables, end="")


if __name__ == "__main__":
    main()
