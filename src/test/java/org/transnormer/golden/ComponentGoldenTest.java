package org.transnormer.golden;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.transnormer.activation.Activation;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.activation.ActivationScalar;
import org.transnormer.activation.ActivationVector;
import org.transnormer.adamw.AdamW;
import org.transnormer.adamw.AdamWScalar;
import org.transnormer.adamw.AdamWVector;
import org.transnormer.adamw.GradientNorm;
import org.transnormer.adamw.GradientNormScalar;
import org.transnormer.adamw.GradientNormVector;
import org.transnormer.decay.DecaySchedule;
import org.transnormer.decay.DecayTemperature;
import org.transnormer.embedding.Embedding;
import org.transnormer.embedding.EmbeddingScalar;
import org.transnormer.embedding.EmbeddingVector;
import org.transnormer.lightning.LightningAttention;
import org.transnormer.lightning.LightningChunked;
import org.transnormer.lightning.LightningQuadratic;
import org.transnormer.lightning.LightningRecurrent;
import org.transnormer.lightning.LightningTiled;
import org.transnormer.lightning.LightningVector;
import org.transnormer.lightning.Sequences;
import org.transnormer.linear.Linear;
import org.transnormer.linear.LinearScalar;
import org.transnormer.linear.LinearVector;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.loss.CrossEntropyScalar;
import org.transnormer.loss.CrossEntropyVector;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.lrpe.LrpeScalar;
import org.transnormer.lrpe.LrpeVector;
import org.transnormer.product.Product;
import org.transnormer.product.ProductScalar;
import org.transnormer.product.ProductVector;
import org.transnormer.simd.Workers;
import org.transnormer.srmsnorm.LayerNormScalar;
import org.transnormer.srmsnorm.LayerNormVector;
import org.transnormer.srmsnorm.Norm;
import org.transnormer.srmsnorm.NormParameters;
import org.transnormer.srmsnorm.RmsNormScalar;
import org.transnormer.srmsnorm.RmsNormVector;
import org.transnormer.srmsnorm.SrmsNormScalar;
import org.transnormer.srmsnorm.SrmsNormVector;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/** Every twin against the results that golden-tests/generate/components.py worked out in NumPy. */
class ComponentGoldenTest {
    private static final HostMemory MEMORY = new HostMemory();
    private static final Workers WORKERS = new Workers(2);
    private static final Workspace WORKSPACE = new Workspace(MEMORY);

    @AfterAll
    static void close() {
        WORKERS.close();
        MEMORY.close();
    }

    private static ComponentCase open(String component, String name, Object twin) {
        return new ComponentCase(component, name, twin.getClass().getSimpleName().endsWith("Vector") ? DType.F32
                : DType.F64);
    }

    @Test
    void srmsnorm() {
        norm("srmsnorm", new SrmsNormScalar());
        norm("srmsnorm", new SrmsNormVector(WORKERS));
        norm("rmsnorm", new RmsNormScalar());
        norm("rmsnorm", new RmsNormVector(WORKERS, WORKSPACE));
        norm("layernorm", new LayerNormScalar());
        norm("layernorm", new LayerNormVector(WORKERS, WORKSPACE));
    }

    private static void norm(String name, Norm twin) {
        try (ComponentCase c = open("srmsnorm", name, twin)) {
            Tensor x = c.in("x");
            Tensor weight = c.in("weight");
            Tensor bias = c.in("bias");
            boolean hasWeight = c.contains("dweight");
            boolean hasBias = c.contains("dbias");
            NormParameters parameters = new NormParameters(hasWeight ? weight : null, hasBias ? bias : null);
            DType sums = twin.statistics() == 2 ? DType.F64 : x.dtype();
            for (String prefix : new String[] {"", "gated."}) {
                Tensor gate = prefix.isEmpty() ? null : c.in("gate");
                Tensor statistics = c.poisoned(sums, x.dim(0), twin.statistics());
                Tensor backward = c.poisoned(sums, x.dim(0), twin.statistics());
                Tensor y = c.out(prefix + "y");
                Tensor dx = c.out(prefix + "dx");
                Tensor dgate = gate == null ? null : c.out("gated.dgate");
                Tensor dweight = hasWeight ? c.zeros(prefix + "dweight") : null;
                Tensor dbias = hasBias ? c.zeros(prefix + "dbias") : null;
                twin.partial(x, statistics);
                twin.apply(x, statistics, x.dim(1), parameters, gate, y);
                twin.backwardPartial(x, statistics, x.dim(1), parameters, gate, c.in("dy"), backward);
                twin.backwardApply(x, statistics, backward, x.dim(1), parameters, gate, c.in("dy"), c.in("residual"),
                        dx, dgate, new NormParameters(dweight, dbias));
                c.check(prefix + "y", y);
                c.check(prefix + "dx", dx);
                if (gate != null) {
                    c.check("gated.dgate", dgate);
                }
                if (hasWeight) {
                    c.check(prefix + "dweight", dweight);
                }
                if (hasBias) {
                    c.check(prefix + "dbias", dbias);
                }
            }
        }
    }

