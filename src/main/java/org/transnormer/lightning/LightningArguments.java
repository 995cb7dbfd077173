package org.transnormer.lightning;

import java.util.Arrays;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** What every twin checks at its entry. */
final class LightningArguments {
    private LightningArguments() {
    }

    static void forward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask, Tensor initial,
            Tensor o, Tensor last) {
        forward(q, k, v, null, rates, sequences, mask, initial, o, last);
    }

    /** With θ, which doubles the channels of q and k. */
    static void forward(Tensor q, Tensor k, Tensor v, Tensor theta, Tensor rates, Sequences sequences, Tensor mask,
            Tensor initial, Tensor o, Tensor last) {
        long tokens = sequences.tokens();
        long heads = q.rank() == 3 ? q.dim(1) : -1;
        long channels = q.rank() == 3 ? q.dim(2) : -1;
        long values = v.rank() == 3 ? v.dim(2) : -1;
        shape(q, tokens, heads, channels);
        shape(k, tokens, heads, channels);
        shape(v, tokens, heads, values);
        shape(o, tokens, heads, values);
        common(rates, sequences, mask, heads);
        if (theta != null && (theta.rank() != 2 || theta.dim(0) != heads || theta.dim(1) != channels)) {
            throw wrong(theta, heads, channels);
        }
        long keys = theta == null ? channels : 2 * channels;
        state(initial, sequences, heads, keys, values);
        state(last, sequences, heads, keys, values);
    }

    static void backward(Tensor q, Tensor k, Tensor v, Tensor rates, Sequences sequences, Tensor mask, Tensor initial,
            Tensor dout, Tensor dlast, Tensor dq, Tensor dk, Tensor dv, Tensor dinitial) {
        forward(q, k, v, rates, sequences, mask, initial, dout, dlast);
        shape(dq, q.dim(0), q.dim(1), q.dim(2));
        shape(dk, q.dim(0), q.dim(1), q.dim(2));
        shape(dv, v.dim(0), v.dim(1), v.dim(2));
        state(dinitial, sequences, q.dim(1), q.dim(2), v.dim(2));
    }

    /** For twins that take nothing else; the states may be null. */
    static void f32(Tensor q, Tensor k, Tensor v, Tensor o, Tensor initial, Tensor last) {
        f32(q);
        f32(k);
        f32(v);
        f32(o);
        f32(initial);
        f32(last);
    }

    private static void f32(Tensor x) {
        if (x != null && x.dtype() != DType.F32) {
            throw new IllegalArgumentException(x + ": this twin takes F32");
        }
    }

    private static void common(Tensor rates, Sequences sequences, Tensor mask, long heads) {
        if (rates.rank() != 1 || rates.dim(0) != heads) {
            throw wrong(rates, heads);
        }
        if (rates.dtype() != DType.F32 && rates.dtype() != DType.F64) {
            throw new IllegalArgumentException(rates + ": decay rates are F32 or F64");
        }
        if (mask != null && (mask.rank() != 1 || mask.dim(0) != sequences.tokens())) {
            throw wrong(mask, sequences.tokens());
        }
        if (mask != null && mask.dtype() != DType.I32) {
            throw new IllegalArgumentException(mask + ": a mask is I32");
        }
    }

    private static void shape(Tensor t, long tokens, long heads, long width) {
        if (t.rank() != 3 || t.dim(0) != tokens || t.dim(1) != heads || t.dim(2) != width) {
            throw wrong(t, tokens, heads, width);
        }
    }

    private static void state(Tensor t, Sequences sequences, long heads, long keys, long values) {
        if (t == null) {
            return;
        }
        if (t.rank() != 4 || t.dim(1) != heads || t.dim(2) != keys || t.dim(3) != values) {
            throw wrong(t, -1, heads, keys, values);
        }
        if (!t.isContiguous()) {
            throw new IllegalArgumentException(t + ": states are contiguous");
        }
        for (int i = 0; i < sequences.count(); i++) {
            if (sequences.slot(i) >= t.dim(0) || sequences.slot(i) < Sequences.NO_SLOT) {
                throw new IllegalArgumentException("%s: sequence %d has slot %d".formatted(t, i, sequences.slot(i)));
            }
        }
    }

    private static IllegalArgumentException wrong(Tensor got, long... want) {
        return new IllegalArgumentException("got %s, want shape %s"
                .formatted(got, Arrays.toString(want).replace("[-1", "[slots")));
    }
}
