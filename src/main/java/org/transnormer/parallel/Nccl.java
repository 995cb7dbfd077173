package org.transnormer.parallel;

import java.util.Optional;
import java.util.stream.IntStream;
import org.transnormer.cuda.DeviceMemory;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Event;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.NcclComm;
import org.transnormer.cuda.NcclId;
import org.transnormer.cuda.Stream;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.Tensor;

/**
 * Ranks that have a GPU each, by NCCL. Collectives are enqueued in the order of the computation; those of
 * {@link #beside} on a stream of their own. Tensors lie in device memory; of mirrored ones the device's copy is meant.
 * SPEC section 7.
 *
 * <p>Used by the thread that uses the GPU; only {@link #abort} may come from another.
 */
public final class Nccl implements Communicator {
    private final Gpu gpu;
    private final NcclComm comm;
    private final Stream stream;
    /** Where the computation has come to when it is told to the other stream; null where there is one stream. */
    private final Event reached;
    /** Where its own stream came to with each of the collectives called last; null as above. */
    private final Event[] done;
    private long calls;
    /** How many of the calls the computation waits for already; a recorded step may not wait for what came before it. */
    private long awaited;
    private final Runnable begins;
    /** What a barrier sums. */
    private final Tensor token;
    /** Of sums by copies, of those that are made of this one. */
    private final CopiedSums.Sizes sizes;
    /** Null where sums go by NCCL. */
    private final CopiedSums copies;
    private Optional<String> sumsBeside = Optional.empty();

    /**
     * The token is there before the group is: where ranks are threads of one process, taking device memory may wait for
     * another rank's GPU, and that one for this rank.
     */
    private Nccl(Gpu gpu, Tensor token, NcclComm comm, Stream stream, Runnable begins, CopiedSums.Sizes sizes,
            CopiedSums copies) {
        this.gpu = gpu;
        this.token = token;
        this.comm = comm;
        this.stream = stream;
        this.begins = begins;
        this.sizes = sizes;
        this.copies = copies;
        reached = stream == gpu.stream() ? null : Event.of(gpu.context());
        done = stream == gpu.stream() ? null : IntStream.rangeClosed(0, MOST_UNAWAITED)
                .mapToObj(_ -> Event.of(gpu.context())).toArray(Event[]::new);
    }

    private static Tensor token(Gpu gpu) {
        var plan = new MemoryPlan();
        plan.add(MemoryKind.WORKSPACE, DeviceMemory.ALIGNMENT);
        return new DeviceMemory(gpu.stream(), plan).allocate(MemoryKind.WORKSPACE, "barrier", DType.I32, 1);
    }

    /**
     * Returns when all ranks have joined. Everything is freed with the GPU.
     *
     * @param id made by one rank and handed to all
     */
    public static Nccl join(Gpu gpu, NcclId id, int rank, int size) {
        return join(gpu, id, rank, size, () -> {
        });
    }

    /** @param begins is run when a collective is called, of this communicator and of those made of it */
    public static Nccl join(Gpu gpu, NcclId id, int rank, int size, Runnable begins) {
        return join(gpu, id, rank, size, begins, CopiedSums.Sizes.STANDARD);
    }

    static Nccl join(Gpu gpu, NcclId id, int rank, int size, Runnable begins, CopiedSums.Sizes sizes) {
        return new Nccl(gpu, token(gpu), NcclComm.join(gpu.context(), id, rank, size), gpu.stream(), begins, sizes,
                null);
    }

    @Override
    public int size() {
        return comm.size();
    }

    @Override
    public int rank() {
        return comm.rank();
    }

    /** A sum that is recorded goes by NCCL: what copies wait for are counts, and a recording has those of its making. */
    @Override
    public void allReduceSum(Tensor x) {
        CollectiveArguments.gapless("allReduceSum", x);
        if (copies() && copies.takes(x)) {
            begins.run();
            copies.sum(x, calls);
        } else {
            begin();
            DevicePtr at = DevicePtr.of(x);
            comm.allReduceSum(stream, at, at, x.size(), x.dtype());
        }
        called();
    }

    /** A rank's NaN may be lost: NCCL's maximum of a number and NaN is the number. */
    @Override
    public void allReduceMax(Tensor x) {
        CollectiveArguments.gapless("allReduceMax", x);
        begin();
        DevicePtr at = DevicePtr.of(x);
        comm.allReduceMax(stream, at, at, x.size(), x.dtype());
        called();
    }

