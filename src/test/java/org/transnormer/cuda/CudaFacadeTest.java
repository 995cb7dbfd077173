package org.transnormer.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.transnormer.EnvironmentException;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.OutOfMemoryException;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/** The facade on a real GPU: what the kernels and the trainer stand on. */
@Tag("gpu")
class CudaFacadeTest {
    /** y = a x + y over n elements, each block's result made through shared memory so that its size matters. */
    static final KernelSource AXPY = new KernelSource("cuda/axpy.cu", """
            #include "shared.cuh"
            extern "C" __global__ void axpy(const float* x, float* y, long long n, float a, int repeat) {
                extern __shared__ float staged[];
                long long i = (long long) blockIdx.x * blockDim.x + threadIdx.x;
                for (int r = 0; r < repeat; r++) {
                    staged[threadIdx.x] = i < n ? a * x[i] : 0.0f;
                    __syncthreads();
                    if (i < n) {
                        y[i] = plus(staged[threadIdx.x], y[i]);
                    }
                    __syncthreads();
                }
            }
            """, Map.of("shared.cuh", "__device__ inline float plus(float a, float b) { return a + b; }\n"));
    private static final ArgumentType[] AXPY_PARAMETERS = {ArgumentType.POINTER, ArgumentType.POINTER,
        ArgumentType.LONG, ArgumentType.FLOAT, ArgumentType.INT};

    @TempDir
    Path folder;
    private final Arena arena = Arena.ofConfined();
    private Context context;
    private Stream stream;
    private DeviceMemory memory;

    @BeforeEach
    void open() {
        try {
            context = Context.open(Device.of(0));
        } catch (EnvironmentException e) {
            assumeTrue(Boolean.getBoolean("tnl.requireGpu"), e.getMessage());
            throw e;
        }
        stream = Stream.of(context);
        memory = new DeviceMemory(stream, new MemoryPlan());
    }

    @AfterEach
    void close() {
        if (context != null) {
            memory.close();
            context.close();
            context.close();
        }
        arena.close();
    }

    @Test
    void theDeviceTellsWhatItIs() {
        Device device = context.device();
        System.out.println(device);
        CudaReport.lines().forEach(line -> System.out.printf("%-12s %s%n", line.key(), line.value()));
        assertThat(device.processors()).isPositive();
        assertThat(device.sharedBytesPerBlock()).isGreaterThanOrEqualTo(48 << 10);
        assertThat(context.freeBytes()).isPositive().isLessThanOrEqualTo(device.memory());
        assertThatThrownBy(() -> Device.of(99)).isInstanceOf(CudaException.class)
                .hasMessageContaining("CUDA_ERROR_INVALID_DEVICE (101)");
    }

    @Test
    void copiesComeBack() {
        for (long bytes : new long[] {1, 255, 256, 1_000_003, 200_000_000}) {
            MemorySegment from = random(bytes);
            MemorySegment to = arena.allocate(bytes);
            DevicePtr a = allocate(bytes).slice(0, bytes);
            DevicePtr b = allocate(bytes).slice(0, bytes);
            try (Staging staging = new Staging(stream, 8 << 20)) {
                staging.upload(from, a);
                stream.copy(a, b);
                staging.download(b, to);
            }
            assertThat(to.mismatch(from)).as("%d bytes", bytes).isEqualTo(-1);
        }
    }

    @Test
    void memoryIsZeroAndPinnedCopiesAreFast() {
        int bytes = 256 << 20;
        DevicePtr device = allocate(bytes);
        Event start = Event.timed(context);
        Event end = Event.timed(context);
        try (PinnedBuffer pinned = PinnedBuffer.of(context, bytes)) {
            pinned.segment().fill((byte) 1);
            stream.download(device, pinned.segment());
            stream.synchronize();
            assertThat(pinned.segment().mismatch(arena.allocate(bytes))).isEqualTo(-1);
            stream.record(start);
            stream.upload(pinned.segment(), device);
            stream.record(end);
            end.synchronize();
        }
        double milliseconds = end.millisecondsSince(start);
        System.out.printf("pinned upload: %.1f GB/s%n", bytes / milliseconds / 1e6);
        assertThat(milliseconds).isPositive();
    }

