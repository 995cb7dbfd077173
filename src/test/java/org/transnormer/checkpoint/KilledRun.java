package org.transnormer.checkpoint;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.transnormer.launch.Job;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;

/** What {@link KilledRunTest} kills: saves step after step, every element of which is the step, until it dies. */
final class KilledRun {
    private static final TinyModel MODEL = new TinyModel(500, 64, 2, 2, 128);
    private static final int KEEP = 2;

    private KilledRun() {
    }

    public static void main(String[] args) {
        Path folder = Path.of(args[0]);
        try (TestTensors memory = new TestTensors(1)) {
            List<Tensor> weights = MODEL.tensors(memory, DType.F32, false);
            List<Tensor> moments = weights.stream().map(w -> memory.copy(w, DType.F32).named("m." + w.name())).toList();
            RunCheckpoints checkpoints = new RunCheckpoints(folder, KEEP);
            long step = latestStep(folder);
            while (true) {
                step++;
                for (int i = 0; i < weights.size(); i++) {
                    weights.get(i).fill(step);
                    moments.get(i).fill(-step);
                }
                // Every step twice: the second time replaces the first.
                for (int i = 0; i < 2; i++) {
                    checkpoints.save(Job.alone(),
                            new RunState(step, step * 10, 0, "", Map.of("position", step), Map.of(), Map.of(),
                                    Map.of()),
                            new HuggingFaceWriter(MODEL.config(), Part.wholes(weights), DType.F32, 100_000),
                            Part.wholes(moments), temp -> {});
                    System.out.println(step);
                }
            }
        }
    }

    /** The step of the latest checkpoint, all of which must agree with it; 0 if there is none. */
    static long latestStep(Path folder) {
        RunCheckpoints checkpoints = new RunCheckpoints(folder, KEEP);
        if (!checkpoints.damaged().isEmpty()) {
            throw new AssertionError(checkpoints.damaged());
        }
        Path latest = checkpoints.latest().orElse(null);
        if (latest == null) {
            return 0;
        }
        try (TestTensors memory = new TestTensors(1); RunCheckpoint back = RunCheckpoint.open(latest)) {
            List<Tensor> weights = MODEL.tensors(memory, DType.F32, false);
            List<Tensor> moments = weights.stream().map(w -> memory.copy(w, DType.F32).named("m." + w.name())).toList();
            back.model().readInto(Part.wholes(weights));
            back.readOptimizer(Part.wholes(moments));
            long step = back.state().step();
            if (!back.state().data().equals(Map.of("position", step))) {
                throw new AssertionError(back.state());
            }
            weights.forEach(w -> requireAll(w, step));
            moments.forEach(m -> requireAll(m, -step));
            return step;
        }
    }

    private static void requireAll(Tensor tensor, double value) {
        for (long i = 0; i < tensor.size(); i++) {
            if (tensor.getFlat(i) != value) {
                throw new AssertionError("%s holds %s at %d, not %s".formatted(tensor, tensor.getFlat(i), i, value));
            }
        }
    }
}