    @Test
    void lrpe() {
        for (Lrpe twin : List.of(new LrpeScalar(), new LrpeVector(WORKERS, WORKSPACE))) {
            try (ComponentCase c = open("lrpe", "lrpe", twin)) {
                Tensor positions = c.in("positions", DType.I32);
                Tensor y = c.out("y");
                Tensor dx = c.out("dx");
                Tensor dtheta = c.zeros("dtheta");
                twin.forward(c.in("x"), c.in("theta"), positions, y);
                twin.backward(c.in("x"), c.in("theta"), positions, c.in("dy"), dx, dtheta);
                c.check("y", y);
                c.check("dx", dx);
                c.check("dtheta", dtheta);
            }
        }
    }

    @Test
    void lightning() {
        for (LightningAttention twin : List.of(new LightningQuadratic(), new LightningRecurrent(),
                new LightningChunked(4), new LightningTiled(4, 2), new LightningVector(WORKERS, WORKSPACE))) {
            lightning("whole", twin);
            lightning("packed", twin);
        }
    }

    private static void lightning(String name, LightningAttention twin) {
        try (ComponentCase c = open("lightning", name, twin)) {
            Tensor q = c.in("q");
            Tensor k = c.in("k");
            Tensor v = c.in("v");
            Tensor o = c.out("o");
            Tensor dq = c.out("dq");
            Tensor dk = c.out("dk");
            Tensor dv = c.out("dv");
            boolean packed = c.contains("lengths");
            Tensor mask = packed ? c.in("mask", DType.I32) : null;
            Tensor initial = packed ? c.in("initial") : null;
            Tensor last = packed ? c.out("last") : null;
            Tensor dlast = packed ? c.in("dlast") : null;
            Tensor dinitial = packed ? c.out("dinitial") : null;
            Sequences sequences = Sequences.allocate(c.tensors().memory(), 2, q.dim(0));
            if (packed) {
                Tensor lengths = c.in("lengths", DType.I32);
                Tensor slots = c.in("slots", DType.I32);
                for (int i = 0; i < lengths.dim(0); i++) {
                    sequences.add(lengths.getInt(i), 0, slots.getInt(i));
                }
            } else {
                sequences.add(q.dim(0), 0, Sequences.NO_SLOT);
            }
            twin.forward(q, k, v, c.in("rates"), sequences, mask, initial, o, last);
            twin.backward(q, k, v, c.in("rates"), sequences, mask, initial, c.in("dout"), dlast, dq, dk, dv, dinitial);
            c.check("o", o);
            c.check("dq", dq);
            c.check("dk", dk);
            c.check("dv", dv);
            if (packed) {
                c.check("last", last);
                c.check("dinitial", dinitial);
            }
        }
    }

    @Test
    void linear() {
        for (Linear twin : List.of(new LinearScalar(), new LinearVector(WORKERS, WORKSPACE))) {
            try (ComponentCase c = open("linear", "linear", twin)) {
                Tensor y = c.out("y");
                Tensor dx = c.out("dx");
                Tensor dw = c.out("dw");
                Tensor db = c.out("db");
                twin.forward(c.in("x"), c.in("w"), c.in("b"), c.in("residual"), y);
                twin.backwardInput(c.in("dy"), c.in("w"), dx, false);
                twin.backwardWeight(c.in("x"), c.in("dy"), dw, db, false);
                c.check("y", y);
                c.check("dx", dx);
                c.check("dw", dw);
                c.check("db", db);
            }
        }
    }

    @Test
    void activation() {
        for (Activation twin : List.of(new ActivationScalar(), new ActivationVector(WORKERS))) {
            try (ComponentCase c = open("activation", "all", twin)) {
                for (ActivationFunction f : ActivationFunction.values()) {
                    Tensor y = c.out("y." + f.releasedName());
                    Tensor dx = c.out("dx." + f.releasedName());
                    twin.forward(f, c.in("x"), y);
                    twin.backward(f, c.in("x"), c.in("dy"), dx);
                    c.check("y." + f.releasedName(), y);
                    c.check("dx." + f.releasedName(), dx);
                }
            }
        }
    }

    @Test
    void product() {
        for (Product twin : List.of(new ProductScalar(), new ProductVector(WORKERS))) {
            try (ComponentCase c = open("product", "product", twin)) {
                Tensor y = c.out("y");
                Tensor da = c.out("da");
                Tensor db = c.out("db");
                twin.forward(c.in("a"), c.in("b"), y);
                twin.backward(c.in("a"), c.in("b"), c.in("dy"), da, db);
                c.check("y", y);
                c.check("da", da);
                c.check("db", db);
            }
        }
    }

