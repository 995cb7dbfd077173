package org.transnormer.lightning;

/**
 * The left product: every pair of tokens, as the sum is defined. O(T² (dk + dv)). SPEC section 3.3.1.
 *
 * <pre>
 * P_ts  = λ^(t-s) q_t·k_s                      s ≤ t, λ = e^(-r), t and s count from 0
 * o_t   = Σ_(s≤t) P_ts v_s   + λ^(t+1) S_0ᵀ q_t
 * S_T   = Σ_s λ^(T-1-s) k_s v_sᵀ + λ^T S_0
 *
 * dP_ts = λ^(t-s) do_t·v_s                     s ≤ t
 * dq_t  = Σ_(s≤t) dP_ts k_s  + λ^(t+1) S_0 do_t
 * dk_s  = Σ_(t≥s) dP_ts q_t  + λ^(T-1-s) dS_T v_s
 * dv_s  = Σ_(t≥s) P_ts do_t  + λ^(T-1-s) dS_Tᵀ k_s
 * dS_0  = Σ_t λ^(t+1) q_t do_tᵀ + λ^T dS_T
 * </pre>
 */
public final class LightningQuadratic extends LightningScalar {

    @Override
    void forward(double[][] q, double[][] k, double[][] v, double r, double[][] initial, double[][] o,
            double[][] last) {
        for (int t = 0; t < q.length; t++) {
            for (int s = 0; s <= t; s++) {
                add(power(r, t - s) * dot(q[t], k[s]), v[s], o[t]);
            }
        }
        addState(q, k, v, r, initial, o, last);
    }

    @Override
    void backward(double[][] q, double[][] k, double[][] v, double r, double[][] initial, double[][] dout,
            double[][] dlast, double[][] dq, double[][] dk, double[][] dv, double[][] dinitial) {
        for (int t = 0; t < q.length; t++) {
            for (int s = 0; s <= t; s++) {
                double p = power(r, t - s) * dot(q[t], k[s]);
                double dp = power(r, t - s) * dot(dout[t], v[s]);
                add(dp, k[s], dq[t]);
                add(dp, q[t], dk[s]);
                add(p, dout[t], dv[s]);
            }
        }
        addStateGradients(q, k, v, r, initial, dout, dlast, dq, dk, dv, dinitial);
    }

    /** The terms of the states, which the left products of the papers do not have. */
    static void addState(double[][] q, double[][] k, double[][] v, double r, double[][] initial, double[][] o,
            double[][] last) {
        int tokens = q.length;
        for (int t = 0; t < tokens; t++) {
            double before = power(r, t + 1);
            double after = power(r, tokens - 1 - t);
            for (int i = 0; i < initial.length; i++) {
                for (int j = 0; j < initial[i].length; j++) {
                    o[t][j] += before * initial[i][j] * q[t][i];
                    last[i][j] += after * k[t][i] * v[t][j];
                }
            }
        }
        for (int i = 0; i < initial.length; i++) {
            add(power(r, tokens), initial[i], last[i]);
        }
    }

    static void addStateGradients(double[][] q, double[][] k, double[][] v, double r, double[][] initial,
            double[][] dout, double[][] dlast, double[][] dq, double[][] dk, double[][] dv, double[][] dinitial) {
        int tokens = q.length;
        for (int t = 0; t < tokens; t++) {
            double before = power(r, t + 1);
            double after = power(r, tokens - 1 - t);
            for (int i = 0; i < initial.length; i++) {
                for (int j = 0; j < initial[i].length; j++) {
                    dq[t][i] += before * initial[i][j] * dout[t][j];
                    dk[t][i] += after * dlast[i][j] * v[t][j];
                    dv[t][j] += after * dlast[i][j] * k[t][i];
                    dinitial[i][j] += before * q[t][i] * dout[t][j];
                }
            }
        }
        for (int i = 0; i < dlast.length; i++) {
            add(power(r, tokens), dlast[i], dinitial[i]);
        }
    }
}
