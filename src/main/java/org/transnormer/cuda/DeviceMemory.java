package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.OutOfMemoryException;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/**
 * The device memory of a model. What the plan says is taken from the driver at once, so that a run that does not fit
 * fails before its first step; tensors then follow each other in it. More than planned is taken in further pieces. Only
 * tensors of the kind {@link MemoryKind#DATA} can be touched by the host too.
 */
public final class DeviceMemory implements Memory {
    /** What cuBLASLt and bulk copies are fastest with; plans for this memory are made with it. */
    public static final long ALIGNMENT = 256;

    /** What is taken at least when the plan is passed. */
    private static final long PIECE = 64L << 20;

    private final Context context;
    private final StreamTransfer transfer;
    private final Arena host = Arena.ofShared();
    private final MemoryPlan planned;
    private final MemoryPlan plan = new MemoryPlan();
    private final List<Region> regions = new ArrayList<>();
    private long next;
    private long end;

    /** Memory of the driver, freed with its owner. */
    private static final class Region extends Owner {
        private final long address;

        Region(Context context, long address) {
            super(context);
            this.address = address;
        }

        @Override
        void release() {
            Driver.check("cuMemFree_v2", cuMemFree_v2(address));
        }
    }

    /**
     * Takes the memory of a plan.
     *
     * @param planned from a {@link org.transnormer.tensor.PlanMemory} of this {@link #ALIGNMENT}
     * @throws OutOfMemoryException if it is not there
     */
    public DeviceMemory(Stream stream, MemoryPlan planned) {
        this.context = stream.context();
        transfer = new StreamTransfer(stream);
        this.planned = planned;
        if (planned.total() > 0) {
            take("the plan", planned.total());
        }
    }

    @Override
    public Tensor allocate(MemoryKind kind, String name, DType dtype, long... shape) {
        long bytes = MemoryPlan.paddedBytes(ALIGNMENT, dtype, shape);
        if (bytes > end - next) {
            take(name + " (" + kind.label() + ")", Math.max(bytes, PIECE));
        }
        plan.add(kind, bytes);
        Storage storage = kind == MemoryKind.DATA
                ? new Storage.Mirrored(host.allocate(bytes, ALIGNMENT), transfer, next)
                : new Storage.Device(transfer, next, bytes);
        next += bytes;
        return Tensor.of(name, dtype, storage, 0, shape);
    }

    private void take(String what, long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_LONG);
            int status = cuMemAlloc_v2(out, bytes);
            if (status == CUDA_ERROR_OUT_OF_MEMORY()) {
                throw outOfMemory(what, bytes);
            }
            Driver.check("cuMemAlloc_v2", status, bytes);
            next = out.get(C_LONG, 0);
            end = next + bytes;
            regions.add(new Region(context, next));
            transfer.zero(next, bytes);
        }
    }

    private OutOfMemoryException outOfMemory(String what, long bytes) {
        Device device = context.device();
        String rows = Arrays.stream(MemoryKind.values()).filter(kind -> planned.bytes(kind) > 0)
                .map(kind -> "%s %,d".formatted(kind.label(), planned.bytes(kind))).collect(Collectors.joining(", "));
        return new OutOfMemoryException(("out of device memory: %s needs %,d bytes; %,d of %,d bytes are free on %s; "
                + "planned: %s; a smaller --batch (with --accumulate for the same step) or --sequence needs less, and "
                + "nvidia-smi lists who else uses the GPU").formatted(what, bytes, context.freeBytes(),
                        device.memory(), device.name(), rows.isEmpty() ? "nothing" : rows));
    }

    @Override
    public MemoryPlan plan() {
        return plan;
    }

    @Override
    public void close() {
        transfer.close();
        regions.reversed().forEach(Region::close);
        if (host.scope().isAlive()) {
            host.close();
        }
    }
}
