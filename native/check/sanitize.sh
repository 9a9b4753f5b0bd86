#!/usr/bin/env bash
# The native engine under sanitizers; needs g++ with its sanitizer libraries, and node_modules.
#   native/check/sanitize.sh            both
#   native/check/sanitize.sh address    contract suite, comparison with tfjs and fuzz under
#                                       AddressSanitizer and UndefinedBehaviorSanitizer
#   native/check/sanitize.sh thread     pool and engine under ThreadSanitizer
set -euo pipefail
cd "$(dirname "$0")/../.."
out=build/sanitize
mkdir -p "$out"
headers=$(node -p 'require("node:path").join(process.execPath, "..", "..", "include", "node")')
flags="-std=c++17 -O1 -g -fPIC -fno-omit-frame-pointer -ffp-contract=off -Wno-maybe-uninitialized -Inative -Inative/kernels"
sources="native/descent.cc native/engine.cc native/model.cc native/network.cc native/pool.cc native/vocabulary.cc native/weights.cc native/kernels/choose.cc"
training="native/training/duals.cc native/training/moves.cc native/training/product.cc native/training/reductions.cc native/training/register.cc native/training/trainer.cc"

# Every kernel set of this machine's architecture, as objects in $out; $1: sanitizer flags.
kernels() {
  local names=(baseline)
  [ "$(uname -m)" = x86_64 ] && names=(baseline avx2 avx512)
  objects=()
  for name in "${names[@]}"; do
    local isa=""
    [ "$name" = avx2 ] && isa="-mavx2 -mfma"
    [ "$name" = avx512 ] && isa="-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma"
    for folder in kernels training; do
      g++ $flags $1 $isa -DBASIN_ISA="$name" -c "native/$folder/kernels.cc" -o "$out/$name-$folder.o"
      objects+=("$out/$name-$folder.o")
    done
  done
}

address() {
  local sanitizers="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
  kernels "$sanitizers"
  g++ $flags $sanitizers -shared -I"$headers" native/addon.cc $sources $training "${objects[@]}" -lpthread -o "$out/basin.node"
  # Node itself is not instrumented, so the runtimes must come first; leaks are V8's business.
  LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 BASIN_ADDON="$PWD/$out/basin.node" \
    node node_modules/vitest/vitest.mjs run test/native test/training-backend
}

thread() {
  local sanitizers="-fsanitize=thread"
  kernels "$sanitizers"
  g++ $flags $sanitizers native/check/stress.cc $sources "${objects[@]}" -lpthread -o "$out/stress"
  TSAN_OPTIONS=halt_on_error=1 "$out/stress"
}

case "${1:-both}" in
  address) address ;;
  thread) thread ;;
  both)
    thread
    address
    ;;
esac
