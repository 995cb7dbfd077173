package org.transnormer.tensor;

import java.util.Arrays;

/** The checks at the entry of a component: once per call, with messages that name tensor, got and want. */
public final class Arguments {
    private Arguments() {
    }

    /** @throws IllegalArgumentException unless t has this shape */
    public static void shape(String component, String role, Tensor t, long... shape) {
        if (!Arrays.equals(t.shape(), shape)) {
            throw new IllegalArgumentException(
                    "%s: %s is %s, want %s".formatted(component, role, t, Arrays.toString(shape)));
        }
    }

    /** @throws IllegalArgumentException unless t is F32 with neighbouring elements in its last axis */
    public static void f32(String component, String role, Tensor t) {
        dtype(component, role, t, DType.F32);
    }

    /** @throws IllegalArgumentException unless t has this type and neighbouring elements in its last axis */
    public static void dtype(String component, String role, Tensor t, DType want) {
        if (t.dtype() != want) {
            throw new IllegalArgumentException("%s: %s is %s, want %s".formatted(component, role, t, want));
        }
        if (t.stride(t.rank() - 1) != 1 && t.dim(t.rank() - 1) != 1) {
            throw new IllegalArgumentException("%s: %s is %s with stride %d in its last axis, want 1"
                    .formatted(component, role, t, t.stride(t.rank() - 1)));
        }
    }

    /** @throws IllegalArgumentException unless t is F32 or BF16 with neighbouring elements in its last axis */
    public static void f32OrBf16(String component, String role, Tensor t) {
        if (t.dtype() != DType.BF16 && t.dtype() != DType.F32) {
            throw new IllegalArgumentException("%s: %s is %s, want F32 or BF16".formatted(component, role, t));
        }
        dtype(component, role, t, t.dtype());
    }
}
