package org.transnormer.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.OutOfMemoryException;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/** The facade against scripted libraries; {@link CudaStubTest} runs this in a process that has them. */
class CudaStubCases {
    private static final KernelSource SOURCE = new KernelSource("cuda/add.cu", "one", Map.of("a.cuh", "two"));
    private static final ArgumentType[] PARAMETERS = {ArgumentType.POINTER, ArgumentType.POINTER,
        ArgumentType.LONG, ArgumentType.FLOAT, ArgumentType.DOUBLE};
    private static final PrintStream ERR = System.err;

    @TempDir
    Path folder;
    private final ByteArrayOutputStream trace = new ByteArrayOutputStream();
    private Context context;

    @BeforeEach
    void open() {
        System.setErr(new PrintStream(trace, true, StandardCharsets.UTF_8));
        context = Context.open(Device.of(0));
        stub("stub_clear", FunctionDescriptor.ofVoid());
    }

    @AfterEach
    void close() {
        stub("stub_clear", FunctionDescriptor.ofVoid());
        context.close();
        System.setErr(ERR);
    }

    @Test
    void aDeviceTellsItsNameAndArchitecture() {
        assertThat(Device.all()).singleElement().satisfies(device -> {
            assertThat(device.name()).isEqualTo("Stub 9000");
            assertThat(device.architecture()).isEqualTo("sm_90a");
            assertThat(device.processors()).isEqualTo(132);
            assertThat(device.memory()).isEqualTo(16_000_000_000L);
        });
    }

    @Test
    void aStatusBecomesAnExceptionWithNameTextAndCure() {
        fail("cuStreamCreate", 2);
        CudaException e = catchThrowableOfType(CudaException.class, () -> Stream.of(context));
        assertThat(e.api()).isEqualTo("cuStreamCreate");
        assertThat(e.code()).isEqualTo(2);
        assertThat(e.codeName()).isEqualTo("CUDA_ERROR_OUT_OF_MEMORY");
        assertThat(e.text()).isEqualTo("out of memory");
        assertThat(e.cure()).contains("nvidia-smi");
        assertThat(e).hasMessage("cuStreamCreate: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory; " + e.cure());
    }

    @Test
    void everyOwnerClosesOnceAndAContextClosesTheLatestFirst() {
        var stream = Stream.of(context);
        Event event = Event.of(context);
        PinnedBuffer buffer = PinnedBuffer.of(context, 64);
        buffer.close();
        buffer.close();
        stub("stub_clear", FunctionDescriptor.ofVoid());
        context.close();
        context.close();
        assertThat(log()).isEqualTo("cuEventDestroy_v2 cuStreamDestroy_v2 cuDevicePrimaryCtxRelease_v2 ");
        event.close();
        assertThat(log()).endsWith("cuDevicePrimaryCtxRelease_v2 ");
        assertThatThrownBy(stream::synchronize).isInstanceOf(IllegalStateException.class)
                .hasMessage("Stream is closed");
        assertThatThrownBy(buffer::segment).hasMessage("PinnedBuffer is closed");
    }

    @Test
    void aKeptGpuIsTheNextOneOpened() throws InterruptedException {
        Gpu gpu = Gpu.open();
        gpu.keep();
        AtomicReference<Gpu> elsewhere = new AtomicReference<>();
        Thread other = new Thread(() -> {
            elsewhere.set(Gpu.open());
            elsewhere.get().keep();
        });
        other.start();
        other.join();
        assertThat(elsewhere.get()).isNotSameAs(gpu);
        assertThatThrownBy(() -> elsewhere.get().stream().synchronize()).isInstanceOf(IllegalStateException.class);
        Gpu again = Gpu.open();
        assertThat(again).isSameAs(gpu);
        again.stream().synchronize();
        try (Gpu fresh = Gpu.open()) {
            assertThat(fresh).isNotSameAs(gpu);
        }
        again.close();
    }

