package org.transnormer.data;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/** What a batch source wrote, read back: for each sequence its pairs, first position and slot. */
record Batch(long counted, List<Run> runs) {
    /** One sequence of a batch. */
    record Run(long start, int slot, List<Integer> inputs, List<Integer> targets) {
    }

    /** The next batch of a source; null if there is none. */
    static Batch next(BatchSource source) {
        try (HostMemory memory = new HostMemory()) {
            Tensor ids = memory.allocate(MemoryKind.DATA, "ids", DType.I32, source.tokens());
            Tensor targets = memory.allocate(MemoryKind.DATA, "targets", DType.I32, source.tokens());
            ids.fill(Integer.MIN_VALUE);
            targets.fill(Integer.MIN_VALUE);
            Sequences sequences = Sequences.allocate(memory, source.maxSequences(), source.tokens());
            long counted = source.next(ids, targets, sequences);
            if (counted == 0) {
                return null;
            }
            if (sequences.tokens() != source.tokens()) {
                throw new AssertionError("%d of %d tokens".formatted(sequences.tokens(), source.tokens()));
            }
            List<Run> runs = new ArrayList<>();
            for (int i = 0; i < sequences.count(); i++) {
                Run run = new Run(sequences.positions().getInt(sequences.offset(i)), sequences.slot(i),
                        new ArrayList<>(), new ArrayList<>());
                for (long t = sequences.offset(i); t < sequences.offset(i + 1); t++) {
                    run.inputs().add(ids.getInt(t));
                    run.targets().add(targets.getInt(t));
                }
                runs.add(run);
            }
            return new Batch(counted, runs);
        }
    }
}
