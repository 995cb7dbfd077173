package org.transnormer.lightning;

import org.transnormer.activation.Activation;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * {@link FeatureAttention} out of its three parts, each of which rounds what it writes to the type of q. Features are
 * not kept from the forward but computed again. SPEC section 4.1.
 */
public final class ComposedAttention implements FeatureAttention {
    private static final long ALIGNMENT = 64;
    private final Activation activation;
    private final Lrpe lrpe;
    private final LightningAttention lightning;
    private final Workspace workspace;
    /** φ(q), φ(k): (T, H, d). */
    private Tensor activatedQ;
    private Tensor activatedK;
    /** LRPE of them: (T, H, 2d). */
    private Tensor doubledQ;
    private Tensor doubledK;
    private Tensor dDoubledQ;
    private Tensor dDoubledK;

    /** @param workspace scratch for the features, which the parts do not share: theirs is in use at the same time */
    public ComposedAttention(Activation activation, Lrpe lrpe, LightningAttention lightning, Workspace workspace) {
        this.activation = activation;
        this.lrpe = lrpe;
        this.lightning = lightning;
        this.workspace = workspace;
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
    public void reserve(DType dtype, long tokens, int sequences, int heads, int d, int dv, boolean withLrpe,
            boolean training) {
        workspace.reserve(bytes(dtype, tokens * heads * d, withLrpe, training));
        lightning.reserve(tokens, sequences, heads, withLrpe ? 2 * d : d, dv);
        if (withLrpe) {
            lrpe.reserve(tokens, heads, d);
        }
    }

    private static long bytes(DType dtype, long elements, boolean withLrpe, boolean training) {
        long single = padded(dtype, elements);
        long doubled = padded(dtype, 2 * elements);
        return 2 * single + (withLrpe ? 2 * doubled : 0) + (withLrpe && training ? 2 * doubled : 0);
    }

    private static long padded(DType dtype, long elements) {
        return Math.ceilDiv(elements * dtype.bytes(), ALIGNMENT) * ALIGNMENT;
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
        Storage scratch = workspace.get(bytes(q.dtype(), q.size(), withLrpe, training)).storage();
        boolean bound = activatedQ != null && activatedQ.storage() == scratch && activatedQ.dtype() == q.dtype()
                && activatedQ.dim(0) == q.dim(0) && activatedQ.dim(1) == q.dim(1) && activatedQ.dim(2) == q.dim(2)
                && (!withLrpe || doubledQ != null) && (!withLrpe || !training || dDoubledQ != null);
        if (bound) {
            return;
        }
        long single = padded(q.dtype(), q.size());
        long doubled = padded(q.dtype(), 2 * q.size());
        activatedQ = view("activated q", q, scratch, 0, 1);
        activatedK = view("activated k", q, scratch, single, 1);
        doubledQ = withLrpe ? view("lrpe q", q, scratch, 2 * single, 2) : null;
        doubledK = withLrpe ? view("lrpe k", q, scratch, 2 * single + doubled, 2) : null;
        boolean gradients = withLrpe && training;
        dDoubledQ = gradients ? view("dlrpe q", q, scratch, 2 * single + 2 * doubled, 2) : null;
        dDoubledK = gradients ? view("dlrpe k", q, scratch, 2 * single + 3 * doubled, 2) : null;
    }

    private static Tensor view(String name, Tensor q, Storage scratch, long byteOffset, long width) {
        return Tensor.of(name, q.dtype(), scratch, byteOffset / q.dtype().bytes(), q.dim(0), q.dim(1),
                width * q.dim(2));
    }
}
