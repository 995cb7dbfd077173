package org.transnormer.backend;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import java.util.function.Supplier;
import org.transnormer.activation.Activation;
import org.transnormer.activation.ActivationCuda;
import org.transnormer.adamw.AdamWCuda;
import org.transnormer.adamw.GradientNormCuda;
import org.transnormer.cuda.ArgumentType;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Event;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Graph;
import org.transnormer.cuda.Launch;
import org.transnormer.cuda.PinnedBuffer;
import org.transnormer.embedding.EmbeddingCuda;
import org.transnormer.lightning.FeatureAttentionCuda;
import org.transnormer.lightning.LightningCuda;
import org.transnormer.linear.LinearCuda;
import org.transnormer.loss.CrossEntropyCuda;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.lrpe.LrpeCuda;
import org.transnormer.product.ProductCuda;
import org.transnormer.srmsnorm.LayerNormCuda;
import org.transnormer.srmsnorm.RmsNormCuda;
import org.transnormer.srmsnorm.SrmsNormCuda;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * The CUDA twins on one GPU: F32 without TF32, or BF16 with F32 accumulation. Calls only enqueue work on one stream; the
 * host waits where it downloads. Results are the same bits from run to run on one kind of GPU.
 */
public final class CudaBackend implements Backend {
    /** Half a gigabyte in BF16: products of thousands of tokens, and few passes over the gradient of the head. */
    static final long LOGITS_AT_A_TIME = 1L << 28;
    private static final int BLOCK = 256;
    private static final int CONVERTED_PER_BLOCK = 8 * BLOCK;
    private static final int MOVED_PER_THREAD = 16;
    /** All that are used, so that they are compiled side by side. */
    private static final List<String> SOURCES = List.of("activation", "adamw", "embedding", "gla_step", "layernorm",
            "lightning", "lightning_tensor", "linear", "linear_few", "loss", "lrpe", "product", "rmsnorm", "srmsnorm",
            "tensor");
    private static final List<String> HOPPER_SOURCES = List.of("lightning_hopper_forward", "lightning_hopper_backward",
            "lightning_hopper_segments");

    private final Precision precision;
    private final Gpu gpu;
    private final Memory memory;
    private final Workspace workspace;
    private final FeatureAttentionCuda attention;
    private final Leaves leaves;
    private final Launch widen;
    private final Launch narrow;
    private final Launch move;
    private PinnedBuffer read;

    /**
     * @param precision {@link Precision#F32} or {@link Precision#BF16}
     * @param gpu closed with the backend, as is the memory
     * @param memory of the GPU, or a plan of it
     * @throws IllegalArgumentException for another precision
     */
    public CudaBackend(Precision precision, Gpu gpu, Memory memory) {
        if (!precision.equals(Precision.F32) && !precision.equals(Precision.BF16)) {
            throw new IllegalArgumentException("the CUDA backend computes in F32 or BF16, not in "
                    + precision.describe() + "; the scalar backend has the other types");
        }
        this.precision = precision;
        this.gpu = gpu;
        this.memory = memory;
        workspace = new Workspace(memory);
        gpu.compile(sources(gpu));
        Lrpe lrpe = new LrpeCuda(gpu, workspace);
        Activation activation = new ActivationCuda(gpu);
        LightningCuda lightning = new LightningCuda(gpu, workspace);
        attention = new FeatureAttentionCuda(gpu, lightning, activation, lrpe, memory);
        leaves = new Leaves(new SrmsNormCuda(gpu), new RmsNormCuda(gpu, workspace), new LayerNormCuda(gpu, workspace),
                lrpe, lightning, attention, new LinearCuda(gpu, workspace), activation, new ProductCuda(gpu),
                new EmbeddingCuda(gpu, workspace), new CrossEntropyCuda(gpu), new AdamWCuda(gpu),
                new GradientNormCuda(gpu, workspace));
        ArgumentType[] types = {ArgumentType.POINTER, ArgumentType.POINTER, ArgumentType.LONG};
        widen = gpu.launch("tensor", "tensor_convert_bf16_f32", types).block(BLOCK);
        narrow = gpu.launch("tensor", "tensor_convert_f32_bf16", types).block(BLOCK);
        move = gpu.launch("tensor", "tensor_move", types).block(BLOCK).overlapping();
    }

    /** What it computes on. */
    public Gpu gpu() {
        return gpu;
    }

    /** Those of one architecture only where it is at hand. */
    private static List<String> sources(Gpu gpu) {
        List<String> sources = new ArrayList<>(SOURCES);
        if (gpu.usesHopper()) {
            sources.addAll(HOPPER_SOURCES);
        }
        return sources;
    }

    @Override
    public String describe() {
        boolean leftOut = gpu.device().isHopper() && !gpu.usesHopper();
        return "cuda (%s, compute capability %d.%d%s), %s".formatted(gpu.device().name(), gpu.device().major(),
                gpu.device().minor(), leftOut ? ", portable kernels only" : "", precision.describe());
    }

