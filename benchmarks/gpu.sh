#!/usr/bin/env bash
# Everything that is to be seen on a GPU, on a machine with nothing but PyTorch, torchvision, timm and pytest:
#
#   benchmarks/gpu.sh FILES [--device cpu] [--rehearse]
#
# FILES is the folder that benchmarks/gpu_files.py writes: the packages that such a machine lacks, and a project's images
# and prepared captions. Without a GPU, --device cpu --rehearse runs the same commands at a small scale.
set -u
if [[ ! -d ${1:-}/wheels || ! -d $1/data/raw/images ]]; then
  echo "${1:-nothing} is no folder of benchmarks/gpu_files.py with its zip files unpacked: benchmarks/gpu.sh FILES" >&2
  exit 2
fi
files=$(realpath "$1"); shift
device=cuda rehearse=
while (($#)); do
  case $1 in
    --device) device=$2; shift 2 ;;
    --rehearse) rehearse=--rehearse; shift ;;
    *) echo "unknown option: $1" >&2; exit 2 ;;
  esac
done
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
$python -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$files"/wheels/*.whl || exit 1
export PYTHONPATH=$PWD/src:$PWD:$site PYTHONUNBUFFERED=1 WORDGAZE_TEST_DEVICE=$device
failed=()

part() {  # NAME COMMAND…: runs the command and says how long it took
  local name=$1 started=$SECONDS; shift
  echo "── $name: $*"
  "$@" || failed+=("$name")
  echo "── $name: $((SECONDS - started)) s"
}

best=timm/tf_efficientnet_lite2+timm/tf_efficientnet_lite0
if [[ $rehearse ]]; then
  batches=(8) decoded=(1 8) images=16 steps=18 warmup=2
else
  batches=(8 128 512) decoded=(1 64 1024) images=1024 steps=60 warmup=40
fi
[[ $device = cuda ]] && ranks=gpu || ranks=2
[[ $device = cuda ]] && nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
$python -c 'import os, torch, torchvision; print("torch", torch.__version__, "torchvision", torchvision.__version__, os.cpu_count(), "CPUs")'
part tests $python -m pytest -q --confcutdir=tests/gpu -p no:cacheprovider --basetemp "$site/temporary" tests/gpu
part features $python benchmarks/features.py --device "$device" --batches "${batches[@]}" --depths 3 --encoder $best
part training $python benchmarks/training.py --device "$device" --precision auto --steps $steps
part ranks $python -m torch.distributed.run --standalone --nproc-per-node "$ranks" benchmarks/ranks.py --device "$device" \
  --precision auto --steps $steps --warmup $warmup
part decoding $python benchmarks/decoding.py --device "$device" --batches "${decoded[@]}" --images $images
part recipe $python benchmarks/whole_recipe.py "$files" --device "$device" $rehearse
echo "failed: ${failed[*]:-none}"
((${#failed[@]} == 0))
