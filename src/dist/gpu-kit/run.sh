#!/bin/sh
# The GPU kit: runs on a machine that has only NVIDIA's driver and the CUDA libraries (libnvrtc, libcublasLt).
#     ./run.sh                   all tests that need a GPU; a missing GPU is a failure
#     ./run.sh multi             all tests that need two GPUs or more, and what these exchange
#     ./run.sh test CLASS...     these test classes, e.g. org.transnormer.cuda.CudaFacadeTest
#     ./run.sh verify            the golden files, in both types, by the path that trains and by its parts
#     ./run.sh bench             the tables of the README's part on a GPU
#     ./run.sh tnl ARGS...       the program, e.g. ./run.sh tnl doctor
# TNL_JAVA_OPTS adds JVM options, e.g. -Dtnl.trace.cuda or -Dtnl.cuda.path=/opt/cuda/lib64 (folders of the libraries).
set -u
cd "$(dirname -- "$0")" || exit 3

verify() {
    status=0
    for dtype in f32 bf16; do
        for path in "" --unfused; do
            bin/tnl verify --backend cuda --dtype $dtype $path golden-tests/official/*.safetensors \
                golden-tests/model/*.safetensors || status=$?
        done
    done
    return $status
}

bench() {
    gpu="--backend cuda --seconds 2"
    step="bin/tnl bench step $gpu --separate-head"
    bin/tnl bench attention $gpu --heads 16 --head-dim 128 --shape 8x2048,2x8192,1x32768,1x131072 &&
        $step --preset 385M --batch 8 --sequence 2048 --profile &&
        $step --preset 1B --batch 8 --sequence 2048 --profile &&
        $step --preset 385M --batch 16 --sequence 2048 &&
        $step --preset 385M --batch 16 --sequence 2048 --recompute glu &&
        $step --preset 385M --batch 64 --sequence 2048 --recompute glu &&
        $step --preset 385M --batch 16 --sequence 8192 --recompute glu &&
        $step --preset 385M --batch 4 --sequence 32768 --recompute glu &&
        $step --preset 385M --batch 1 --sequence 131072 --recompute glu &&
        bin/tnl bench decode $gpu --preset 1B --separate-head --position 100,100000 &&
        bin/tnl bench decode $gpu --preset 385M --separate-head --position 100,100000
}

multi() {
    tests test-classes/ gpus && bin/tnl bench collectives --dtype f32 --seconds 1
}

tests() {
    mkdir -p target || exit 3  # jqwik keeps its database there
    runtime/bin/java -XX:Tier3DelayOn=10000 -XX:+UseSerialGC -Dtnl.requireGpu=true ${TNL_JAVA_OPTS-} \
        -cp 'lib/*:test-lib/*:test-classes' org.transnormer.testing.TestRun "$@"
}

case ${1-} in
    tnl)
        shift
        exec bin/tnl "$@" ;;
    verify | bench | multi)
        "$1"
        exit ;;
    test)
        shift
        tests "$@" ;;
    "")
        tests test-classes/ gpu ;;
    *)
        sed -n '2,9p' "$0" >&2
        exit 2 ;;
esac