    @Test
    void embedding() {
        for (Embedding twin : List.of(new EmbeddingScalar(), new EmbeddingVector(WORKERS))) {
            try (ComponentCase c = open("embedding", "embedding", twin)) {
                Tensor ids = c.in("ids", DType.I32);
                Tensor y = c.out("y");
                Tensor dtable = c.in("dtable.before");
                twin.forward(ids, c.in("table"), c.number("scale"), y);
                twin.backward(ids, c.in("dy"), c.number("scale"), c.integer("padding"), dtable);
                c.check("y", y);
                c.check("dtable", dtable);
            }
        }
    }

    @Test
    void loss() {
        for (CrossEntropy twin : List.of(new CrossEntropyScalar(), new CrossEntropyVector(WORKERS))) {
            try (ComponentCase c = open("loss", "loss", twin)) {
                Tensor logits = c.in("logits");
                Tensor targets = c.in("targets", DType.I32);
                int columns = c.integer("columns");
                Tensor max = c.out("max", DType.F64);
                Tensor sum = c.out("sum", DType.F64);
                Tensor target = c.out("target", DType.F64);
                Tensor losses = c.out("losses", DType.F64);
                Tensor total = c.poisoned(DType.F64, 1);
                Tensor dlogits = c.out("dlogits");
                total.fill(0);
                twin.partial(logits, targets, 0, columns, max, sum, target);
                twin.apply(logits, targets, 0, columns, max, sum, target, c.in("scale", DType.F64), losses, dlogits);
                twin.total(losses, total);
                c.check("max", max);
                c.check("sum", sum);
                c.check("target", target);
                c.check("losses", losses);
                c.check("total", total);
                c.check("dlogits", dlogits);
                double sure = c.in("losses", DType.F64).get(4);
                assertThat(sure).isLessThan(1e-4);
                assertThat(losses.get(4)).isCloseTo(sure, within(4 * logits.dtype().unitRoundoff() * sure + 1e-15));
            }
        }
    }

    @Test
    void adamw() {
        adamw(new AdamWScalar(), new GradientNormScalar());
        adamw(new AdamWVector(WORKERS), new GradientNormVector(WORKERS, WORKSPACE));
    }

    private static void adamw(AdamW twin, GradientNorm gradientNorm) {
        try (ComponentCase c = open("adamw", "three-updates", twin)) {
            Tensor k = c.in("constants", DType.F64);
            AdamW.Constants constants = new AdamW.Constants(k.get(0), k.get(1), k.get(2), k.get(3));
            Tensor w = c.in("w.0");
            Tensor m = c.zeros("m.1");
            Tensor v = c.zeros("v.1");
            Tensor scalars = c.poisoned(DType.F64, AdamW.Scalar.values().length);
            for (int t = 1; t <= 3; t++) {
                Tensor gradient = c.in("g." + t);
                Tensor total = c.poisoned(DType.F64, 1);
                Tensor norm = c.out("norm." + t, DType.F64);
                Tensor clip = c.out("clip." + t, DType.F64);
                total.fill(0);
                gradientNorm.partial(gradient, total);
                gradientNorm.apply(total, c.number("limit"), norm, clip);
                c.check("norm." + t, norm);
                c.check("clip." + t, clip);
                scalars.set(AdamW.Scalar.LEARNING_RATE.ordinal(), c.number("rate." + t));
                scalars.set(AdamW.Scalar.CORRECTION1.ordinal(), constants.correction1(t));
                scalars.set(AdamW.Scalar.CORRECTION2.ordinal(), constants.correction2(t));
                scalars.set(AdamW.Scalar.CLIP.ordinal(), clip.get(0));
                twin.step(w, w, gradient, m, v, constants, true, scalars);
                c.check("w." + t, w);
                c.check("m." + t, m);
                c.check("v." + t, v);
            }
        }
    }

    @Test
    void decay() {
        try (ComponentCase c = new ComponentCase("decay", "rates", DType.F64)) {
            for (int[] size : new int[][] {{1, 1}, {4, 3}, {6, 2}, {8, 24}, {20, 5}, {40, 2}}) {
                String name = "." + size[0] + "." + size[1];
                rates(c, "released" + name, DecaySchedule.RELEASED, DecayTemperature.BY_LAYER);
                rates(c, "released" + name + ".no-temperature", DecaySchedule.RELEASED, DecayTemperature.NONE);
                rates(c, "paper" + name, DecaySchedule.PAPER, DecayTemperature.BY_LAYER);
            }
        }
    }

    private static void rates(ComponentCase c, String name, DecaySchedule schedule, DecayTemperature temperature) {
        Tensor rates = c.out(name);
        for (int layer = 0; layer < rates.dim(0); layer++) {
            double[] row = schedule.rates(temperature, (int) rates.dim(1), layer, (int) rates.dim(0));
            for (int head = 0; head < row.length; head++) {
                rates.set(layer, head, row[head]);
            }
        }
        c.check(name, rates);
    }
}