    @Test
    void aKernelRunsAndIsTakenFromTheCacheTheNextTime() throws IOException {
        KernelCache cache = new KernelCache(folder);
        long began = System.nanoTime();
        KernelModule first = KernelModule.load(context, cache, AXPY);
        long compiled = System.nanoTime();
        KernelModule second = KernelModule.load(context, cache, AXPY);
        long cached = System.nanoTime();
        System.out.printf("kernel: compiled in %.1f ms, from the cache in %.1f ms%n", (compiled - began) / 1e6,
                (cached - compiled) / 1e6);
        assertThat(cache.contents().files()).isEqualTo(1);
        for (KernelModule module : List.of(first, second)) {
            for (long n : new long[] {1, 255, 256, 257, 1_000_001}) {
                checkAxpy(module.kernel("axpy", AXPY_PARAMETERS), n);
            }
        }
        assertThatThrownBy(() -> first.kernel("axpy", ArgumentType.POINTER)).isInstanceOf(
                IllegalArgumentException.class).hasMessageContaining("axpy: parameter 1 has 8 bytes");
        assertThatThrownBy(() -> first.kernel("none")).isInstanceOf(CudaException.class)
                .hasMessageContaining("CUDA_ERROR_NOT_FOUND (500)");
        assertThat(first.kernel("axpy", AXPY_PARAMETERS).registers()).isPositive();
        assertThat(first.kernel("axpy", AXPY_PARAMETERS).blocksPerProcessor(256, 1024)).isPositive();
    }

    private void checkAxpy(Kernel kernel, long n) {
        DevicePtr x = floats(i -> i, n);
        DevicePtr y = floats(i -> 1, n);
        axpy(kernel, x, y, n, 2, 1).on(stream);
        MemorySegment out = download(y, n * Float.BYTES);
        for (long i = 0; i < n; i++) {
            assertThat(out.getAtIndex(ValueLayout.JAVA_FLOAT, i)).isEqualTo(2 * (i % 4096) + 1);
        }
    }

    @Test
    void aGraphReplaysAndLaunchesAreCheap() {
        Kernel kernel = KernelModule.load(context, new KernelCache(folder), AXPY).kernel("axpy", AXPY_PARAMETERS);
        long n = 1000;
        DevicePtr x = floats(i -> 1, n);
        DevicePtr y = floats(i -> 0, n);
        Launch launch = axpy(kernel, x, y, n, 1, 1);
        Graph graph = stream.capture(() -> {
            launch.on(stream);
            launch.set(3, 10f).on(stream);
        });
        assertThat(graph.nodes()).isEqualTo(2);
        assertThat(download(y, Float.BYTES).get(ValueLayout.JAVA_FLOAT, 0)).isZero();
        graph.launch(stream);
        graph.launch(stream);
        assertThat(download(y, Float.BYTES).get(ValueLayout.JAVA_FLOAT, 0)).isEqualTo(22);
        for (int round = 0; round < 3; round++) {
            long began = System.nanoTime();
            for (int i = 0; i < 10_000; i++) {
                launch.on(stream);
            }
            long enqueued = System.nanoTime();
            stream.synchronize();
            System.out.printf("launch: %.2f us to enqueue, %.2f us with the kernel%n", (enqueued - began) / 1e7,
                    (System.nanoTime() - began) / 1e7);
        }
    }

    @Test
    void aKernelThatDoesNotCompileNamesFileAndLine() {
        KernelSource bad =
                new KernelSource("cuda/bad.cu", "extern \"C\" __global__ void f() {\n  g = 1;\n}\n", Map.of());
        assertThatThrownBy(() -> KernelModule.load(context, new KernelCache(folder), bad))
                .isInstanceOf(CudaException.class).hasMessageContaining("cuda/bad.cu(2): error");
    }

    @Test
    void aKernelPathOfMoreSharedMemoryMustBeAskedFor() {
        Kernel kernel = KernelModule.load(context, new KernelCache(folder), AXPY).kernel("axpy", AXPY_PARAMETERS);
        DevicePtr x = floats(i -> 1, 1);
        Launch launch = axpy(kernel, x, x, 1, 1, 1).sharedBytes(100_000);
        assertThatThrownBy(() -> launch.on(stream)).isInstanceOf(CudaException.class)
                .hasMessageContaining("cuLaunchKernel(axpy, grid 1x1x1, block 256x1x1, shared bytes 100000)");
        kernel.allowSharedBytes(100_000);
        launch.on(stream);
        stream.synchronize();
    }

