package org.transnormer.testing;

import java.lang.foreign.MemorySegment;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.transnormer.cuda.DeviceMemory;
import org.transnormer.cuda.Gpu;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/** Where something works on tensors of the host: there, or on a GPU, whereto they are copied and wherefrom they come back. */
public interface Place {
    /** The host itself. */
    Place HOST = (tensors, work) -> work.accept(tensors);

    /** Hands over the tensors, or what stands for them; whole storages, poison around them included. */
    void use(List<Tensor> tensors, Consumer<List<Tensor>> work);

    default void use(Tensor x, Consumer<Tensor> work) {
        use(List.of(x), at -> work.accept(at.getFirst()));
    }

    default void use(Tensor x, Tensor y, BiConsumer<Tensor, Tensor> work) {
        use(List.of(x, y), at -> work.accept(at.get(0), at.get(1)));
    }

    /** The GPU; work is over when it is used no longer. */
    static Place on(Gpu gpu) {
        return (tensors, work) -> {
            try (DeviceMemory memory = new DeviceMemory(gpu.stream(), new MemoryPlan())) {
                Map<MemorySegment, Storage.Device> moved = new IdentityHashMap<>();
                List<Tensor> there = tensors.stream().map(t -> OnDevice.moved(t, memory, moved)).toList();
                GpuRanks.meet();
                work.accept(there);
                gpu.stream().synchronize();
                GpuRanks.meet();
                moved.forEach((host, storage) -> storage.transfer().download(storage.address(), host));
            }
        };
    }
}
