package org.transnormer.linear;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.function.DoubleSupplier;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;
import org.transnormer.verify.FiniteDifference;
import org.transnormer.verify.Tolerance;

class LinearScalarTest implements LinearContract {
    private final Linear linear = new LinearScalar();

    @Override
    public Linear subject() {
        return linear;
    }

    @Override
    public DType activations() {
        return DType.F32;
    }

    @Override
    public DType weights() {
        return DType.BF16;
    }

    @Example
    void knownValues() {
        try (TestTensors t = new TestTensors(1)) {
            Tensor x = of(t, new double[][] {{1, 2, 3}, {-1, 0, 4}});
            Tensor w = of(t, new double[][] {{1, 0, -1}, {2, 1, 0.5}});
            Tensor b = t.zeros("b", DType.F64, 2);
            b.set(1, 10);
            Tensor residual = of(t, new double[][] {{100, 200}, {300, 400}});
            Tensor y = t.poisoned("y", DType.F64, 2, 2);
            linear.forward(x, w, b, residual, y);
            LinearContract.same("y", y, of(t, new double[][] {{98, 215.5}, {295, 410}}));
            linear.forward(x, w, null, null, y);
            LinearContract.same("y", y, of(t, new double[][] {{-2, 5.5}, {-5, 0}}));

            Tensor dy = of(t, new double[][] {{1, 2}, {3, -1}});
            Tensor dx = t.poisoned("dx", DType.F64, 2, 3);
            linear.backwardInput(dy, w, dx, false);
            LinearContract.same("dx", dx, of(t, new double[][] {{5, 2, 0}, {1, -1, -3.5}}));
            Tensor dw = t.poisoned("dw", DType.F64, 2, 3);
            Tensor db = t.poisoned("db", DType.F64, 2);
            linear.backwardWeight(x, dy, dw, db, false);
            linear.backwardWeight(x, dy, dw, db, true);
            LinearContract.same("dw", dw, of(t, new double[][] {{-4, 4, 30}, {6, 8, 4}}));
            assertThat(new double[] {db.get(0), db.get(1)}).containsExactly(8, 2);
        }
    }

    @Property(tries = 20)
    void gradientsAreTheForwardsDerivatives(@ForAll long seed) {
        try (TestTensors t = new TestTensors(seed)) {
            Tensor x = t.random("x", DType.F64, Values.NORMAL, 3, 4);
            Tensor w = t.random("w", DType.F64, Values.NORMAL, 5, 4);
            Tensor b = t.random("b", DType.F64, Values.NORMAL, 5);
            Tensor residual = t.random("residual", DType.F64, Values.NORMAL, 3, 5);
            Tensor dy = t.random("dy", DType.F64, Values.NORMAL, 3, 5);
            Tensor y = t.poisoned("y", DType.F64, 3, 5);
            DoubleSupplier loss = () -> {
                linear.forward(x, w, b, residual, y);
                double sum = 0;
                for (long i = 0; i < y.size(); i++) {
                    sum += dy.getFlat(i) * y.getFlat(i);
                }
                return sum;
            };
            Tensor dx = t.poisoned("dx", DType.F64, 3, 4);
            Tensor dw = t.poisoned("dw", DType.F64, 5, 4);
            Tensor db = t.poisoned("db", DType.F64, 5);
            linear.backwardInput(dy, w, dx, false);
            linear.backwardWeight(x, dy, dw, db, false);
            FiniteDifference.check("dx", loss, x, dx, t.poisoned("scratch", DType.F64, 3, 4)).orThrow();
            FiniteDifference.check("dw", loss, w, dw, t.poisoned("scratch", DType.F64, 5, 4)).orThrow();
            FiniteDifference.check("db", loss, b, db, t.poisoned("scratch", DType.F64, 5)).orThrow();
            along(t, loss, x, dx);
            along(t, loss, w, dw);
        }
    }

    @Property(tries = 20)
    void narrowTypesAreRoundedOnce(@ForAll("small") LinearCase c) {
        try (TestTensors t = new TestTensors(c.seed())) {
            for (DType type : new DType[] {DType.F32, DType.BF16}) {
                Tensor x = t.random("x", type, c.values(), c.tokens(), c.in());
                Tensor w = t.random("w", type, c.values(), c.out(), c.in());
                Tensor y = t.poisoned("y", type, c.tokens(), c.out());
                Tensor want = t.poisoned("want", DType.F64, c.tokens(), c.out());
                linear.forward(x, w, null, null, y);
                linear.forward(t.copy(x, DType.F64), t.copy(w, DType.F64), null, null, want);
                new Tolerance(1, 1).compare("y", y, want, null, type.unitRoundoff()).orThrow();
            }
        }
    }