    @Test
    void tooMuchMemorySaysWhatIsFree() {
        assertThatThrownBy(() -> memory.allocate(MemoryKind.LOGITS, "logits", DType.F32, 1L << 40))
                .isInstanceOf(OutOfMemoryException.class)
                .hasMessageContaining("logits (logits) needs 4,398,046,511,104")
                .hasMessageContaining("bytes are free on " + context.device().name());
    }

    @ParameterizedTest
    @CsvSource({"F32, F32, 1, 1, 1", "F32, F32, 129, 67, 255", "F32, F32, 512, 384, 2048", "F64, F64, 65, 33, 129",
        "BF16, BF16, 8, 8, 8", "BF16, BF16, 136, 72, 264", "BF16, F32, 256, 512, 2048",
        "BF16, BF16, 512, 384, 2048"})
    void productsAreThoseOfDoubles(DType input, DType output, long m, long n, long k) {
        CublasLt library = CublasLt.of(context, new Workspace(memory));
        for (int form = 0; form < 4; form++) {
            boolean transposeA = (form & 1) != 0;
            boolean transposeB = (form & 2) != 0;
            MatmulShape shape = MatmulShape.of(m, n, k, transposeA, transposeB, input, output);
            checkProduct(library, shape.withStrides(shape.strideA() + 8, shape.strideB() + 8, n + 16, n + 8));
        }
    }

    /** |got - want| <= (k u32 + 2 u) sum of |terms|: F32 sums of k products in any order, and one rounding on write. */
    private void checkProduct(CublasLt library, MatmulShape shape) {
        Tensor a = values("a", shape.input(), shape.transposeA() ? shape.k() : shape.m(), shape.strideA(), 1);
        Tensor b = values("b", shape.input(), shape.transposeB() ? shape.n() : shape.k(), shape.strideB(), 2);
        Tensor c = values("c", shape.output(), shape.m(), shape.strideC(), 3);
        Tensor before = values("d", shape.output(), shape.m(), shape.strideD(), 4);
        DevicePtr d = upload(before);
        DevicePtr left = upload(a);
        DevicePtr right = upload(b);
        try (Matmul matmul = Matmul.of(library, shape)) {
            matmul.run(stream, left, right, 1, upload(c), d);
        }
        Tensor got = Tensor.of("d", shape.output(), new Storage.Host(download(d, d.bytes())), 0, shape.m(),
                shape.strideD());
        double u = shape.output().unitRoundoff();
        double sums = (shape.input() == DType.F64 ? DType.F64 : DType.F32).unitRoundoff();
        for (long i = 0; i < shape.m(); i++) {
            for (long j = shape.n(); j < shape.strideD(); j++) {
                assertThat(got.get(i, j)).as("%s: gap (%d, %d)", shape, i, j).isEqualTo(before.get(i, j));
            }
        }
        // Of large products some thousands of entries, in all rows and columns.
        long step = shape.m() * shape.n() / 4096 | 1;
        for (long entry = 0; entry < shape.m() * shape.n(); entry += step) {
            long i = entry / shape.n();
            long j = entry % shape.n();
            double want = c.get(i, j);
            double terms = Math.abs(want);
            for (long x = 0; x < shape.k(); x++) {
                double term = (shape.transposeA() ? a.get(x, i) : a.get(i, x))
                        * (shape.transposeB() ? b.get(j, x) : b.get(x, j));
                want += term;
                terms += Math.abs(term);
            }
            assertThat(Math.abs(got.get(i, j) - want)).as("%s: (%d, %d): got %s, want %s", shape, i, j,
                    got.get(i, j), want).isLessThanOrEqualTo((shape.k() * sums + 2 * u) * terms);
        }
    }

