package org.transnormer.lightning;

import java.util.Arrays;
import org.transnormer.activation.Activation;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * {@link FeatureAttention} out of its three parts, each of which rounds what it writes to the type of q. Features are
 * not kept from the forward but computed again. SPEC section 4.1.
 */
public final class ComposedAttention implements FeatureAttention {
    private final Activation activation;
    private final Lrpe lrpe;
    private final LightningAttention lightning;
    private final Memory memory;
    private DType dtype;
    private long reserved;
    private boolean reservedLrpe;
    private boolean reservedGradients;
    /** Flat, in the order of the views below; null where not needed. */
    private final Tensor[] scratch = new Tensor[6];
    /** φ(q), φ(k): (T, H, d). */
    private Tensor activatedQ;
    private Tensor activatedK;
    /** LRPE of them: (T, H, 2d). */
    private Tensor doubledQ;
    private Tensor doubledK;
    private Tensor dDoubledQ;
    private Tensor dDoubledK;

    /** @param memory for the features; taken by {@link #commit} or at the first call, whichever is first */
    public ComposedAttention(Activation activation, Lrpe lrpe, LightningAttention lightning, Memory memory) {
        this.activation = activation;
        this.lrpe = lrpe;
        this.lightning = lightning;
        this.memory = memory;
    }

    /** The same out of other parts. */
    public ComposedAttention outOf(Activation otherActivation, Lrpe otherLrpe, LightningAttention otherLightning) {
        return new ComposedAttention(otherActivation, otherLrpe, otherLightning, memory);
    }

    @Override
    public void forward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor theta, Tensor rates,
            Sequences sequences, Tensor mask, Tensor initial, Tensor o, Tensor last) {
        features(q, k, f, theta, sequences, false);
        lightning.forward(queries(theta), keys(theta), v, rates, sequences, mask, initial, o, last);
    }

    @Override
    public void backward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor theta, Tensor rates,
            Sequences sequences, Tensor mask, Tensor initial, Tensor dout, Tensor dlast, Tensor dq, Tensor dk,
            Tensor dv, Tensor dtheta, Tensor dinitial) {
        features(q, k, f, theta, sequences, true);
        lightning.backward(queries(theta), keys(theta), v, rates, sequences, mask, initial, dout, dlast,
                theta == null ? dq : dDoubledQ, theta == null ? dk : dDoubledK, dv, dinitial);
        if (theta != null) {
            Tensor positions = sequences.positions();
            lrpe.backward(activatedQ, theta, positions, dDoubledQ, dq, dtheta);
            lrpe.backward(activatedK, theta, positions, dDoubledK, dk, dtheta);
        }
        activation.backward(f, q, dq, dq);
        activation.backward(f, k, dk, dk);
    }

    @Override
    public void reserve(DType type, long tokens, int sequences, int heads, int d, int dv, boolean withLrpe,
            boolean training) {
        grow(type, tokens * heads * d, withLrpe, withLrpe && training);
        lightning.reserve(tokens, sequences, heads, withLrpe ? 2 * d : d, dv);
        if (withLrpe) {
            lrpe.reserve(tokens, heads, d);
        }
    }

    private void grow(DType type, long elements, boolean withLrpe, boolean gradients) {
        dtype = dtype == null ? type : dtype;
        reserved = Math.max(reserved, elements);
        reservedLrpe |= withLrpe;
        reservedGradients |= gradients;
    }

    /** Takes the memory that was announced. */
    public void commit() {
        take(0, "activated q", 1, reserved > 0);
        take(1, "activated k", 1, reserved > 0);
        take(2, "lrpe q", 2, reservedLrpe);
        take(3, "lrpe k", 2, reservedLrpe);
        take(4, "dlrpe q", 2, reservedGradients);
        take(5, "dlrpe k", 2, reservedGradients);
    }

    private void take(int i, String name, long width, boolean needed) {
        if (needed && (scratch[i] == null || scratch[i].size() < width * reserved)) {
            scratch[i] = memory.allocate(MemoryKind.ACTIVATIONS, name, dtype, width * reserved);
        }
    }

    private Tensor queries(Tensor theta) {
        return theta == null ? activatedQ : doubledQ;
    }

    private Tensor keys(Tensor theta) {
        return theta == null ? activatedK : doubledK;
    }

    private void features(Tensor q, Tensor k, ActivationFunction f, Tensor theta, Sequences sequences,
            boolean training) {
        bind(q, theta != null, training);
        activation.forward(f, q, activatedQ);
        activation.forward(f, k, activatedK);
        if (theta != null) {
            Tensor positions = sequences.positions();
            lrpe.forward(activatedQ, theta, positions, doubledQ);
            lrpe.forward(activatedK, theta, positions, doubledK);
        }
    }

    /** The views of the scratch memory, made anew only when the shape changes. */
    private void bind(Tensor q, boolean withLrpe, boolean training) {
        boolean gradients = withLrpe && training;
        boolean bound = activatedQ != null && activatedQ.dtype() == q.dtype() && activatedQ.dim(0) == q.dim(0)
                && activatedQ.dim(1) == q.dim(1) && activatedQ.dim(2) == q.dim(2) && (!withLrpe || doubledQ != null)
                && (!gradients || dDoubledQ != null);
        if (bound) {
            return;
        }
        if (scratch[0] != null && scratch[0].dtype() != q.dtype()) {
            Arrays.fill(scratch, null);
            dtype = q.dtype();
        }
        grow(q.dtype(), q.size(), withLrpe, gradients);
        commit();
        activatedQ = view(0, q, 1);
        activatedK = view(1, q, 1);
        doubledQ = view(2, q, 2);
        doubledK = view(3, q, 2);
        dDoubledQ = view(4, q, 2);
        dDoubledK = view(5, q, 2);
    }

    private Tensor view(int i, Tensor q, long width) {
        Tensor whole = scratch[i];
        return whole == null ? null
                : Tensor.of(whole.name(), whole.dtype(), whole.storage(), 0, q.dim(0), q.dim(1), width * q.dim(2));
    }
}