    /** Large enough for several threads: every sum's terms in the order of their index, whoever adds them. */
    @Example
    void theBitsAreThoseOfThePlainLoops() {
        try (TestTensors t = new TestTensors(5)) {
            for (DType type : new DType[] {DType.F64, DType.F32, DType.BF16}) {
                Tensor x = t.fill(t.strided("x", type, 3, 3, 97), Values.NORMAL);
                Tensor w = t.fill(t.strided("w", type, 5, 1000, 97), Values.NORMAL);
                Tensor b = t.random("b", type, Values.NORMAL, 1000);
                Tensor residual = t.random("residual", type, Values.NORMAL, 3, 1000);
                Tensor dy = t.random("dy", type, Values.NORMAL, 3, 1000);
                Tensor y = t.poisoned("y", type, 3, 1000);
                Tensor dx = t.random("dx", type, Values.NORMAL, 3, 97);
                Tensor dw = t.fill(t.strided("dw", type, 1, 1000, 97), Values.NORMAL);
                Tensor db = t.random("db", type, Values.NORMAL, 1000);
                Tensor wantY = t.poisoned("y", type, 3, 1000);
                Tensor wantDx = t.copy(dx, type);
                Tensor wantDw = t.copy(dw, type);
                Tensor wantDb = t.copy(db, type);
                plainLoops(x, w, b, residual, dy, wantY, wantDx, wantDw, wantDb);

                linear.forward(x, w, b, residual, y);
                linear.backwardInput(dy, w, dx, true);
                linear.backwardWeight(x, dy, dw, db, true);
                LinearContract.same("y", y, wantY);
                LinearContract.same("dx", dx, wantDx);
                LinearContract.same("dw", dw, wantDw);
                LinearContract.same("db", db, wantDb);
            }
        }
    }

    private static void plainLoops(Tensor x, Tensor w, Tensor b, Tensor residual, Tensor dy, Tensor y, Tensor dx,
            Tensor dw, Tensor db) {
        for (long i = 0; i < w.dim(0); i++) {
            for (long t = 0; t < x.dim(0); t++) {
                double sum = 0;
                for (long j = 0; j < x.dim(1); j++) {
                    sum += x.get(t, j) * w.get(i, j);
                }
                y.set(t, i, sum + b.get(i) + residual.get(t, i));
            }
            double bias = db.get(i);
            for (long t = 0; t < x.dim(0); t++) {
                bias += dy.get(t, i);
            }
            db.set(i, bias);
        }
        for (long j = 0; j < x.dim(1); j++) {
            for (long t = 0; t < x.dim(0); t++) {
                double sum = dx.get(t, j);
                for (long i = 0; i < w.dim(0); i++) {
                    sum += dy.get(t, i) * w.get(i, j);
                }
                dx.set(t, j, sum);
            }
            for (long i = 0; i < w.dim(0); i++) {
                double sum = dw.get(i, j);
                for (long t = 0; t < x.dim(0); t++) {
                    sum += dy.get(t, i) * x.get(t, j);
                }
                dw.set(i, j, sum);
            }
        }
    }

    private static void along(TestTensors t, DoubleSupplier loss, Tensor x, Tensor gradient) {
        Tensor direction = t.random("direction", DType.F64, Values.NORMAL, x.shape());
        double want = 0;
        double size = 0;
        for (long i = 0; i < x.size(); i++) {
            want += gradient.getFlat(i) * direction.getFlat(i);
            size += Math.abs(gradient.getFlat(i) * direction.getFlat(i));
        }
        assertThat(FiniteDifference.directional(loss, x, direction)).isCloseTo(want,
                within(FiniteDifference.TOLERANCE * size));
    }

    private static Tensor of(TestTensors t, double[][] rows) {
        Tensor matrix = t.zeros("matrix", DType.F64, rows.length, rows[0].length);
        for (int i = 0; i < rows.length; i++) {
            for (int j = 0; j < rows[i].length; j++) {
                matrix.set(i, j, rows[i][j]);
            }
        }
        return matrix;
    }
}