    @Test
    void argumentsLieWhereTheKernelReadsThem() {
        Launch launch = Launch.of(context, kernel());
        launch.set(0, new DevicePtr(0x1234567890L, 16)).set(1, new DevicePtr(7, 1)).set(2, -5L).set(3, 1.5f)
                .set(4, -2.25).grid(3).block(128).on(Stream.of(context));
        assertThat(argument(0)).isEqualTo(0x1234567890L);
        assertThat(argument(1)).isEqualTo(7);
        assertThat(argument(2)).isEqualTo(-5);
        assertThat(Float.intBitsToFloat((int) argument(3))).isEqualTo(1.5f);
        assertThat(Double.longBitsToDouble(argument(4))).isEqualTo(-2.25);
        assertThat(trace.toString(StandardCharsets.UTF_8)).contains(
                "cuda: cuLaunchKernel(add, grid 3x1x1, block 128x1x1, shared bytes 0)");
    }

    @Test
    void aLaunchMayOverlapTheOneBeforeIt() {
        Launch launch = Launch.of(context, kernel()).overlapping();
        launch.set(0, new DevicePtr(3, 16)).set(1, new DevicePtr(7, 1)).set(2, -5L).set(3, 1.5f).set(4, -2.25).grid(3)
                .block(128).sharedBytes(48).on(Stream.of(context));
        assertThat(argument(2)).isEqualTo(-5);
        assertThat((long) stub("stub_overlapping", FunctionDescriptor.of(ValueLayout.JAVA_LONG)))
                .isEqualTo(3_128_048);
    }

    @Test
    void aWrongOrForgottenArgumentIsRefused() {
        Launch launch = Launch.of(context, kernel());
        assertThatThrownBy(() -> launch.set(2, 1)).hasMessage("add: argument 2: got INT, want LONG");
        assertThatThrownBy(() -> launch.set(5, 1)).hasMessage("add: argument 5: got INT, want an index below 5");
        launch.set(0, new DevicePtr(1, 1)).set(2, 1L);
        var stream = Stream.of(context);
        assertThatThrownBy(() -> launch.on(stream)).hasMessage("add: argument 1 was never set");
    }

    @Test
    void parametersAreComparedWithTheCode() {
        KernelModule module = KernelModule.load(context, "cuda/add.cu", new byte[1]);
        assertThatThrownBy(() -> module.kernel("add", ArgumentType.POINTER, ArgumentType.INT))
                .hasMessage("add: parameter 1 has 8 bytes; given: [POINTER, INT]");
        assertThatThrownBy(() -> module.kernel("add", ArgumentType.POINTER))
                .hasMessageContaining("add: parameter 1 has 8 bytes");
        ArgumentType[] more = Arrays.copyOf(PARAMETERS, PARAMETERS.length + 1);
        more[PARAMETERS.length] = ArgumentType.INT;
        assertThatThrownBy(() -> module.kernel("add", more)).hasMessageStartingWith("add has 5 parameters");
        assertThatThrownBy(() -> module.kernel("missing")).isInstanceOf(CudaException.class)
                .hasMessageStartingWith("cuModuleGetFunction(cuda/add.cu: missing)");
    }

    @Test
    void aLaunchIsUsedAgain() {
        Launch launch = Launch.of(context, kernel());
        var stream = Stream.of(context);
        DevicePtr pointer = new DevicePtr(1, 1);
        launch.set(0, pointer).set(1, pointer).set(2, 1L).set(3, 1f).set(4, 1.0);
        launch.on(stream);
        assertThat(argument(2)).isEqualTo(1);
        launch.set(2, 9L).on(stream);
        assertThat(argument(2)).isEqualTo(9);
        assertThat(argument(4)).isEqualTo(Double.doubleToLongBits(1.0));
    }

    @Test
    void kernelsAreCompiledOnce() throws IOException {
        KernelCache cache = new KernelCache(folder.resolve("kernels"));
        byte[] first = cache.load(SOURCE, List.of("-DX=1"), "sm_90a");
        assertThat(new String(first, StandardCharsets.UTF_8)).isEqualTo("--gpu-architecture=sm_90a\none");
        assertThat(compilations()).isEqualTo(1);
        assertThat(new KernelCache(folder.resolve("kernels")).load(SOURCE, List.of("-DX=1"), "sm_90a"))
                .isEqualTo(first);
        assertThat(compilations()).isEqualTo(1);
        assertThat(files()).hasSize(1);
        assertThat(cache.contents().files()).isEqualTo(1);
        assertThat(cache.contents().bytes()).isEqualTo(Files.size(files().getFirst()));
    }

