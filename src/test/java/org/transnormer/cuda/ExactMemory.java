package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/**
 * Device memory of tests: a piece of the driver's for every tensor, which ends where the tensor ends and holds whatever was
 * there, so that tools that watch a kernel's accesses know more than they would of one large piece of zeros.
 */
public final class ExactMemory implements Memory {
    private final StreamTransfer transfer;
    private final Arena host = Arena.ofShared();
    private final MemoryPlan plan = new MemoryPlan();
    private final List<Long> addresses = new ArrayList<>();

    public ExactMemory(Stream stream) {
        transfer = new StreamTransfer(stream);
    }

    @Override
    public Tensor allocate(MemoryKind kind, String name, DType dtype, long... shape) {
        long bytes = MemoryPlan.paddedBytes(1, dtype, shape);
        plan.add(kind, bytes);
        long address = take(bytes);
        Storage storage = kind == MemoryKind.DATA
                ? new Storage.Mirrored(host.allocate(bytes, DeviceMemory.ALIGNMENT), transfer, address)
                : new Storage.Device(transfer, address, bytes);
        return Tensor.of(name, dtype, storage, 0, shape);
    }

    private long take(long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_LONG);
            Driver.check("cuMemAlloc_v2", cuMemAlloc_v2(out, bytes), bytes);
            addresses.add(out.get(C_LONG, 0));
            return addresses.getLast();
        }
    }

    @Override
    public MemoryPlan plan() {
        return plan;
    }

    @Override
    public void close() {
        transfer.close();
        addresses.forEach(address -> Driver.check("cuMemFree_v2", cuMemFree_v2(address)));
        addresses.clear();
        if (host.scope().isAlive()) {
            host.close();
        }
    }
}
