package org.transnormer.backend;

import java.util.OptionalDouble;
import org.transnormer.activation.Activation;
import org.transnormer.activation.ActivationScalar;
import org.transnormer.adamw.AdamW;
import org.transnormer.adamw.AdamWScalar;
import org.transnormer.adamw.GradientNorm;
import org.transnormer.adamw.GradientNormScalar;
import org.transnormer.embedding.Embedding;
import org.transnormer.embedding.EmbeddingScalar;
import org.transnormer.lightning.ComposedAttention;
import org.transnormer.lightning.FeatureAttention;
import org.transnormer.lightning.LightningAttention;
import org.transnormer.lightning.LightningRecurrent;
import org.transnormer.linear.Linear;
import org.transnormer.linear.LinearScalar;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.loss.CrossEntropyScalar;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.lrpe.LrpeScalar;
import org.transnormer.product.Product;
import org.transnormer.product.ProductScalar;
import org.transnormer.srmsnorm.LayerNormScalar;
import org.transnormer.srmsnorm.Norm;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.srmsnorm.RmsNormScalar;
import org.transnormer.srmsnorm.SrmsNormScalar;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.Tensor;

/**
 * The executable spec: every component in plain loops and double arithmetic, on tensors of any type. One thread, no
 * scratch memory.
 */
public final class ScalarBackend implements Backend {
    private final Precision precision;
    private final Memory memory;
    private final Norm srmsNorm = new SrmsNormScalar();
    private final Norm rmsNorm = new RmsNormScalar();
    private final Norm layerNorm = new LayerNormScalar();
    private final Lrpe lrpe = new LrpeScalar();
    private final LightningAttention lightning;
    private final ComposedAttention attention;
    private final Linear linear = new LinearScalar();
    private final Activation activation = new ActivationScalar();
    private final Product product = new ProductScalar();
    private final Embedding embedding = new EmbeddingScalar();
    private final CrossEntropy crossEntropy = new CrossEntropyScalar();
    private final AdamW adamW = new AdamWScalar();
    private final GradientNorm gradientNorm = new GradientNormScalar();

    public ScalarBackend(Precision precision, Memory memory) {
        this(precision, memory, new LightningRecurrent());
    }

    /** @param lightning which of the equal forms of the attention to run */
    public ScalarBackend(Precision precision, Memory memory, LightningAttention lightning) {
        this.precision = precision;
        this.memory = memory;
        this.lightning = lightning;
        attention = new ComposedAttention(activation, lrpe, lightning, memory);
    }

    @Override
    public String describe() {
        return "scalar (the executable spec, 1 thread), " + precision.describe();
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
        attention.commit();
    }

    @Override
    public void close() {
        memory.close();
    }
}
