package org.transnormer.lightning;

import org.transnormer.tensor.Tensor;

/**
 * What the scalar specs share: the walk over sequences and heads, masked values, absent states, and the one rounding of
 * each output. The formulas are in the subclasses, for one head of one sequence, in double:
 *
 * <pre>
 * q, k, dq, dk (T, dk)      v, o, dv, dout (T, dv)      initial, last, dlast, dinitial (dk, dv)
 * </pre>
 *
 * Outputs arrive as zeros, inputs that the call leaves out as zeros too.
 */
abstract sealed class LightningScalar implements LightningAttention
        permits LightningQuadratic, LightningRecurrent, LightningChunked, LightningTiled {

    abstract void forward(double[][] q, double[][] k, double[][] v, double r, double[][] initial, double[][] o,
            double[][] last);

    abstract void backward(double[][] q, double[][] k, double[][] v, double r, double[][] initial, double[][] dout,
            double[][] dlast, double[][] dq, double[][] dk, double[][] dv, double[][] dinitial);

    @Override
    public final void forward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask,
            Tensor initial, Tensor o, Tensor last) {
        LightningArguments.forward(q, k, v, rates, sequences, mask, initial, o, last);
        for (int n = 0; n < sequences.count(); n++) {
            for (long h = 0; h < q.dim(1); h++) {
                double[][] oh = zeros(sequences.length(n), v.dim(2));
                double[][] lasth = zeros(q.dim(2), v.dim(2));
                forward(tokens(q, sequences, n, h, null), tokens(k, sequences, n, h, null),
                        tokens(v, sequences, n, h, mask), rates.get(h),
                        state(initial, sequences.slot(n), h, q.dim(2), v.dim(2)), oh, lasth);
                write(oh, o, sequences, n, h, null);
                writeState(lasth, last, sequences.slot(n), h);
            }
        }
    }

    @Override
    public final void backward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask,
            Tensor initial, Tensor dout, Tensor dlast, Tensor dq, Tensor dk, Tensor dv, Tensor dinitial) {
        LightningArguments.backward(q, k, v, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dinitial);
        for (int n = 0; n < sequences.count(); n++) {
            for (long h = 0; h < q.dim(1); h++) {
                double[][] dqh = zeros(sequences.length(n), q.dim(2));
                double[][] dkh = zeros(sequences.length(n), q.dim(2));
                double[][] dvh = zeros(sequences.length(n), v.dim(2));
                double[][] dinitialh = zeros(q.dim(2), v.dim(2));
                backward(tokens(q, sequences, n, h, null), tokens(k, sequences, n, h, null),
                        tokens(v, sequences, n, h, mask), rates.get(h),
                        state(initial, sequences.slot(n), h, q.dim(2), v.dim(2)),
                        tokens(dout, sequences, n, h, null),
                        state(dlast, sequences.slot(n), h, q.dim(2), v.dim(2)), dqh, dkh, dvh, dinitialh);
                write(dqh, dq, sequences, n, h, null);
                write(dkh, dk, sequences, n, h, null);
                write(dvh, dv, sequences, n, h, mask);
                writeState(dinitialh, dinitial, sequences.slot(n), h);
            }
        }
    }

    /** Σ_i a_i b_i. */
    static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }

    /** y += factor · x. */
    static void add(double factor, double[] x, double[] y) {
        for (int i = 0; i < x.length; i++) {
            y[i] += factor * x[i];
        }
    }

    static double[][] copy(double[][] x) {
        double[][] y = new double[x.length][];
        for (int i = 0; i < x.length; i++) {
            y[i] = x[i].clone();
        }
        return y;
    }

    static void copy(double[][] x, double[][] y) {
        for (int i = 0; i < x.length; i++) {
            System.arraycopy(x[i], 0, y[i], 0, x[i].length);
        }
    }

    /** λ^n = e^(-r n), n ≥ 0. */
    static double power(double r, int n) {
        return StrictMath.exp(-r * n);
    }

    private static double[][] zeros(long rows, long columns) {
        return new double[Math.toIntExact(rows)][Math.toIntExact(columns)];
    }

    /** One head of one sequence; rows that are masked are zero. */
    private static double[][] tokens(Tensor x, Sequences sequences, int n, long h, Tensor mask) {
        double[][] rows = zeros(sequences.length(n), x.dim(2));
        for (int t = 0; t < rows.length; t++) {
            long at = sequences.offset(n) + t;
            for (int i = 0; i < rows[t].length && (mask == null || mask.getInt(at) != 0); i++) {
                rows[t][i] = x.get(at, h, i);
            }
        }
        return rows;
    }

    private static void write(double[][] rows, Tensor x, Sequences sequences, int n, long h, Tensor mask) {
        for (int t = 0; t < rows.length; t++) {
            long at = sequences.offset(n) + t;
            for (int i = 0; i < rows[t].length; i++) {
                x.set(at, h, i, mask == null || mask.getInt(at) != 0 ? rows[t][i] : 0);
            }
        }
    }

    private static double[][] state(Tensor x, int slot, long h, long dk, long dv) {
        double[][] state = zeros(dk, dv);
        if (x != null && slot != Sequences.NO_SLOT) {
            for (int i = 0; i < dk; i++) {
                for (int j = 0; j < dv; j++) {
                    state[i][j] = x.get(slot, h, i, j);
                }
            }
        }
        return state;
    }

    private static void writeState(double[][] state, Tensor x, int slot, long h) {
        if (x != null && slot != Sequences.NO_SLOT) {
            for (int i = 0; i < state.length; i++) {
                for (int j = 0; j < state[i].length; j++) {
                    x.set(slot, h, i, j, state[i][j]);
                }
            }
        }
    }
}
