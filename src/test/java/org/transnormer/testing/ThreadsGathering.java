package org.transnormer.testing;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.launch.Gathering;
import org.transnormer.parallel.Communicator;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/** Ranks that are threads tell each other bytes by their communicator; one that throws ends the others, and is named. */
public record ThreadsGathering(Communicator world) implements Gathering {
    @Override
    public int size() {
        return world.size();
    }

    @Override
    public int rank() {
        return world.rank();
    }

    @Override
    public List<byte[]> gather(String what, byte[] mine) {
        try (HostMemory memory = new HostMemory()) {
            Tensor part = memory.allocate(MemoryKind.DATA, "bytes", DType.F64, 1, MOST_BYTES + 2);
            Tensor whole = memory.allocate(MemoryKind.DATA, "all bytes", DType.F64, size(), MOST_BYTES + 2);
            part.set(0, 0, mine.length);
            part.set(0, 1, what.hashCode());
            for (int i = 0; i < mine.length; i++) {
                part.set(0, 2 + i, mine[i]);
            }
            world.allGather(part, whole);
            List<byte[]> all = new ArrayList<>();
            for (int r = 0; r < size(); r++) {
                if ((int) whole.get(r, 1) != what.hashCode()) {
                    throw new IllegalStateException("rank %d does not gather %s".formatted(r, what));
                }
                byte[] bytes = new byte[(int) whole.get(r, 0)];
                for (int i = 0; i < bytes.length; i++) {
                    bytes[i] = (byte) whole.get(r, 2 + i);
                }
                all.add(bytes);
            }
            return all;
        }
    }
}
