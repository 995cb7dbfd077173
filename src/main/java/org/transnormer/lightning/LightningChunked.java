package org.transnormer.lightning;

/**
 * Lightning Attention-2: the left product inside blocks of B tokens, the right product between them, so that time is
 * linear in T. O(T B (dk + dv) + T dk dv). SPEC section 3.3.3.
 *
 * <p>For each block of m ≤ B tokens, whose rows t and s count from 0:
 *
 * <pre>
 * forward        O   = ((Q Kᵀ) ⊙ M) V + diag(λ^(t+1)) Q S                 M_ts = λ^(t-s) for s ≤ t, 0 elsewhere
 * left to right  S   ← λ^m S + (diag(λ^(m-1-t)) K)ᵀ V                     λ = e^(-r)
 *
 * backward 1     dQ  = ((dO Vᵀ) ⊙ M) K + diag(λ^(t+1)) dO Sᵀ              with S again from left to right
 *
 * backward 2     dK  = ((dO Vᵀ) ⊙ M)ᵀ Q + diag(λ^(m-1-t)) V dSᵀ
 * right to left  dV  = ((Q Kᵀ) ⊙ M)ᵀ dO + diag(λ^(m-1-t)) K dS
 *                dS  ← λ^m dS + (diag(λ^(t+1)) Q)ᵀ dO
 * </pre>
 *
 * S is the state before the block, dS the gradient of the state after it.
 */
public final class LightningChunked extends LightningScalar {
    private final int block;

    /** Blocks of 64 tokens, as released. */
    public LightningChunked() {
        this(64);
    }

    /** @param block tokens in a block, at least 1; the last one may have fewer */
    public LightningChunked(int block) {
        if (block < 1) {
            throw new IllegalArgumentException("blocks of %d tokens".formatted(block));
        }
        this.block = block;
    }

    @Override
    void forward(double[][] q, double[][] k, double[][] v, double r, double[][] initial, double[][] o,
            double[][] last) {
        double[][] state = copy(initial);
        for (int a = 0; a < q.length; a += block) {
            int m = Math.min(block, q.length - a);
            for (int t = 0; t < m; t++) {
                for (int s = 0; s <= t; s++) {
                    add(power(r, t - s) * dot(q[a + t], k[a + s]), v[a + s], o[a + t]);
                }
                for (int i = 0; i < state.length; i++) {
                    add(power(r, t + 1) * q[a + t][i], state[i], o[a + t]);
                }
            }
            advance(state, k, v, a, m, r);
        }
        copy(state, last);
    }

    @Override
    void backward(double[][] q, double[][] k, double[][] v, double r, double[][] initial, double[][] dout,
            double[][] dlast, double[][] dq, double[][] dk, double[][] dv, double[][] dinitial) {
        double[][] state = copy(initial);
        for (int a = 0; a < q.length; a += block) {
            int m = Math.min(block, q.length - a);
            for (int t = 0; t < m; t++) {
                for (int s = 0; s <= t; s++) {
                    add(power(r, t - s) * dot(dout[a + t], v[a + s]), k[a + s], dq[a + t]);
                }
                for (int i = 0; i < state.length; i++) {
                    dq[a + t][i] += power(r, t + 1) * dot(dout[a + t], state[i]);
                }
            }
            advance(state, k, v, a, m, r);
        }
        double[][] dstate = copy(dlast);
        for (int a = (q.length - 1) / block * block; a >= 0; a -= block) {
            int m = Math.min(block, q.length - a);
            for (int s = 0; s < m; s++) {
                for (int t = s; t < m; t++) {
                    add(power(r, t - s) * dot(dout[a + t], v[a + s]), q[a + t], dk[a + s]);
                    add(power(r, t - s) * dot(q[a + t], k[a + s]), dout[a + t], dv[a + s]);
                }
                for (int i = 0; i < dstate.length; i++) {
                    dk[a + s][i] += power(r, m - 1 - s) * dot(v[a + s], dstate[i]);
                    add(power(r, m - 1 - s) * k[a + s][i], dstate[i], dv[a + s]);
                }
            }
            scale(power(r, m), dstate);
            for (int t = 0; t < m; t++) {
                for (int i = 0; i < dstate.length; i++) {
                    add(power(r, t + 1) * q[a + t][i], dout[a + t], dstate[i]);
                }
            }
        }
        copy(dstate, dinitial);
    }

    /** S ← λ^m S + (diag(λ^(m-1-t)) K)ᵀ V for the block of m tokens from a on. */
    private static void advance(double[][] state, double[][] k, double[][] v, int a, int m, double r) {
        scale(power(r, m), state);
        for (int t = 0; t < m; t++) {
            for (int i = 0; i < state.length; i++) {
                add(power(r, m - 1 - t) * k[a + t][i], v[a + t], state[i]);
            }
        }
    }

    private static void scale(double factor, double[][] x) {
        for (double[] row : x) {
            for (int j = 0; j < row.length; j++) {
                row[j] *= factor;
            }
        }
    }
}
