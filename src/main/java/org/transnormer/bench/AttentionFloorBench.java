package org.transnormer.bench;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * Attention as a layer calls it - SiLU inside, the projection (T, 4, H, d_h) read in place - beside its floor: a copy of
 * the bytes that it cannot do without, four tensors (T, H, d_h) forwards and seven backwards.
 *
 * @param heads H
 * @param headDim d_h
 */
public record AttentionFloorBench(int heads, int headDim) {
    private static final int ROUNDS = 30;
    private static final int FORWARD_TENSORS = 4;
    private static final int BACKWARD_TENSORS = 7;

    /** B sequences of T tokens. */
    public record Shape(int rows, long length) {
        @Override
        public String toString() {
            return rows + " x " + length;
        }
    }

    /** Nanoseconds of each, medians of one run. */
    public record Result(Shape shape, double forwardFloor, double forward, double backwardFloor, double backward) {
    }

    /** Measures all shapes. */
    public List<Result> run(List<Shape> shapes, BackendKind kind, Precision precision, int threads) {
        List<Result> results = new ArrayList<>();
        for (Shape shape : shapes) {
            try (Backend backend = kind.open(precision, threads)) {
                results.add(run(shape, backend));
            }
        }
        return results;
    }

    private Result run(Shape shape, Backend backend) {
        Memory memory = backend.memory();
        DType dtype = backend.precision().activations();
        long tokens = shape.rows() * shape.length();
        Tensor qkvu = RandomTensors.allocate(memory, "qkvu", dtype, tokens, 4, heads, headDim);
        Tensor dqkvu = memory.allocate(MemoryKind.ACTIVATIONS, "dqkvu", dtype, tokens, 4, heads, headDim);
        Tensor dout = RandomTensors.allocate(memory, "dout", dtype, tokens, heads, headDim);
        Tensor o = memory.allocate(MemoryKind.ACTIVATIONS, "o", dtype, tokens, heads, headDim);
        Tensor rates = AttentionBench.rates(backend, heads);
        Sequences sequences = Sequences.allocate(memory, shape.rows(), tokens);
        for (int i = 0; i < shape.rows(); i++) {
            sequences.add(shape.length(), 0, Sequences.NO_SLOT);
        }
        sequences.upload();
        backend.attention().reserve(dtype, tokens, shape.rows(), heads, headDim, headDim, false, true);
        backend.commit();
        Tensor q = qkvu.select(1, 0);
        Tensor k = qkvu.select(1, 1);
        Tensor v = qkvu.select(1, 2);
        Tensor dq = dqkvu.select(1, 0);
        Tensor dk = dqkvu.select(1, 1);
        Tensor dv = dqkvu.select(1, 2);
        Runnable forward = () -> backend.attention().forward(q, k, v, ActivationFunction.SILU, null, rates, sequences,
                null, null, o, null);
        Runnable backward = () -> backend.attention().backward(q, k, v, ActivationFunction.SILU, null, rates, sequences,
                null, null, dout, null, dq, dk, dv, null, null);
        return new Result(shape, floor(backend, tokens, FORWARD_TENSORS),
                MarkedTiming.median(backend, ROUNDS, forward), floor(backend, tokens, BACKWARD_TENSORS),
                MarkedTiming.median(backend, ROUNDS, backward));
    }

    /** A copy that moves as many bytes, half of them read and half written. */
    private double floor(Backend backend, long tokens, int tensors) {
        DType dtype = backend.precision().activations();
        long n = tokens * heads * headDim * tensors / 2;
        Tensor from = backend.memory().allocate(MemoryKind.ACTIVATIONS, "copied", dtype, n);
        Tensor to = backend.memory().allocate(MemoryKind.ACTIVATIONS, "copy", dtype, n);
        return MarkedTiming.median(backend, ROUNDS, () -> backend.copy(from, to));
    }
}
