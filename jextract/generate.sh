#!/usr/bin/env bash
# Regenerates the CUDA bindings from the headers and include lists beside it, with the jextract found on PATH:
#     jextract/generate.sh [folder]      folder: src/main/java unless given
# The headers need nothing else, so the output does not depend on the machine. They are generated without -l: constants
# work with no library present, and functions resolve one by one. Where a CUDA toolkit is, its cuda.h checks driver.h:
#     printf '#include <cuda.h>\n#include "driver.h"\n' | cc -xc -fsyntax-only -I jextract -I /usr/local/cuda/include -
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here/../src/main/java}
command -v jextract >/dev/null || { echo "jextract is not on PATH; jextract/VERSION says which one to build" >&2; exit 3; }

mkdir -p "$out"
rm -rf "$out/org/transnormer/cuda/bindings"
generate() {
    # Relative names: comments in the output must not tell where the repository lies.
    (cd "$here" && jextract --output "$out" --target-package "org.transnormer.cuda.bindings.$1" \
        --header-class-name "$2" "@$1.includes" "$1.h")
    printf '/** %s as jextract generates it: jextract/generate.sh. Never edited; only the facade calls it. */\npackage %s;\n' \
        "$3" "org.transnormer.cuda.bindings.$1" >"$out/org/transnormer/cuda/bindings/$1/package-info.java"
}
out=$(cd "$out" && pwd)
generate driver DriverApi "The CUDA driver"
generate nvrtc NvrtcApi "NVRTC"
generate cublaslt CublasLtApi "cuBLASLt"
generate nccl NcclApi "NCCL"
