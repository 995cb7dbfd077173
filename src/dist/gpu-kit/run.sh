#!/bin/sh
# The GPU kit: runs on a machine that has only NVIDIA's driver and the CUDA libraries (libnvrtc, libcublasLt).
#     ./run.sh                   all tests that need a GPU; a missing GPU is a failure
#     ./run.sh multi             all tests that need two GPUs or more, and what these exchange
#     ./run.sh test CLASS...     these test classes, e.g. org.transnormer.cuda.CudaFacadeTest
#     ./run.sh verify            the golden files, in both types, by the path that trains and by its parts
#     ./run.sh bench             the tables of the README's part on a GPU
#     ./run.sh sanitize [CLASS...] the kernels' tests, or these classes, under compute-sanitizer's racecheck, memcheck
#                                and initcheck: a line for each, what they said in target/sanitize
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
    $run $main "$@"
}

# One class under one tool: a line, and status 1 unless its tests passed and nothing was found.
watched() {
    log=target/sanitize/$1-${2##*.}
    case $1 in
        # Padding parts allocations, so that what lies beyond one is not the next.
        memcheck) options="--padding 512" properties=-Dtnl.test.tries=10 ;;
        racecheck) options="" properties=-Dtnl.test.tries=3 ;;
        initcheck) options="" properties="-Dtnl.test.tries=10 -Dtnl.test.unwritten" ;;
    esac
    start=$(date +%s)
    timeout -k 5 300 compute-sanitizer --tool $1 $options --target-processes all --launch-timeout 120 \
        --report-api-errors no --error-exitcode 9 --print-limit 1000 \
        $run $properties -Djqwik.database=$log.jqwik $main $2 >$log 2>&1
    status=$?
    # What a finding is at stands in its own line or in the one after it. cuBLASLt's kernels are not ours to mend.
    found=$(awk -v library='nvjet|cublas|cutlass|splitKreduce' '
        /^=+ (Error|Warning|Invalid|Uninit|Misaligned|.*out of bounds)/ { first = $0; getline
            if ((first $0) ~ library) theirs++; else ours++ }
        END { printf "%d errors, %d of the library", ours, theirs }' $log)
    passed=$(grep '^[0-9]* passed, 0 failed' $log)
    echo "$1 ${2##*.}: $found, ${passed:-tests failed or did not end}, status $status, $(($(date +%s) - start)) s"
    [ -n "$passed" ] && [ "${found%% *}" -eq 0 ]
}

sanitize() {
    if ! command -v compute-sanitizer >/dev/null; then
        echo "sanitize: no compute-sanitizer on the PATH; it comes with the CUDA toolkit" >&2
        return 3
    fi
    mkdir -p target/sanitize || return 3
    if [ $# -eq 0 ]; then
        # Those of kernels, not those that put them together for minutes.
        set -- $($run $main list test-classes/ gpu | grep -vE '\.(architecture|bench|golden|inference|train)\.')
    fi
    for tool in racecheck memcheck initcheck; do
        printf "$tool %s\n" "$@"
    done | xargs -P 8 -n 2 ./run.sh watched && return
    grep -A 8 -m 3 -E '^=* (Error|Warning|Invalid|Uninit|Misaligned|.*out of bounds)' target/sanitize/*Test | head -n 200
    return 1
}

# The class path is for Java to expand: no file has such a name.
run="runtime/bin/java -XX:Tier3DelayOn=10000 -XX:+UseSerialGC -Dtnl.requireGpu=true ${TNL_JAVA_OPTS-} \
    -cp lib/*:test-lib/*:test-classes"
main=org.transnormer.testing.TestRun

case ${1-} in
    tnl)
        shift
        exec bin/tnl "$@" ;;
    verify | bench | multi | sanitize | watched)
        command=$1
        shift
        "$command" "$@"
        exit ;;
    test)
        shift
        tests "$@" ;;
    "")
        tests test-classes/ gpu ;;
    *)
        sed -n '2,11p' "$0" >&2
        exit 2 ;;
esac
