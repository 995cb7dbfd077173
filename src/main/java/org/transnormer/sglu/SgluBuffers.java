package org.transnormer.sglu;

import org.transnormer.backend.Precision;
import org.transnormer.srmsnorm.NormLayer;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.Buffer;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/** The memory of {@link Sglu}: allocated once for the most tokens that may come, viewed for the T tokens at hand. */
public final class SgluBuffers {
    private SgluBuffers() {
    }

    /** What the backward needs of the forward: both halves of the up projection and the norm's statistics. */
    public static final class Saved {
        /** (T, 2g); its halves a and b (T, g); a again as (T, 1, g) for the activation. */
        Tensor ab;
        Tensor a;
        Tensor b;
        Tensor a3;
        Tensor statistics;
        private final long width;
        private final Buffer abBuffer;
        private final Buffer statisticsBuffer;

        /** @param gluWidth g on this rank */
        public Saved(Memory memory, Precision precision, NormType norm, long gluWidth, long maxTokens) {
            width = gluWidth;
            abBuffer = Buffer.allocate(memory, MemoryKind.ACTIVATIONS, "glu", precision.activations(), maxTokens,
                    2 * gluWidth);
            statisticsBuffer = Buffer.allocate(memory, MemoryKind.ACTIVATIONS, "channel_norm.sums",
                    NormLayer.statisticsType(norm, precision.accumulation()), maxTokens,
                    norm == NormType.LAYERNORM ? 2 : 1);
        }

        void bind(long tokens) {
            if (ab != null && ab.dim(0) == tokens) {
                return;
            }
            ab = abBuffer.rows(tokens);
            a = ab.slice(1, 0, width);
            b = ab.slice(1, width, 2 * width);
            a3 = a.reshape(tokens, 1, width);
            statistics = statisticsBuffer.rows(tokens);
        }
    }

    /** What lives during one call only; one for all layers. */
    public static final class Scratch {
        /** (T, d). */
        Tensor normed;
        /** (T, d): normed where one rank computes it. */
        Tensor dnormed;
        /** (T, g), and the same as (T, 1, g). */
        Tensor product;
        Tensor product3;
        Tensor dproduct;
        /** (T, 2g) and its halves; da again as (T, 1, g). */
        Tensor dab;
        Tensor da;
        Tensor db;
        Tensor da3;
        Tensor sums;
        private final long width;
        private final Buffer normedBuffer;
        private final Buffer dnormedBuffer;
        private final Buffer productBuffer;
        private final Buffer dproductBuffer;
        private final Buffer dabBuffer;
        private final Buffer sumsBuffer;

        /**
         * @param gluWidth g on this rank
         * @param training whether backward will be called
         * @param alone whether no other rank computes a part of the gradient of normed
         */
        public Scratch(Memory memory, Precision precision, NormType norm, long modelWidth, long gluWidth,
                boolean training, boolean alone, long maxTokens) {
            width = gluWidth;
            MemoryKind kind = MemoryKind.ACTIVATIONS;
            DType dtype = precision.activations();
            normedBuffer = Buffer.allocate(memory, kind, "normed", dtype, maxTokens, modelWidth);
            dnormedBuffer = alone || !training ? normedBuffer
                    : Buffer.allocate(memory, kind, "dnormed", dtype, maxTokens, modelWidth);
            productBuffer = Buffer.allocate(memory, kind, "glu product", dtype, maxTokens, gluWidth);
            dproductBuffer =
                    training ? Buffer.allocate(memory, kind, "dglu product", dtype, maxTokens, gluWidth) : null;
            dabBuffer = training ? Buffer.allocate(memory, kind, "dglu", dtype, maxTokens, 2 * gluWidth) : null;
            sumsBuffer = training ? Buffer.allocate(memory, kind, "norm.backward sums",
                    NormLayer.statisticsType(norm, precision.accumulation()), maxTokens,
                    norm == NormType.LAYERNORM ? 2 : 1) : null;
        }

        long maxTokens() {
            return normedBuffer.maxTokens();
        }

        void bind(long tokens) {
            if (normed != null && normed.dim(0) == tokens) {
                return;
            }
            normed = normedBuffer.rows(tokens);
            dnormed = dnormedBuffer.rows(tokens);
            product = productBuffer.rows(tokens);
            product3 = product.reshape(tokens, 1, width);
            if (dabBuffer != null) {
                dproduct = dproductBuffer.rows(tokens);
                dab = dabBuffer.rows(tokens);
                da = dab.slice(1, 0, width);
                db = dab.slice(1, width, 2 * width);
                da3 = da.reshape(tokens, 1, width);
                sums = sumsBuffer.rows(tokens);
            }
        }
    }
}