    /** TF32 keeps 10 bits of each factor: 1 + 2^-12 would become 1. */
    @Test
    void fullPrecisionIsKept() {
        long n = 256;
        CublasLt library = CublasLt.of(context, new Workspace(memory));
        DevicePtr a = floats(i -> 1, n * n);
        MemorySegment precise = arena.allocate(ValueLayout.JAVA_FLOAT, n * n);
        for (long i = 0; i < n * n; i++) {
            precise.setAtIndex(ValueLayout.JAVA_FLOAT, i, 1 + 0x1p-12f);
        }
        DevicePtr b = allocate(n * n * Float.BYTES);
        stream.upload(precise, b);
        DevicePtr d = floats(i -> 0, n * n);
        Matmul.of(library, MatmulShape.of(n, n, n, false, false, DType.F32, DType.F32)).run(stream, a, b, d);
        assertThat(download(d, Float.BYTES).get(ValueLayout.JAVA_FLOAT, 0)).isEqualTo(256 + 0x1p-4f);
    }

    @Test
    void aProductIsBitwiseRepeatable() {
        CublasLt library = CublasLt.of(context, new Workspace(memory));
        MatmulShape shape = MatmulShape.of(128, 128, 1 << 16, false, true, DType.BF16, DType.F32);
        DevicePtr a = upload(values("a", DType.BF16, 128, 1 << 16, 1));
        DevicePtr b = upload(values("b", DType.BF16, 128, 1 << 16, 2));
        MemorySegment first = null;
        String algorithm = null;
        for (int i = 0; i < 10; i++) {
            DevicePtr d = floats(x -> 0, 128 * 128);
            try (Matmul matmul = Matmul.of(library, shape)) {
                matmul.run(stream, a, b, d);
                MemorySegment out = download(d, 128 * 128 * Float.BYTES);
                if (first == null) {
                    first = out;
                    algorithm = matmul.algorithm();
                }
                assertThat(out.mismatch(first)).isEqualTo(-1);
                assertThat(matmul.algorithm()).isEqualTo(algorithm);
            }
        }
    }

    private interface Value {
        float of(long i);
    }

    private Launch axpy(Kernel kernel, DevicePtr x, DevicePtr y, long n, float a, int repeat) {
        return Launch.of(context, kernel).grid(Math.ceilDiv(n, 256)).block(256).sharedBytes(256 * Float.BYTES)
                .set(0, x).set(1, y).set(2, n).set(3, a).set(4, repeat);
    }

    private DevicePtr allocate(long bytes) {
        return DevicePtr.of(memory.allocate(MemoryKind.DATA, "test", DType.F32, Math.ceilDiv(bytes, Float.BYTES)));
    }

    /** Values of i modulo 4096, which are exact in F32 also after axpy. */
    private DevicePtr floats(Value value, long n) {
        MemorySegment host = arena.allocate(ValueLayout.JAVA_FLOAT, n);
        for (long i = 0; i < n; i++) {
            host.setAtIndex(ValueLayout.JAVA_FLOAT, i, value.of(i % 4096));
        }
        DevicePtr device = allocate(n * Float.BYTES);
        stream.upload(host, device);
        return device;
    }

    private Tensor values(String name, DType dtype, long rows, long columns, long seed) {
        Random random = new Random(seed);
        Tensor host = Tensor.of(name, dtype, new Storage.Host(arena.allocate(rows * columns * dtype.bytes(), 64)), 0,
                rows, columns);
        for (long i = 0; i < rows * columns; i++) {
            host.setFlat(i, random.nextGaussian());
        }
        return host;
    }

    private DevicePtr upload(Tensor host) {
        DevicePtr device = allocate(host.segment().byteSize()).slice(0, host.segment().byteSize());
        stream.upload(host.segment(), device);
        return device;
    }

    private MemorySegment download(DevicePtr from, long bytes) {
        MemorySegment to = arena.allocate(bytes, 64);
        stream.download(from, to);
        stream.synchronize();
        return to;
    }

    private MemorySegment random(long bytes) {
        MemorySegment segment = arena.allocate(bytes);
        byte[] values = new byte[(int) bytes];
        new Random(bytes).nextBytes(values);
        MemorySegment.copy(values, 0, segment, ValueLayout.JAVA_BYTE, 0, values.length);
        return segment;
    }
}
