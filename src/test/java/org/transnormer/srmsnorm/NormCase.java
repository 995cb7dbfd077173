package org.transnormer.srmsnorm;

import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** One drawn case of a norm's contract, as a report shows it. */
record NormCase(long tokens, long width, long gap, boolean gated, boolean residual, Values values, long seed) {

    /** The tensors of a case in one type. */
    record Inputs(Tensor x, NormParameters parameters, Tensor gate, Tensor dy, Tensor residual) {

        /** The same values in another type, without gaps. */
        Inputs in(TestTensors tensors, DType dtype) {
            return new Inputs(tensors.copy(x, dtype), copy(tensors, parameters, dtype), copy(tensors, gate, dtype),
                    tensors.copy(dy, dtype), copy(tensors, residual, dtype));
        }

        /** Channels {@code from} to {@code to}: what one rank of several holds. */
        Inputs channels(long from, long to) {
            return new Inputs(x.slice(1, from, to),
                    new NormParameters(slice(parameters.weight(), 0, from, to), slice(parameters.bias(), 0, from, to)),
                    slice(gate, 1, from, to), dy.slice(1, from, to), slice(residual, 1, from, to));
        }

        private static Tensor slice(Tensor t, int axis, long from, long to) {
            return t == null ? null : t.slice(axis, from, to);
        }
    }

    Inputs inputs(TestTensors tensors, NormType type, DType dtype) {
        return inputs(tensors, type, dtype, dtype);
    }

    Inputs inputs(TestTensors tensors, NormType type, DType dtype, DType parameterType) {
        return new Inputs(matrix(tensors, "x", dtype),
                new NormParameters(type.hasWeight() ? vector(tensors, "weight", parameterType) : null,
                        type.hasBias() ? vector(tensors, "bias", parameterType) : null),
                gated ? matrix(tensors, "gate", dtype) : null, matrix(tensors, "dy", dtype),
                residual ? matrix(tensors, "residual", dtype) : null);
    }

    /** A poisoned tensor like x. */
    Tensor output(TestTensors tensors, String name, DType dtype) {
        return tensors.strided(name, dtype, gap, tokens, width);
    }

    static NormParameters copy(TestTensors tensors, NormParameters p, DType dtype) {
        return new NormParameters(copy(tensors, p.weight(), dtype), copy(tensors, p.bias(), dtype));
    }

    private static Tensor copy(TestTensors tensors, Tensor t, DType dtype) {
        return t == null ? null : tensors.copy(t, dtype);
    }

    private Tensor matrix(TestTensors tensors, String name, DType dtype) {
        return tensors.fill(output(tensors, name, dtype), values);
    }

    private Tensor vector(TestTensors tensors, String name, DType dtype) {
        return tensors.random(name, dtype, Values.NORMAL, width);
    }
}
