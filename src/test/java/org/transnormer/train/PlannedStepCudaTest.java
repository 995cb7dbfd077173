package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.ObservedBackend;
import org.transnormer.backend.PlanBackend;
import org.transnormer.backend.Precision;
import org.transnormer.cuda.Device;
import org.transnormer.data.TokenDataset;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ModelConfig.Position;
import org.transnormer.model.Recompute;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/** What is planned without a GPU is what runs on one: memory by kind, and every call of a step with its tensors. */
@Tag("gpu")
class PlannedStepCudaTest {
    private static final TokenDataset.Split DATA = TinyRun.data();
    private static final TrainSettings SETTINGS = TinyRun.settings(3, 2);

    @Test
    void memoryIsThatOfARunInBf16() {
        memoryIsThatOfARun(Precision.BF16);
    }

    @Test
    void memoryIsThatOfARunInF32() {
        memoryIsThatOfARun(Precision.F32);
    }

    private static void memoryIsThatOfARun(Precision precision) {
        for (NormType norm : NormType.values()) {
            ModelConfig config = config(norm, ActivationFunction.SILU, norm != NormType.RMSNORM);
            for (Recompute recompute : norm == NormType.SRMSNORM ? List.of(Recompute.values())
                    : List.of(Recompute.GLU)) {
                try (Backend planned = planned(precision, PlanBackend.Calls.NONE);
                        Backend gpu = BackendKind.CUDA.open(precision, 1)) {
                    run(planned, config, recompute);
                    TrainingRun run = run(gpu, config, recompute);
                    run.weights().initialise(1);
                    run.optimizer().adoptWeights();
                    run.trainer().next();
                    for (MemoryKind kind : MemoryKind.values()) {
                        assertThat(planned.memory().plan().bytes(kind)).as("%s, %s, %s", kind, norm, recompute)
                                .isEqualTo(gpu.memory().plan().bytes(kind));
                    }
                }
            }
        }
    }

    /** Scratch memory is the most that any announces: here each is alone, with more than the products' own. */
    @Test
    void eachLeafAnnouncesWhatItsTwinDoes() {
        List<Consumer<Backend>> announcements = List.of(_ -> {},
                backend -> backend.linear().reserve(1 << 16, 1 << 14, 1 << 18),
                backend -> backend.lrpe().reserve(1 << 16, 160, 128),
                backend -> backend.lightning().reserve(1 << 20, 1, 64, 512, 128),
                backend -> backend.attention().reserve(DType.BF16, 1 << 20, 1, 64, 128, 128, true, true),
                backend -> backend.embedding().reserve(1 << 20, 1 << 16, 4096),
                backend -> backend.norm(NormType.RMSNORM).reserve(1 << 14),
                backend -> backend.norm(NormType.LAYERNORM).reserve(1 << 14));
        List<List<Long>> planned = announcements.stream().map(a -> announced(planned(Precision.BF16,
                PlanBackend.Calls.NONE), a)).toList();
        assertThat(planned).doesNotHaveDuplicates().isEqualTo(announcements.stream()
                .map(a -> announced(BackendKind.CUDA.plan(Precision.BF16, 1), a)).toList());
    }

    private static List<Long> announced(Backend opened, Consumer<Backend> announcement) {
        try (Backend backend = opened) {
            announcement.accept(backend);
            backend.commit();
            return Stream.of(MemoryKind.values()).map(kind -> backend.memory().plan().bytes(kind)).toList();
        }
    }

    /** But for layers with LRPE, whose parts are the fused twin's own affair. */
    @Test
    void callsAreThoseOfARun() {
        for (Recompute recompute : Recompute.values()) {
            ModelConfig config = config(NormType.SRMSNORM, ActivationFunction.SILU, false);
            List<String> planned = new ArrayList<>();
            List<String> made = new ArrayList<>();
            try (Backend backend = planned(Precision.BF16, (component, method, arguments) -> planned.add(
                    call(component, method, arguments)))) {
                run(backend, config, recompute).trainer().next();
            }
            try (Backend backend = new ObservedBackend(BackendKind.CUDA.open(Precision.BF16, 1),
                    (component, method, arguments, elapsed) -> {
                        if (!method.equals("reserve") && !method.equals("statistics")) {
                            made.add(call(component, method, arguments));
                        }
                        elapsed.release();
                    })) {
                TrainingRun run = run(backend, config, recompute);
                run.weights().initialise(1);
                made.clear();
                run.trainer().next();
            }
            assertThat(planned).as("%s", recompute).hasSizeGreaterThan(50).isEqualTo(made);
        }
    }

    private static String call(String component, String method, Object[] arguments) {
        return "%s.%s %s".formatted(component, method, Stream.of(arguments)
                .map(a -> a instanceof Tensor t ? "%s %s".formatted(t.dtype(), Arrays.toString(t.shape())) : "")
                .toList());
    }

    private static Backend planned(Precision precision, PlanBackend.Calls calls) {
        return new PlanBackend(precision, Device.of(0).isHopper(), Long.MAX_VALUE, calls);
    }

    private static TrainingRun run(Backend backend, ModelConfig config, Recompute recompute) {
        return new TrainingRun(backend, config, SETTINGS, DATA.train(), DATA.heldOut(), recompute);
    }

    private static ModelConfig config(NormType norm, ActivationFunction activation, boolean lrpe) {
        ModelConfig c = TinyRun.config();
        return new ModelConfig(c.vocabulary(), c.width(), c.layers(), c.heads(), c.hidden(), c.gluWidth(), norm,
                activation, c.gluActivation(), lrpe ? Position.LRPE_DECAY : Position.DECAY, 0,
                lrpe ? c.lrpeLayers() : Collections.nCopies(c.layers(), false), c.decay(), c.temperature(), c.gate(),
                c.scaleEmbedding(), c.bias(), c.tiedHead(), c.initStd(), c.padding(), c.bos(), c.eos());
    }
}
