package org.transnormer.gla;

import org.transnormer.backend.Precision;
import org.transnormer.srmsnorm.NormLayer;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.Buffer;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/** The memory of {@link Gla}: allocated once for the most tokens that may come, viewed for the T tokens at hand. */
public final class GlaBuffers {
    private GlaBuffers() {
    }

    /**
     * What the backward needs of the forward: the projection, the attention output and the norms' statistics. The
     * normed input and the gated output are computed again instead: one elementwise pass each.
     */
    public static final class Saved {
        /** (T, groups · hidden); its row groups q, k, v are (T, H, d_h), u is (T, hidden) or null. */
        Tensor qkvu;
        Tensor q;
        Tensor k;
        Tensor v;
        Tensor u;
        /** (T, hidden), and the same as (T, H, d_h). */
        Tensor attention;
        Tensor attentionHeads;
        Tensor tokenStatistics;
        Tensor outputStatistics;
        private final Gla.Settings settings;
        private final Buffer qkvuBuffer;
        private final Buffer attentionBuffer;
        private final Buffer tokenStatisticsBuffer;
        private final Buffer outputStatisticsBuffer;

        public Saved(Memory memory, Precision precision, Gla.Settings settings, NormType norm, long maxTokens) {
            this(memory, precision, settings, norm, maxTokens, null);
        }

        /** @param other whose attention output's memory is used, for layers that compute it again; or null */
        public Saved(Memory memory, Precision precision, Gla.Settings settings, NormType norm, long maxTokens,
                Saved other) {
            this.settings = settings;
            DType statistics = NormLayer.statisticsType(norm, precision.accumulation());
            int columns = norm == NormType.LAYERNORM ? 2 : 1;
            MemoryKind kind = MemoryKind.ACTIVATIONS;
            DType dtype = precision.activations();
            qkvuBuffer = Buffer.allocate(memory, kind, "qkvu", dtype, maxTokens, settings.groups() * settings.hidden());
            attentionBuffer = other != null ? other.attentionBuffer
                    : Buffer.allocate(memory, kind, "attn", dtype, maxTokens, settings.hidden());
            tokenStatisticsBuffer = Buffer.allocate(memory, kind, "token_norm.sums", statistics, maxTokens, columns);
            outputStatisticsBuffer = Buffer.allocate(memory, kind, "norm.sums", statistics, maxTokens, columns);
        }

        void bind(long tokens) {
            if (qkvu != null && qkvu.dim(0) == tokens) {
                return;
            }
            qkvu = qkvuBuffer.rows(tokens);
            q = heads(group(qkvu, 0, settings), settings);
            k = heads(group(qkvu, 1, settings), settings);
            v = heads(group(qkvu, 2, settings), settings);
            u = settings.gated() ? group(qkvu, 3, settings) : null;
            attention = attentionBuffer.rows(tokens);
            attentionHeads = heads(attention, settings);
            tokenStatistics = tokenStatisticsBuffer.rows(tokens);
            outputStatistics = outputStatisticsBuffer.rows(tokens);
        }
    }

    /** What lives during one call only; one for all layers. */
    public static final class Scratch {
        /** (T, d). */
        Tensor normed;
        /** (T, d): normed where one rank computes it. */
        Tensor dnormed;
        /** (T, hidden). */
        Tensor gated;
        Tensor sums;
        /** Gradient of the gated output and then of the attention output, (T, hidden) and (T, H, d_h). */
        Tensor dattention;
        Tensor dattentionHeads;
        /** (T, groups · hidden), and its row groups. */
        Tensor dqkvu;
        Tensor dq;
        Tensor dk;
        Tensor dv;
        Tensor du;
        private final Gla.Settings settings;
        private final Buffer normedBuffer;
        private final Buffer dnormedBuffer;
        private final Buffer gatedBuffer;
        private final Buffer sumsBuffer;
        private final Buffer dattentionBuffer;
        private final Buffer dqkvuBuffer;

        /**
         * @param training whether backward will be called
         * @param alone whether no other rank computes a part of the gradient of normed
         */
        public Scratch(Memory memory, Precision precision, Gla.Settings settings, NormType norm, long width,
                boolean training, boolean alone, long maxTokens) {
            this.settings = settings;
            MemoryKind kind = MemoryKind.ACTIVATIONS;
            DType dtype = precision.activations();
            normedBuffer = Buffer.allocate(memory, kind, "normed", dtype, maxTokens, width);
            dnormedBuffer = alone || !training ? normedBuffer
                    : Buffer.allocate(memory, kind, "dnormed", dtype, maxTokens, width);
            gatedBuffer = Buffer.allocate(memory, kind, "gated", dtype, maxTokens, settings.hidden());
            if (training) {
                sumsBuffer = Buffer.allocate(memory, kind, "norm.backward sums",
                        NormLayer.statisticsType(norm, precision.accumulation()), maxTokens,
                        norm == NormType.LAYERNORM ? 2 : 1);
                dattentionBuffer = Buffer.allocate(memory, kind, "dattn", dtype, maxTokens, settings.hidden());
                dqkvuBuffer = Buffer.allocate(memory, kind, "dqkvu", dtype, maxTokens,
                        settings.groups() * settings.hidden());
            } else {
                sumsBuffer = null;
                dattentionBuffer = null;
                dqkvuBuffer = null;
            }
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
            gated = gatedBuffer.rows(tokens);
            if (dqkvuBuffer != null) {
                sums = sumsBuffer.rows(tokens);
                dattention = dattentionBuffer.rows(tokens);
                dattentionHeads = heads(dattention, settings);
                dqkvu = dqkvuBuffer.rows(tokens);
                dq = heads(group(dqkvu, 0, settings), settings);
                dk = heads(group(dqkvu, 1, settings), settings);
                dv = heads(group(dqkvu, 2, settings), settings);
                du = settings.gated() ? group(dqkvu, 3, settings) : null;
            }
        }
    }

    /** Row group {@code index} of the projection: (T, hidden). */
    private static Tensor group(Tensor qkvu, int index, Gla.Settings settings) {
        return qkvu.slice(1, index * settings.hidden(), (index + 1) * settings.hidden());
    }

    private static Tensor heads(Tensor x, Gla.Settings settings) {
        return x.reshape(x.dim(0), settings.heads(), settings.headDim());
    }
}
