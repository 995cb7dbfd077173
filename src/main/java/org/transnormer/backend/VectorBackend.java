package org.transnormer.backend;

import java.util.OptionalDouble;
import org.transnormer.activation.Activation;
import org.transnormer.activation.ActivationVector;
import org.transnormer.adamw.AdamW;
import org.transnormer.adamw.AdamWVector;
import org.transnormer.adamw.GradientNorm;
import org.transnormer.adamw.GradientNormVector;
import org.transnormer.embedding.Embedding;
import org.transnormer.embedding.EmbeddingVector;
import org.transnormer.lightning.ComposedAttention;
import org.transnormer.lightning.FeatureAttention;
import org.transnormer.lightning.LightningAttention;
import org.transnormer.lightning.LightningVector;
import org.transnormer.linear.Linear;
import org.transnormer.linear.LinearVector;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.loss.CrossEntropyVector;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.lrpe.LrpeVector;
import org.transnormer.product.Product;
import org.transnormer.product.ProductVector;
import org.transnormer.simd.Simd;
import org.transnormer.simd.Workers;
import org.transnormer.srmsnorm.LayerNormVector;
import org.transnormer.srmsnorm.Norm;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.srmsnorm.RmsNormVector;
import org.transnormer.srmsnorm.SrmsNormVector;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * The fast CPU twins: Vector API, several threads, F32 arithmetic on F32 activations and F32 or BF16 matrices. Results do
 * not depend on the number of threads or the width of the vectors.
 */
public final class VectorBackend implements Backend {
    private final Precision precision;
    private final Memory memory;
    private final Workers workers;
    private final Workspace workspace;
    private final Norm srmsNorm;
    private final Norm rmsNorm;
    private final Norm layerNorm;
    private final Lrpe lrpe;
    private final LightningAttention lightning;
    private final ComposedAttention attention;
    private final Linear linear;
    private final Activation activation;
    private final Product product;
    private final Embedding embedding;
    private final CrossEntropy crossEntropy;
    private final AdamW adamW;
    private final GradientNorm gradientNorm;

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
        srmsNorm = new SrmsNormVector(workers);
        rmsNorm = new RmsNormVector(workers, workspace);
        layerNorm = new LayerNormVector(workers, workspace);
        lrpe = new LrpeVector(workers, workspace);
        lightning = new LightningVector(workers, workspace);
        linear = new LinearVector(workers, workspace);
        activation = new ActivationVector(workers);
        attention = new ComposedAttention(activation, lrpe, lightning, memory);
        product = new ProductVector(workers);
        embedding = new EmbeddingVector(workers);
        crossEntropy = new CrossEntropyVector(workers);
        adamW = new AdamWVector(workers);
        gradientNorm = new GradientNormVector(workers, workspace);
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
    public Norm norm(NormType type) {
        return switch (type) {
            case SRMSNORM -> srmsNorm;
            case RMSNORM -> rmsNorm;
            case LAYERNORM -> layerNorm;
        };
    }

    @Override
    public Lrpe lrpe() {
        return lrpe;
    }

    @Override
    public LightningAttention lightning() {
        return lightning;
    }

    @Override
    public FeatureAttention attention() {
        return attention;
    }

    @Override
    public Linear linear() {
        return linear;
    }

    @Override
    public Activation activation() {
        return activation;
    }

    @Override
    public Product product() {
        return product;
    }

    @Override
    public Embedding embedding() {
        return embedding;
    }

    @Override
    public CrossEntropy crossEntropy() {
        return crossEntropy;
    }

    @Override
    public AdamW adamW() {
        return adamW;
    }

    @Override
    public GradientNorm gradientNorm() {
        return gradientNorm;
    }

    @Override
    public void zero(Tensor x) {
        x.fill(0);
    }

    @Override
    public void copy(Tensor from, Tensor to) {
        to.copyFrom(from);
    }

    @Override
    public Tensor readable(Tensor x) {
        return x;
    }

    @Override
    public Runnable record(Runnable work) {
        return work;
    }

    /** 8 MiB in F32, which stays in a processor's last-level cache. */
    @Override
    public long logitsAtATime() {
        return 1L << 21;
    }

    @Override
    public OptionalDouble peakFlops() {
        return OptionalDouble.empty();
    }

    @Override
    public long capacity() {
        return HostMemory.machineBytes();
    }

    @Override
    public long deviceBytes() {
        return 0;
    }

    @Override
    public Mark mark() {
        return new Mark.Clock(System.nanoTime());
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
