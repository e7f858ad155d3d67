#!/usr/bin/env bash
# Which lines of the parsers the seeds and the corpus reach: prints a table, and the lines that are missing. Fails below
# FUZZ_COVERAGE (95) percent of all of them together.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
least=${FUZZ_COVERAGE:-95}
out=$PWD/fuzz/coverage
host=$(rustc -vV | sed -n 's/^host: //p')
tools=$(rustc --print sysroot)/lib/rustlib/$host/bin
if [ ! -x "$tools/llvm-cov" ]; then
  rustup component add llvm-tools >&2 || { echo 'llvm-cov is missing: rustup component add llvm-tools' >&2; exit 1; }
fi
rm -rf "$out/profiles"
mkdir -p "$out"
export CARGO_TARGET_DIR=$out/target RUSTFLAGS=-Cinstrument-coverage LLVM_PROFILE_FILE=$out/profiles/%p-%m.profraw
export FUZZ_CORPUS=${FUZZ_CORPUS:-$PWD/fuzz/corpus}
program=$($cargo test --locked --test fuzz_replay --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*fuzz_replay[^"]*\)".*/\1/p')
"$program" control session chain command display input stream >"$out/replay.log" || { tail -n 30 "$out/replay.log" >&2; exit 1; }
"$tools/llvm-profdata" merge -sparse "$out"/profiles/*.profraw -o "$out/all.profdata"
"$tools/llvm-cov" export -format=lcov -instr-profile="$out/all.profdata" "$program" -sources \
  src/vhost_proto/{wire,connection,chain,scm,session,vring,memory}.rs src/gpu/command/*.rs src/gpu/display src/gpu/dialog.rs \
  src/gpu/texel.rs src/gpu/virgl/{stream,bounds}.rs src/gpu/virgl/stream src/input/{config,describe,announced,batch,hold,state,lights,wire}.rs >"$out/lines.lcov"
# The parsers are those whose whole work is bytes that came from outside.
awk -F'[:,]' -v least="$least" -v root="$PWD/" '
  /^SF:/ { file = substr($0, 4); sub(root, "", file); files[++count] = file }
  /^DA:/ { lines[file]++; if ($3 == 0) { missing[file] = missing[file] " " $2 } else { hit[file]++ } }
  END {
    parser = "^src/(vhost_proto/(wire|connection|chain|scm)|gpu/command/|gpu/display/wire|gpu/dialog|gpu/texel|gpu/virgl/(stream|bounds)|input/(config|describe|announced))"
    for (n = 1; n <= count; n++) {
      file = files[n]
      printf "%-34s %5d of %5d lines %6.1f %%  %s%s\n", file, hit[file], lines[file], 100 * hit[file] / lines[file],
        file ~ parser ? "parser" : "", missing[file] ? "  not:" missing[file] : ""
      if (file ~ parser) { all += lines[file]; reached += hit[file] }
    }
    printf "%-34s %5d of %5d lines %6.1f %%\n", "parsers", reached, all, 100 * reached / all
    exit 100 * reached < least * all
  }' "$out/lines.lcov"
