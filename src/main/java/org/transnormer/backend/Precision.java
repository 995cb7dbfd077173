package org.transnormer.backend;

import java.util.Locale;
import org.transnormer.tensor.DType;

/**
 * Which types a model is held and computed in. SPEC section 1.4.
 *
 * @param weights matrices: projections, embedding, head
 * @param activations what layers pass to each other
 * @param accumulation gradients, moments, master weights, states, statistics; also θ, norm weights and biases, which
 *     are never narrower than F32
 */
public record Precision(DType weights, DType activations, DType accumulation) {
    public static final Precision F64 = new Precision(DType.F64, DType.F64, DType.F64);
    public static final Precision F32 = new Precision(DType.F32, DType.F32, DType.F32);
    public static final Precision BF16 = new Precision(DType.BF16, DType.BF16, DType.F32);
    /** Half the weight memory, F32 arithmetic: what the vector twin offers beside F32. */
    public static final Precision BF16_WEIGHTS = new Precision(DType.BF16, DType.F32, DType.F32);

    /** For people: "f32", or "bf16 (f32 accumulation)", or "f32 with bf16 weights". */
    public String describe() {
        String name = activations.name().toLowerCase(Locale.ROOT);
        if (weights != activations) {
            return name + " with " + weights.name().toLowerCase(Locale.ROOT) + " weights";
        }
        return accumulation == activations ? name
                : name + " (" + accumulation.name().toLowerCase(Locale.ROOT) + " accumulation)";
    }
}
