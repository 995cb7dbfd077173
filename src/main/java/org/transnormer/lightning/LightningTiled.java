package org.transnormer.lightning;

/**
 * Lightning Attention-1, the kernel of TransNormerLLM: the left product in tiles of row blocks by column blocks, so that
 * the T × T matrix is never held; still O(T² (dk + dv)). SPEC section 3.3.4.
 *
 * <pre>
 * M_ts = λ^(t-s) for s ≤ t, 0 elsewhere                                    λ = e^(-r)
 * for each row block I:       for each column block J up to the diagonal:
 *     A = (Q_I K_Jᵀ) ⊙ M_IJ       O_I += A V_J
 * backward, for each J:       for each row block I from the diagonal on:
 *     A = (Q_I K_Jᵀ) ⊙ M_IJ       dV_J += Aᵀ dO_I
 *     dA = (dO_I V_Jᵀ) ⊙ M_IJ     dK_J += dAᵀ Q_I
 * and for each I:             for each column block J up to the diagonal:
 *     dA = (dO_I V_Jᵀ) ⊙ M_IJ     dQ_I += dA K_J
 * </pre>
 *
 * The paper's kernel has no states; their terms are those of {@link LightningQuadratic}.
 */
public final class LightningTiled extends LightningScalar {
    private final int rows;
    private final int columns;

    /** Blocks of 128 rows and 64 columns, as released. */
    public LightningTiled() {
        this(128, 64);
    }

    /**
     * @param rows queries in a row block, at least 1
     * @param columns keys in a column block, at least 1
     */
    public LightningTiled(int rows, int columns) {
        if (rows < 1 || columns < 1) {
            throw new IllegalArgumentException("blocks of %d x %d".formatted(rows, columns));
        }
        this.rows = rows;
        this.columns = columns;
    }

    @Override
    void forward(double[][] q, double[][] k, double[][] v, double r, double[][] initial, double[][] o,
            double[][] last) {
        int tokens = q.length;
        for (int i = 0; i < tokens; i += rows) {
            int rowEnd = Math.min(i + rows, tokens);
            for (int j = 0; j < rowEnd; j += columns) {
                int columnEnd = Math.min(j + columns, tokens);
                double[][] a = maskedProduct(q, i, rowEnd, k, j, columnEnd, r);
                for (int t = i; t < rowEnd; t++) {
                    for (int s = j; s < columnEnd && s <= t; s++) {
                        add(a[t - i][s - j], v[s], o[t]);
                    }
                }
            }
        }
        LightningQuadratic.addState(q, k, v, r, initial, o, last);
    }

    @Override
    void backward(double[][] q, double[][] k, double[][] v, double r, double[][] initial, double[][] dout,
            double[][] dlast, double[][] dq, double[][] dk, double[][] dv, double[][] dinitial) {
        int tokens = q.length;
        for (int j = 0; j < tokens; j += columns) {
            int columnEnd = Math.min(j + columns, tokens);
            for (int i = j / rows * rows; i < tokens; i += rows) {
                int rowEnd = Math.min(i + rows, tokens);
                double[][] a = maskedProduct(q, i, rowEnd, k, j, columnEnd, r);
                double[][] da = maskedProduct(dout, i, rowEnd, v, j, columnEnd, r);
                for (int t = i; t < rowEnd; t++) {
                    for (int s = j; s < columnEnd && s <= t; s++) {
                        add(a[t - i][s - j], dout[t], dv[s]);
                        add(da[t - i][s - j], q[t], dk[s]);
                    }
                }
            }
        }
        for (int i = 0; i < tokens; i += rows) {
            int rowEnd = Math.min(i + rows, tokens);
            for (int j = 0; j < rowEnd; j += columns) {
                int columnEnd = Math.min(j + columns, tokens);
                double[][] da = maskedProduct(dout, i, rowEnd, v, j, columnEnd, r);
                for (int t = i; t < rowEnd; t++) {
                    for (int s = j; s < columnEnd && s <= t; s++) {
                        add(da[t - i][s - j], k[s], dq[t]);
                    }
                }
            }
        }
        LightningQuadratic.addStateGradients(q, k, v, r, initial, dout, dlast, dq, dk, dv, dinitial);
    }

    /** (X_I Y_Jᵀ) ⊙ M_IJ for rows [i, rowEnd) and columns [j, columnEnd). */
    private static double[][] maskedProduct(double[][] x, int i, int rowEnd, double[][] y, int j, int columnEnd,
            double r) {
        double[][] a = new double[rowEnd - i][columnEnd - j];
        for (int t = i; t < rowEnd; t++) {
            for (int s = j; s < columnEnd && s <= t; s++) {
                a[t - i][s - j] = dot(x[t], y[s]) * power(r, t - s);
            }
        }
        return a;
    }
}
