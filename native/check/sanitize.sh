#!/usr/bin/env bash
# Runs the native code under sanitizers. It needs g++ with its sanitizer libraries, and node_modules.
#   native/check/sanitize.sh            thread, then address
#   native/check/sanitize.sh address    every test of the addon under AddressSanitizer and
#                                       UndefinedBehaviorSanitizer: several minutes
#   native/check/sanitize.sh thread     pool, engine and trainer under ThreadSanitizer
#   native/check/sanitize.sh short      what .ci/run checks, under AddressSanitizer and
#                                       UndefinedBehaviorSanitizer: the contract of engines on the widest
#                                       kernels of the machine, and the fuzz tests; about two minutes
# It says so and succeeds without a check where g++ has no sanitizers, or Node no headers.
set -euo pipefail
cd "$(dirname "$0")/../.."
headers=$(node -p 'require("node:path").join(process.execPath, "..", "..", "include", "node")')
sources="native/engine/*.cc native/model/*.cc native/runtime/*.cc native/training/*.cc native/kernels/choose.cc"
addon="native/addon/*.cc"

skip() {
  echo "skipped the sanitizers: $1"
  exit 0
}

# Fails unless g++ can build and run a program with the sanitizer flags $1.
works() {
  local folder
  folder=$(mktemp -d)
  echo 'int main() { return 0; }' >"$folder/empty.cc"
  g++ "$1" "$folder/empty.cc" -o "$folder/empty" >/dev/null 2>&1 && "$folder/empty"
  local result=$?
  rm -rf "$folder"
  return "$result"
}

# Compiles one object. $1: folder, $2: name of the object, $3: source, the rest: flags.
compile() {
  local out=$1 name=$2 source=$3
  shift 3
  g++ -std=c++17 -O1 -g -fPIC -fno-omit-frame-pointer -ffp-contract=off -Inative \
    -I"$headers" "$@" -c "$source" -o "$out/$name.o"
}
export -f compile
export headers

# Kernel sets that are compiled without sanitizers, in less time: those that the tests do not run.
bare=""
# Compiles all sources, those of `extra`, and every kernel set of this architecture, into the folder $1,
# as many at a time as there are cores; the rest: sanitizer flags.
objects() {
  local out=$1 names=(baseline)
  shift
  rm -rf "$out"
  mkdir -p "$out"
  [ "$(uname -m)" = x86_64 ] && names=(baseline avx2 avx2vnni avx512 avx512bf16 avx512vnni)
  {
    for name in "${names[@]}"; do
      local isa=""
      [ "$name" = avx2 ] && isa="-mavx2 -mfma"
      [ "$name" = avx512 ] && isa="-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma"
      [ "$name" = avx2vnni ] && isa="-mavx2 -mfma -mavxvnni"
      [ "$name" = avx512vnni ] && isa="-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx2 -mfma"
      [ "$name" = avx512bf16 ] && isa="-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mavx2 -mfma"
      for source in native/kernels/kernels.cc native/training/training_kernels.cc; do
        [[ $name = *bf16 || $name = *vnni ]] && [ "$source" = native/training/training_kernels.cc ] && continue
        local instruments=$*
        [[ " $bare " = *" $name "* ]] && instruments=-O0
        echo "$out $name-$(basename "${source%.cc}") $source $instruments $isa -DBASIN_ISA=$name"
      done
    done
    for source in $sources $extra; do
      [ "$source" = native/training/training_kernels.cc ] && continue
      echo "$out $(echo "${source%.cc}" | tr / -) $source $*"
    done
  } | xargs -P "$(nproc)" -I{} bash -c 'compile {}'
}

out=build/sanitize/address flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
buildAddress() {
  [ -e "$headers/node_api.h" ] || skip "this Node came without its headers ($headers)"
  works -fsanitize=address,undefined || skip "g++ builds no program with AddressSanitizer here"
  extra=$addon
  objects "$out" $flags
  g++ $flags -shared "$out"/*.o -lpthread -o "$out/basin.node"
}

# Runs tests with the instrumented addon; the arguments are the test runner's. Node itself is not
# instrumented, so the runtimes must be loaded first, and what V8 never frees is not looked at.
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
  works -fsanitize=thread || skip "g++ builds no program with ThreadSanitizer here"
  extra=native/check/stress.cc
  objects "$out" $flags
  g++ $flags "$out"/*.o -lpthread -o "$out/stress"
  TSAN_OPTIONS=halt_on_error=1 "$out/stress"
}

case "${1:-both}" in
  address) address ;;
  thread) thread ;;
  short)
    grep -qsw avx512f /proc/cpuinfo && bare="baseline avx2 avx2vnni"
    buildAddress
    testAddress test/native/native.test.ts -t 'kernels auto'
    testAddress test/native/fuzz.test.ts
    ;;
  both)
    thread
    address
    ;;
  *)
    echo "usage: native/check/sanitize.sh [address | thread | short]" >&2
    exit 2
    ;;
esac
