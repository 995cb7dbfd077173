#!/bin/sh
# The GPU kit: runs on a machine that has only NVIDIA's driver and the CUDA libraries (libnvrtc, libcublasLt).
#     ./run.sh                   all tests that need a GPU; a missing GPU is a failure
#     ./run.sh test CLASS...     these test classes, e.g. org.transnormer.cuda.CudaFacadeTest
#     ./run.sh tnl ARGS...       the program, e.g. ./run.sh tnl doctor
# TNL_JAVA_OPTS adds JVM options, e.g. -Dtnl.trace.cuda or -Dtnl.cuda.path=/opt/cuda/lib64 (folders of the libraries).
set -fu
cd "$(dirname -- "$0")" || exit 3

case ${1-} in
    tnl)
        shift
        exec bin/tnl "$@" ;;
    test)
        shift ;;
    "")
        set -- test-classes/ ;;
    *)
        sed -n '2,6p' "$0" >&2
        exit 2 ;;
esac
mkdir -p target || exit 3  # jqwik keeps its database there
exec runtime/bin/java -XX:Tier3DelayOn=10000 -XX:+UseSerialGC -Dtnl.requireGpu=true ${TNL_JAVA_OPTS-} \
    -cp 'lib/*:test-lib/*:test-classes' org.transnormer.testing.TestRun "$@"
