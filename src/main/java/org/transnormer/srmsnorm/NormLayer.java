package org.transnormer.srmsnorm;

import org.transnormer.parallel.Communicator;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * One norm of the model: a twin, its parameters, and the all-reduce between its two phases. SPEC section 3.1.
 *
 * @param norm the twin
 * @param communicator the ranks over which the channels are split; single where every rank holds them all
 * @param width channels over all ranks
 * @param parameters learned parameters
 * @param gradients their gradients, added to; {@link NormParameters#NONE} outside training
 */
public record NormLayer(Norm norm, Communicator communicator, long width, NormParameters parameters,
        NormParameters gradients) {

    public NormLayer {
        if (gradients.weight() != null) {
            norm.reserve(gradients.weight().dim(0));
        }
    }

    /** The type of the statistics: the accumulation type, but never narrower than F64 for LayerNorm. */
    public static DType statisticsType(NormType type, DType accumulation) {
        return type == NormType.LAYERNORM ? DType.F64 : accumulation;
    }

    /**
     * y = norm(x), or gate ⊙ norm(x); leaves what the backward needs in {@code statistics}.
     *
     * @param gate (T, D) or null
     */
    public void forward(Tensor x, Tensor statistics, Tensor gate, Tensor y) {
        if (communicator.size() == 1) {
            norm.forward(x, statistics, width, parameters, gate, y);
        } else {
            norm.partial(x, statistics);
            communicator.allReduceSum(statistics);
            norm.apply(x, statistics, width, parameters, gate, y);
        }
    }

    /** y again, from the statistics of the forward. */
    public void reapply(Tensor x, Tensor statistics, Tensor gate, Tensor y) {
        norm.apply(x, statistics, width, parameters, gate, y);
    }

    /**
     * dx = residual + gradient of x, and dgate; parameter gradients are added to.
     *
     * @param sums scratch of the shape of statistics
     * @param residual (T, D) or null
     * @param dgate null where gate is null
     */
    public void backward(Tensor x, Tensor statistics, Tensor gate, Tensor dy, Tensor sums, Tensor residual, Tensor dx,
            Tensor dgate) {
        if (communicator.size() == 1) {
            norm.backward(x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate, gradients);
        } else {
            norm.backwardPartial(x, statistics, width, parameters, gate, dy, sums);
            communicator.allReduceSum(sums);
            norm.backwardApply(x, statistics, sums, width, parameters, gate, dy, residual, dx, dgate, gradients);
        }
    }
}