    @Test
    void everythingThatCodeDependsOnIsInTheKey() throws IOException {
        KernelCache cache = new KernelCache(folder.resolve("kernels"));
        cache.load(SOURCE, List.of(), "sm_90a");
        cache.load(SOURCE, List.of(), "sm_80");
        cache.load(SOURCE, List.of("-DX=1"), "sm_90a");
        cache.load(new KernelSource("cuda/add.cu", "other", SOURCE.headers()), List.of(), "sm_90a");
        cache.load(new KernelSource("cuda/add.cu", "one", Map.of("a.cuh", "other")), List.of(), "sm_90a");
        cache.load(new KernelSource("cuda/add.cu", "one", Map.of("b.cuh", "two")), List.of(), "sm_90a");
        assertThat(compilations()).isEqualTo(6);
        assertThat(files()).hasSize(6);
        assertThat(KernelCache.key(SOURCE, List.of(), "13.0")).isNotEqualTo(KernelCache.key(SOURCE, List.of(), "13.1"));
        assertThat(KernelCache.key(SOURCE, List.of("ab", "c"), "1")).isNotEqualTo(KernelCache.key(SOURCE,
                List.of("a", "bc"), "1"));
    }

    @Test
    void aDamagedFileIsCompiledAnew() throws IOException {
        KernelCache cache = new KernelCache(folder.resolve("kernels"));
        byte[] code = cache.load(SOURCE, List.of(), "sm_90a");
        Path file = files().getFirst();
        byte[] whole = Files.readAllBytes(file);
        int compilations = 1;
        for (int place : new int[] {0, 20, 50, whole.length - 1, -1, -2}) {
            byte[] damaged = place == -1 ? new byte[0] : place == -2 ? Arrays.copyOf(whole, 30) : whole.clone();
            if (place >= 0) {
                damaged[place] ^= 1;
            }
            Files.write(file, damaged);
            assertThat(cache.load(SOURCE, List.of(), "sm_90a")).isEqualTo(code);
            assertThat(compilations()).as("byte %d", place).isEqualTo(++compilations);
            assertThat(Files.readAllBytes(file)).isEqualTo(whole);
        }
    }

