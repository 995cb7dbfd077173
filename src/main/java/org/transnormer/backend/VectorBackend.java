package org.transnormer.backend;

import org.transnormer.activation.Activation;
import org.transnormer.activation.ActivationVector;
import org.transnormer.adamw.AdamWVector;
import org.transnormer.adamw.GradientNormVector;
import org.transnormer.embedding.EmbeddingVector;
import org.transnormer.lightning.ComposedAttention;
import org.transnormer.lightning.LightningAttention;
import org.transnormer.lightning.LightningVector;
import org.transnormer.linear.LinearVector;
import org.transnormer.loss.CrossEntropyVector;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.lrpe.LrpeVector;
import org.transnormer.product.ProductVector;
import org.transnormer.simd.Simd;
import org.transnormer.simd.Workers;
import org.transnormer.srmsnorm.LayerNormVector;
import org.transnormer.srmsnorm.RmsNormVector;
import org.transnormer.srmsnorm.SrmsNormVector;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.Workspace;

/**
 * The fast CPU twins: Vector API, several threads, F32 arithmetic on F32 activations and F32 or BF16 matrices. Results do
 * not depend on the number of threads or the width of the vectors.
 */
public final class VectorBackend implements HostBackend {
    private final Precision precision;
    private final Memory memory;
    private final Workers workers;
    private final Workspace workspace;
    private final ComposedAttention attention;
    private final Leaves leaves;

    /**
     * @param precision {@link Precision#F32} or {@link Precision#BF16_WEIGHTS}
     * @param threads at least 1, the caller's included
     * @throws IllegalArgumentException for another precision
     */
    public VectorBackend(Precision precision, Memory memory, int threads) {
        if (precision.activations() != DType.F32 || precision.accumulation() != DType.F32) {
            throw new IllegalArgumentException("the vector backend computes in F32 with F32 or BF16 weights, not in "
                    + precision.describe() + "; the scalar backend has the other types");
        }
        this.precision = precision;
        this.memory = memory;
        workers = new Workers(threads);
        workspace = new Workspace(memory);
        Lrpe lrpe = new LrpeVector(workers, workspace);
        LightningAttention lightning = new LightningVector(workers, workspace);
        Activation activation = new ActivationVector(workers);
        attention = new ComposedAttention(activation, lrpe, lightning, memory);
        leaves = new Leaves(new SrmsNormVector(workers), new RmsNormVector(workers, workspace),
                new LayerNormVector(workers, workspace), lrpe, lightning, attention,
                new LinearVector(workers, workspace), activation, new ProductVector(workers),
                new EmbeddingVector(workers), new CrossEntropyVector(workers), new AdamWVector(workers),
                new GradientNormVector(workers, workspace));
    }

    @Override
    public String describe() {
        return "vector (%d-bit, %d thread%s), %s".formatted(Simd.FLOAT.vectorBitSize(), workers.threads(),
                workers.threads() == 1 ? "" : "s", precision.describe());
    }

    @Override
    public Precision precision() {
        return precision;
    }

    @Override
    public Memory memory() {
        return memory;
    }

    @Override
    public Leaves leaves() {
        return leaves;
    }

    @Override
    public void commit() {
        workspace.commit();
        attention.commit();
    }

    @Override
    public void close() {
        workers.close();
        memory.close();
    }
}
