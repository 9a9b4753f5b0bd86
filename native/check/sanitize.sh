#!/usr/bin/env bash
# The native engine under sanitizers; needs g++ with its sanitizer libraries, and node_modules.
#   native/check/sanitize.sh            thread, then address
#   native/check/sanitize.sh address    all tests of the addon (contract suite on every kernel set, comparison
#                                       with tfjs, bits whatever the batch, fuzz, shared pages, training)
#                                       under AddressSanitizer and UndefinedBehaviorSanitizer: some minutes
#   native/check/sanitize.sh thread     pool, engine and trainer under ThreadSanitizer
#   native/check/sanitize.sh short      what continuous integration runs: thread, and of the address part the
#                                       contract suite on the widest kernels and the fuzz
set -euo pipefail
cd "$(dirname "$0")/../.."
headers=$(node -p 'require("node:path").join(process.execPath, "..", "..", "include", "node")')
sources="native/*.cc native/training/*.cc native/kernels/choose.cc"

# One object; $1: folder, $2: its name, $3: source, the rest: flags.
compile() {
  local out=$1 name=$2 source=$3
  shift 3
  g++ -std=c++17 -O1 -g -fPIC -fno-omit-frame-pointer -ffp-contract=off -Wno-maybe-uninitialized -Inative \
    -Inative/kernels -I"$headers" "$@" -c "$source" -o "$out/$name.o"
}
export -f compile
export headers

# Every source, and every kernel set of this machine's architecture, as objects in $1, as many at a
# time as there are cores; the rest: sanitizer flags.
objects() {
  local out=$1 names=(baseline)
  shift
  rm -rf "$out"
  mkdir -p "$out"
  [ "$(uname -m)" = x86_64 ] && names=(baseline avx2 avx512)
  {
    for name in "${names[@]}"; do
      local isa=""
      [ "$name" = avx2 ] && isa="-mavx2 -mfma"
      [ "$name" = avx512 ] && isa="-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma"
      for folder in kernels training; do
        echo "$out $name-$folder native/$folder/kernels.cc $* $isa -DBASIN_ISA=$name"
      done
    done
    for source in $sources; do
      case $source in native/addon.cc | */register.cc | native/training/kernels.cc) continue ;; esac
      echo "$out $(echo "${source%.cc}" | tr / -) $source $*"
    done
    for source in "${extra[@]}"; do echo "$out $(basename "${source%.cc}") $source $*"; done
  } | xargs -P "$(nproc)" -I{} bash -c 'compile {}'
}

out=build/sanitize/address flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
buildAddress() {
  extra=(native/addon.cc native/training/register.cc)
  objects "$out" $flags
  g++ $flags -shared "$out"/*.o -lpthread -o "$out/basin.node"
}

# Arguments: of the test runner. Node itself is not instrumented, so the runtimes must come first; leaks
# are V8's business.
testAddress() {
  LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 BASIN_ADDON="$PWD/$out/basin.node" \
    node node_modules/vitest/vitest.mjs run --testTimeout=3600000 "$@"
}

address() {
  buildAddress
  testAddress test/native test/training-backend
}

thread() {
  local out=build/sanitize/thread flags="-fsanitize=thread"
  extra=(native/check/stress.cc)
  objects "$out" $flags
  g++ $flags "$out"/*.o -lpthread -o "$out/stress"
  TSAN_OPTIONS=halt_on_error=1 "$out/stress"
}

case "${1:-both}" in
  address) address ;;
  thread) thread ;;
  short)
    thread
    buildAddress
    testAddress test/native/native.test.ts -t 'kernels auto'
    testAddress test/native/fuzz.test.ts
    ;;
  both)
    thread
    address
    ;;
esac