    @Override
    public void broadcast(Tensor x, int root) {
        CollectiveArguments.gapless("broadcast", x);
        CollectiveArguments.rank("broadcast", root, size());
        begin();
        comm.broadcast(stream, DevicePtr.of(x), x.size(), x.dtype(), root);
        called();
    }

    @Override
    public void allGather(Tensor part, Tensor whole) {
        CollectiveArguments.parts("allGather", part, whole, size());
        begin();
        comm.allGather(stream, DevicePtr.of(part), DevicePtr.of(whole), part.size(), part.dtype());
        called();
    }

    @Override
    public void reduceScatterSum(Tensor whole, Tensor part) {
        CollectiveArguments.parts("reduceScatterSum", part, whole, size());
        begin();
        comm.reduceScatterSum(stream, DevicePtr.of(whole), DevicePtr.of(part), part.size(), part.dtype());
        called();
    }

    @Override
    public void send(Tensor x, int to) {
        CollectiveArguments.gapless("send", x);
        CollectiveArguments.other("send", to, rank(), size());
        begin();
        comm.send(stream, DevicePtr.of(x), x.size(), x.dtype(), to);
        called();
    }

    @Override
    public void receive(Tensor x, int from) {
        CollectiveArguments.gapless("receive", x);
        CollectiveArguments.other("receive", from, rank(), size());
        begin();
        comm.receive(stream, DevicePtr.of(x), x.size(), x.dtype(), from);
        called();
    }

    @Override
    public void skip() {
        begins.run();
        called();
    }

    /** The host waits, and so for all that was enqueued before. */
    @Override
    public void barrier() {
        allReduceSum(token);
        stream.synchronize();
    }

    @Override
    public Nccl split(int group) {
        stream.synchronize();
        return new Nccl(gpu, token, comm.split(group), stream, begins, sizes, null);
    }

    /** Large sums go by copies between the GPUs where they are of one host and reach each other. */
    @Override
    public Nccl beside() {
        return beside(sizes);
    }

    Nccl beside(CopiedSums.Sizes sizes) {
        stream.synchronize();
        // Made first, closed last: the group's work is on it.
        var beside = Stream.urgent(gpu.context());
        var made = CopiedSums.of(gpu, beside, rank(), size(), sizes);
        // Returns when all ranks have called it, and so have taken what memory they need.
        var group = comm.split(0);
        Optional<String> obstacle = made.connect(group);
        sumsBeside = Optional.of(obstacle.map(why -> "by NCCL: " + why).orElse("by copies between GPUs"));
        return new Nccl(gpu, token, group, beside, begins, sizes, obstacle.isEmpty() ? made : null);
    }

    @Override
    public Optional<String> sumsBeside() {
        return sumsBeside;
    }

    @Override
    public void collectivesAwaitCompute() {
        if (reached != null) {
            gpu.stream().record(reached);
            stream.await(reached);
        }
        if (copies()) {
            copies.reached();
        }
    }

    @Override
    public void computeAwaitsCollectives(int last) {
        if (done != null && calls - last > awaited) {
            awaited = calls - last;
            gpu.stream().await(done[slot(awaited - 1)]);
            if (copies != null) {
                copies.awaited(awaited - 1);
            }
        }
    }

    /** A collective of NCCL's is called, on tensors that may be sums by copies. */
    private void begin() {
        begins.run();
        if (copies()) {
            copies.finish();
        }
    }

    /** Not while the computation is recorded: the stream would wait for it, and know what is added, only when that runs. */
    private boolean copies() {
        return copies != null && !gpu.stream().isCapturing();
    }

    private void called() {
        if (done != null) {
            stream.record(done[slot(calls++)]);
        }
    }

    private static int slot(long call) {
        return (int) (call % (MOST_UNAWAITED + 1));
    }

    /**
     * Throws what went wrong in collectives since they were enqueued, on this rank or on the way to another.
     *
     * @throws org.transnormer.cuda.CudaException of NCCL
     */
    public void check() {
        comm.checkAsynchronous();
    }

    /** Ends the collectives that wait for a rank that is gone; there can be no others afterwards. */
    public void abort() {
        if (copies != null) {
            copies.abort();
        }
        comm.abort();
    }
}
