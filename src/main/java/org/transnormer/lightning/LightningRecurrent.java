package org.transnormer.lightning;

/**
 * The right product: one state, updated by each token; what decoding does, and the paper's robust inference. The
 * backward runs the recurrence forwards again for dq, then backwards for the gradient of the state. O(T dk dv). SPEC
 * section 3.3.2.
 *
 * <pre>
 * S_t  = λ S_(t-1) + k_t v_tᵀ      o_t  = S_tᵀ q_t                         λ = e^(-r), t counts from 1
 *
 * dS_t = λ dS_(t+1) + q_t do_tᵀ    without λ on the gradient of the final state: dS_T = dlast + q_T do_Tᵀ
 * dq_t = S_t do_t                  dk_t = dS_t v_t       dv_t = dS_tᵀ k_t       dinitial = λ dS_1
 * </pre>
 */
public final class LightningRecurrent extends LightningScalar {

    @Override
    void forward(double[][] q, double[][] k, double[][] v, double r, double[][] initial, double[][] o,
            double[][] last) {
        double lambda = power(r, 1);
        double[][] state = copy(initial);
        for (int t = 0; t < q.length; t++) {
            for (int i = 0; i < state.length; i++) {
                for (int j = 0; j < state[i].length; j++) {
                    state[i][j] = lambda * state[i][j] + k[t][i] * v[t][j];
                    o[t][j] += state[i][j] * q[t][i];
                }
            }
        }
        copy(state, last);
    }

    @Override
    void backward(double[][] q, double[][] k, double[][] v, double r, double[][] initial, double[][] dout,
            double[][] dlast, double[][] dq, double[][] dk, double[][] dv, double[][] dinitial) {
        double lambda = power(r, 1);
        double[][] state = copy(initial);
        for (int t = 0; t < q.length; t++) {
            for (int i = 0; i < state.length; i++) {
                for (int j = 0; j < state[i].length; j++) {
                    state[i][j] = lambda * state[i][j] + k[t][i] * v[t][j];
                    dq[t][i] += state[i][j] * dout[t][j];
                }
            }
        }
        double[][] dstate = copy(dlast);
        for (int t = q.length - 1; t >= 0; t--) {
            for (int i = 0; i < dstate.length; i++) {
                for (int j = 0; j < dstate[i].length; j++) {
                    dstate[i][j] += q[t][i] * dout[t][j];
                    dk[t][i] += dstate[i][j] * v[t][j];
                    dv[t][j] += dstate[i][j] * k[t][i];
                    dstate[i][j] *= lambda;
                }
            }
        }
        copy(dstate, dinitial);
    }
}