    @Override
    public Precision precision() {
        return precision;
    }

    @Override
    public Memory memory() {
        return memory;
    }

    @Override
    public Leaves leaves() {
        return leaves;
    }

    @Override
    public void zero(Tensor x) {
        gpu.stream().fill(DevicePtr.of(x).slice(0, x.size() * x.dtype().bytes()), (byte) 0);
    }

    @Override
    public void copy(Tensor from, Tensor to) {
        if (from.dtype() == to.dtype()) {
            gpu.stream().copy(DevicePtr.of(from).slice(0, from.size() * from.dtype().bytes()), DevicePtr.of(to));
            return;
        }
        Launch launch = from.dtype() == DType.BF16 && to.dtype() == DType.F32 ? widen
                : from.dtype() == DType.F32 && to.dtype() == DType.BF16 ? narrow : null;
        if (launch == null || !from.isContiguous() || !to.isContiguous() || from.size() != to.size()) {
            throw new IllegalArgumentException("cannot copy %s into %s on a GPU".formatted(from, to));
        }
        launch.set(0, DevicePtr.of(from)).set(1, DevicePtr.of(to)).set(2, from.size())
                .grid(Math.ceilDiv(from.size(), CONVERTED_PER_BLOCK)).on(gpu.stream());
    }

    @Override
    public Tensor readable(Tensor x) {
        long bytes = x.size() * x.dtype().bytes();
        if (read == null || read.segment().byteSize() < bytes) {
            if (read != null) {
                read.close();
            }
            read = PinnedBuffer.of(gpu.context(), bytes);
        }
        Tensor copy = Tensor.of(x.name(), x.dtype(), new Storage.Host(read.segment()), 0, x.shape());
        copy.copyFrom(x);
        return copy;
    }

    @Override
    public Supplier<Tensor> record(List<Tensor> inputs, Runnable work, Tensor output) {
        List<PinnedBuffer> sent = inputs.stream().map(this::pinned).toList();
        PinnedBuffer received = pinned(output);
        Graph graph = gpu.stream().capture(() -> {
            for (int i = 0; i < sent.size(); i++) {
                move(sent.get(i).address(), DevicePtr.of(inputs.get(i)), sent.get(i).address().bytes());
            }
            work.run();
            move(DevicePtr.of(output), received.address(), received.address().bytes());
        });
        Tensor readable = Tensor.of(output.name(), output.dtype(), new Storage.Host(received.segment()), 0,
                output.shape());
        return () -> {
            for (int i = 0; i < sent.size(); i++) {
                Tensor input = inputs.get(i);
                MemorySegment.copy(input.segment(), input.byteOffset(), sent.get(i).segment(), 0,
                        sent.get(i).segment().byteSize());
            }
            graph.launch(gpu.stream());
            gpu.stream().synchronize();
            return readable;
        };
    }

    /** A copy by a kernel, which a recorded step does not wait for as long as for the engines that copy. */
    private void move(DevicePtr from, DevicePtr to, long bytes) {
        if (from.address() % MOVED_PER_THREAD != 0 || to.address() % MOVED_PER_THREAD != 0) {
            throw new IllegalArgumentException("%s and %s do not begin at multiples of %d bytes".formatted(from, to,
                    MOVED_PER_THREAD));
        }
        move.set(0, from).set(1, to).set(2, bytes)
                .grid(Math.ceilDiv(bytes, (long) MOVED_PER_THREAD * BLOCK)).on(gpu.stream());
    }

    private PinnedBuffer pinned(Tensor x) {
        return PinnedBuffer.of(gpu.context(), x.size() * x.dtype().bytes());
    }

    @Override
    public long logitsAtATime() {
        return LOGITS_AT_A_TIME;
    }

    @Override
    public OptionalDouble peakFlops() {
        return precision.weights() == DType.BF16 ? gpu.device().peakFlops() : OptionalDouble.empty();
    }

    @Override
    public long capacity() {
        return gpu.context().freeBytes();
    }

    @Override
    public long deviceBytes() {
        return gpu.takenBytes();
    }

    @Override
    public Mark mark() {
        Event event = Event.timed(gpu.context());
        gpu.stream().record(event);
        return new Point(event);
    }

    private record Point(Event event) implements Mark {
        @Override
        public double nanosSince(Mark earlier) {
            event.synchronize();
            return event.millisecondsSince(((Point) earlier).event) * 1e6;
        }

        @Override
        public void release() {
            event.close();
        }
    }

    @Override
    public void commit() {
        workspace.commit();
        attention.commit();
    }

    @Override
    public void close() {
        memory.close();
        if (memory instanceof PlanMemory) {
            // Opening a device and loading kernels takes half a second; what was planned is opened next.
            gpu.keep();
        } else {
            gpu.close();
        }
    }
}