    @Test
    void aFolderThatCannotBeWrittenCostsOnlyTime() throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "in the way");
        KernelCache cache = new KernelCache(file.resolve("kernels"));
        assertThat(cache.load(SOURCE, List.of(), "sm_90a")).isNotEmpty();
        assertThat(cache.contents().files()).isZero();
        assertThat(trace.toString(StandardCharsets.UTF_8)).contains("not kept in " + cache.folder());
    }

    @Test
    void aKernelThatDoesNotCompileNamesFileAndLine() {
        KernelSource bad = new KernelSource("cuda/bad.cu", "mistake", Map.of());
        assertThatThrownBy(() -> new KernelCache(folder).load(bad, List.of(), "sm_90a"))
                .isInstanceOf(CudaException.class).message().startsWith("nvrtcCompileProgram(cuda/bad.cu): "
                        + "NVRTC_ERROR_COMPILATION (6): cuda/bad.cu(3): error: identifier \"mistake\" is undefined; ")
                .hasLineCount(1);
        assertThat(log()).contains("nvrtcDestroyProgram");
        assertThat(folder).isEmptyDirectory();
    }

    @Test
    void anArchitectureThatTheCompilerDoesNotKnowIsRefused() {
        assertThatThrownBy(() -> KernelCompiler.compile(SOURCE, List.of(), "sm_120"))
                .hasMessageContaining("libnvrtc 13.0 does not know sm_120, only [80, 90]");
    }

    @Test
    void memoryOfThePlanIsTakenAtOnceAndIsZero() {
        PlanMemory plan = new PlanMemory(DeviceMemory.ALIGNMENT);
        plan.allocate(MemoryKind.WEIGHTS, "w", DType.F32, 3, 5);
        plan.allocate(MemoryKind.STATES, "s", DType.BF16, 1000);
        var stream = Stream.of(context);
        try (DeviceMemory memory = new DeviceMemory(stream, plan.plan())) {
            Tensor w = memory.allocate(MemoryKind.WEIGHTS, "w", DType.F32, 3, 5);
            Tensor s = memory.allocate(MemoryKind.STATES, "s", DType.BF16, 1000);
            assertThat(log().split("cuMemAlloc_v2", -1)).hasSize(2);
            assertThat(DevicePtr.of(s).address() - DevicePtr.of(w).address()).isEqualTo(256);
            assertThat(DevicePtr.of(w).address() % 256).isZero();
            assertThat(DevicePtr.of(w.select(0, 2)).address()).isEqualTo(DevicePtr.of(w).address() + 40);
            assertThat(memory.plan().bytes(MemoryKind.STATES)).isEqualTo(2048);
            assertThat(memory.plan().total()).isEqualTo(plan.plan().total());
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment host = arena.allocate(60).fill((byte) 1);
                stream.download(DevicePtr.of(w), host);
                assertThat(host.toArray(ValueLayout.JAVA_BYTE)).containsOnly(0);
            }
            assertThatThrownBy(() -> w.get(0, 0)).hasMessageContaining("device memory is not read by the host");
            memory.allocate(MemoryKind.DATA, "more", DType.I32, 1);
            assertThat(log().split("cuMemAlloc_v2", -1)).hasSize(3);
            closeAgain(memory);
            assertThat(log().split("cuMemFree_v2", -1)).hasSize(3);
        }
        assertThat(log().split("cuMemFree_v2", -1)).hasSize(3);
    }

    @Test
    void outOfMemorySaysWhatIsNeededWhatIsFreeAndWhatToChange() {
        PlanMemory plan = new PlanMemory(DeviceMemory.ALIGNMENT);
        plan.allocate(MemoryKind.WEIGHTS, "w", DType.F32, 1_000_000_000L);
        plan.allocate(MemoryKind.ACTIVATIONS, "x", DType.F32, 2_000_000_000L);
        MemoryPlan planned = plan.plan();
        var stream = Stream.of(context);
        assertThatThrownBy(() -> new DeviceMemory(stream, planned)).isInstanceOf(OutOfMemoryException.class)
                .hasMessageContainingAll("the plan needs 12,000,000,000 bytes",
                        "8,000,000,000 of 16,000,000,000 bytes are free on Stub 9000",
                        "weights 4,000,000,000, activations 8,000,000,000", "--batch", "--sequence");
        try (DeviceMemory memory = new DeviceMemory(stream, new MemoryPlan())) {
            assertThatThrownBy(() -> memory.allocate(MemoryKind.LOGITS, "logits", DType.F32, 3_000_000_000L))
                    .hasMessageContaining("logits (logits) needs 12,000,000,000 bytes");
        }
    }

    @Test
    void stagingMovesAnySizeBothWays() {
        var stream = Stream.of(context);
        try (Arena arena = Arena.ofConfined(); DeviceMemory memory = new DeviceMemory(stream, new MemoryPlan());
                Staging staging = new Staging(stream, 64)) {
            DevicePtr device = DevicePtr.of(memory.allocate(MemoryKind.DATA, "x", DType.I32, 100));
            for (int bytes : new int[] {0, 1, 63, 64, 65, 128, 129, 400}) {
                MemorySegment from = arena.allocate(Math.max(1, bytes)).asSlice(0, bytes);
                for (int i = 0; i < bytes; i++) {
                    from.set(ValueLayout.JAVA_BYTE, i, (byte) (i * 7 + bytes));
                }
                MemorySegment to = arena.allocate(Math.max(1, bytes)).asSlice(0, bytes);
                staging.upload(from, device);
                staging.download(device, to);
                assertThat(to.mismatch(from)).isEqualTo(-1);
            }
            assertThatThrownBy(() -> stream.upload(arena.allocate(401), device.slice(0, 400)))
                    .hasMessageContaining("401 bytes do not fit");
            closeAgain(staging);
        }
    }

    @Test
    void aCaptureBecomesAGraph() {
        var stream = Stream.of(context);
        Event event = Event.of(context);
        Graph graph = stream.capture(() -> stream.record(event));
        assertThat(graph.nodes()).isEqualTo(3);
        graph.launch(stream);
        graph.close();
        graph.close();
        assertThat(log()).contains("cuStreamBeginCapture_v2 cuEventRecord cuStreamEndCapture cuGraphGetNodes "
                + "cuGraphInstantiateWithFlags cuGraphDestroy cuGraphLaunch cuGraphExecDestroy ");
        assertThat(log().split("cuGraphExecDestroy", -1)).hasSize(2);
    }

    @Test
    void aCaptureThatFailsEndsTheRecordingAndShowsTheFirstError() {
        var stream = Stream.of(context);
        assertThatThrownBy(() -> stream.capture(() -> {
            throw new IllegalStateException("mine");
        })).hasMessage("mine");
        assertThat(log()).endsWith("cuStreamBeginCapture_v2 cuStreamEndCapture cuGraphDestroy ");
    }

    /** A rank of another process by its handle, one of this process by its address. */
    @Test
    void memoryOfOtherRanksIsOpenedByCards() {
        var stream = Stream.urgent(context);
        PeerMemory memory = PeerMemory.of(stream, 0, 3, 100);
        byte[] here = memory.card();
        assertThat(here).hasSize(PeerMemory.CARD_BYTES);
        byte[] elsewhere = here.clone();
        elsewhere[0]++;
        byte[] process = here.clone();
        process[2 * Long.BYTES]++;
        assertThat(PeerMemory.areOnOneHost(here, process)).isTrue();
        assertThat(PeerMemory.areOnOneHost(here, elsewhere)).isFalse();
        assertThatThrownBy(() -> memory.of(1)).hasMessage("the piece of rank 1 was not opened");
        memory.open(1, here);
        memory.open(2, process);
        assertThat(memory.of(2)).isEqualTo(memory.of(1)).isEqualTo(memory.of(0));
        assertThat(memory.of(0).bytes()).isEqualTo(100);
        memory.close();
        assertThat(log()).contains("cuStreamCreateWithPriority", "cuIpcGetMemHandle cuDevicePrimaryCtxRetain "
                + "cuCtxEnablePeerAccess cuDevicePrimaryCtxRelease_v2 cuIpcOpenMemHandle_v2 cuIpcCloseMemHandle "
                + "cuMemFree_v2 ");
        assertThat(log().split("cuIpcCloseMemHandle", -1)).hasSize(2);
        fail("cuCtxEnablePeerAccess", 704);
        PeerMemory again = PeerMemory.of(stream, 0, 2, 100);
        again.open(1, here);
        fail("cuCtxEnablePeerAccess", 217);
        assertThatThrownBy(() -> again.open(1, here)).isInstanceOf(CudaException.class);
    }

    @Test
    void matrixProductsAreRowMajor() {
        var stream = Stream.of(context);
        try (Arena arena = Arena.ofConfined(); DeviceMemory memory = new DeviceMemory(stream, new MemoryPlan())) {
            CublasLt library = CublasLt.of(context, new Workspace(memory));
            Matmul matmul = Matmul.of(library, MatmulShape.of(2, 3, 4, false, false, DType.F32, DType.F32)
                    .withStrides(5, 3, 5, 4));
            Tensor a = memory.allocate(MemoryKind.DATA, "a", DType.F32, 2, 5);
            Tensor b = memory.allocate(MemoryKind.DATA, "b", DType.F32, 4, 3);
            Tensor c = memory.allocate(MemoryKind.DATA, "c", DType.F32, 2, 5);
            Tensor d = memory.allocate(MemoryKind.DATA, "d", DType.F32, 2, 4);
            stream.upload(arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2, 3, 4, 9, 5, 6, 7, 8, 9), DevicePtr.of(a));
            stream.upload(arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1),
                    DevicePtr.of(b));
            stream.upload(arena.allocateFrom(ValueLayout.JAVA_FLOAT, 10, 20, 30, 9, 9, 50, 60, 70, 9, 9),
                    DevicePtr.of(c));
            stream.upload(arena.allocateFrom(ValueLayout.JAVA_FLOAT, 0, 0, 0, 40, 0, 0, 0, 80), DevicePtr.of(d));
            matmul.run(stream, DevicePtr.of(a), DevicePtr.of(b), 1, DevicePtr.of(c), DevicePtr.of(d));
            MemorySegment out = arena.allocate(32);
            stream.download(DevicePtr.of(d), out);
            assertThat(out.toArray(ValueLayout.JAVA_FLOAT)).containsExactly(15, 26, 37, 40, 63, 74, 85, 80);
            assertThat(matmul.algorithm()).startsWith("2a00").hasSize(128);
            assertThatThrownBy(() -> matmul.run(stream, DevicePtr.of(a).slice(0, 32), DevicePtr.of(b),
                    DevicePtr.of(d))).hasMessageContaining("matmul A: got").hasMessageContaining("want 36 bytes");
            assertThatThrownBy(() -> matmul.run(stream, DevicePtr.of(a), DevicePtr.of(b), 1,
                    DevicePtr.of(c).slice(0, 28), DevicePtr.of(d))).hasMessageContaining("matmul C: got");
            assertThatThrownBy(() -> Matmul.of(library, MatmulShape.of(2, 13, 4, false, false, DType.F32, DType.F32)))
                    .isInstanceOf(CudaException.class).hasMessageContaining("CUBLAS_STATUS_NOT_SUPPORTED (15)")
                    .hasMessageContaining("m=2, n=13, k=4");
            fail("cublasLtMatmul", 13);
            assertThatThrownBy(() -> matmul.run(stream, DevicePtr.of(a), DevicePtr.of(b), DevicePtr.of(d)))
                    .isInstanceOf(CudaException.class).hasMessageContaining("cublasLtMatmul(");
            stub("stub_clear", FunctionDescriptor.ofVoid());
            matmul.close();
            library.close();
            context.close();
            assertThat(log()).startsWith("cublasLtMatrixLayoutDestroy cublasLtMatrixLayoutDestroy "
                    + "cublasLtMatrixLayoutDestroy cublasLtMatrixLayoutDestroy cublasLtMatmulDescDestroy cublasLtDestroy ")
                    .doesNotContain("cublasLtMatmulPreferenceDestroy");
        }
    }

    @Test
    void theReportNamesDeviceLibrariesAndCache() {
        assertThat(CudaReport.lines()).extracting(CudaReport.Line::value)
                .anyMatch(line -> line.contains("libcuda.so.1, for CUDA up to 13.0"))
                .anyMatch(line -> line.contains("libnvrtc.so.13, version 13.0, for [80, 90]"))
                .anyMatch(line -> line.contains("libcublasLt.so.13, version 130000"))
                .anyMatch(line -> line.startsWith("Stub 9000, compute capability 9.0, 132 multiprocessors, 7.5 of"))
                .anyMatch(line -> line.contains("compiled") && line.contains("kernels"));
    }

    @Test
    void theTraceNamesCallsAndWhatTheyReturned() {
        fail("cuEventCreate", 999);
        assertThatThrownBy(() -> Event.of(context)).hasMessageContaining("CUDA_ERROR_SCRIPTED (999): as scripted");
        context.synchronize();
        assertThat(trace.toString(StandardCharsets.UTF_8)).contains("cuda: cuEventCreate -> 999\n",
                "cuda: cuCtxSynchronize\n");
    }

    private static void closeAgain(AutoCloseable owner) {
        assertThatCode(owner::close).doesNotThrowAnyException();
    }

    private Kernel kernel() {
        return KernelModule.load(context, "cuda/add.cu", new byte[1]).kernel("add", PARAMETERS);
    }

    private long compilations() {
        return log().split("nvrtcCompileProgram", -1).length - 1;
    }

    private List<Path> files() throws IOException {
        try (java.util.stream.Stream<Path> files = Files.list(folder.resolve("kernels"))) {
            return files.toList();
        }
    }

    private static void fail(String api, int code) {
        try (Arena arena = Arena.ofConfined()) {
            stub("stub_fail", FunctionDescriptor.ofVoid(ValueLayout.ADDRESS, ValueLayout.JAVA_INT),
                    arena.allocateFrom(api), code);
        }
    }

    private static String log() {
        MemorySegment text = (MemorySegment) stub("stub_log", FunctionDescriptor.of(ValueLayout.ADDRESS));
        return text.reinterpret(Long.MAX_VALUE).getString(0);
    }

    private static long argument(int i) {
        return (long) stub("stub_argument", FunctionDescriptor.of(ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT), i);
    }

    private static Object stub(String name, FunctionDescriptor type, Object... arguments) {
        MethodHandle handle = Linker.nativeLinker().downcallHandle(SymbolLookup.loaderLookup().findOrThrow(name), type);
        try {
            return handle.invokeWithArguments(arguments);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
