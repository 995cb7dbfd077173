package org.transnormer.backend;

import org.transnormer.activation.Activation;
import org.transnormer.activation.ActivationScalar;
import org.transnormer.adamw.AdamWScalar;
import org.transnormer.adamw.GradientNormScalar;
import org.transnormer.embedding.EmbeddingScalar;
import org.transnormer.lightning.ComposedAttention;
import org.transnormer.lightning.LightningAttention;
import org.transnormer.lightning.LightningRecurrent;
import org.transnormer.linear.LinearScalar;
import org.transnormer.loss.CrossEntropyScalar;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.lrpe.LrpeScalar;
import org.transnormer.product.ProductScalar;
import org.transnormer.srmsnorm.LayerNormScalar;
import org.transnormer.srmsnorm.RmsNormScalar;
import org.transnormer.srmsnorm.SrmsNormScalar;
import org.transnormer.tensor.Memory;

/**
 * The executable spec: every component in plain loops and double arithmetic, on tensors of any type. No scratch memory;
 * one thread, but for products, whose sums are shared out.
 */
public final class ScalarBackend implements HostBackend {
    private final Precision precision;
    private final Memory memory;
    private final ComposedAttention attention;
    private final Leaves leaves;

    public ScalarBackend(Precision precision, Memory memory) {
        this(precision, memory, new LightningRecurrent());
    }

    /** @param lightning which of the equal forms of the attention to run */
    public ScalarBackend(Precision precision, Memory memory, LightningAttention lightning) {
        this.precision = precision;
        this.memory = memory;
        Lrpe lrpe = new LrpeScalar();
        Activation activation = new ActivationScalar();
        attention = new ComposedAttention(activation, lrpe, lightning, memory);
        leaves = new Leaves(new SrmsNormScalar(), new RmsNormScalar(), new LayerNormScalar(), lrpe, lightning,
                attention,
                new LinearScalar(), activation, new ProductScalar(), new EmbeddingScalar(), new CrossEntropyScalar(),
                new AdamWScalar(), new GradientNormScalar());
    }

    @Override
    public String describe() {
        return "scalar (the executable spec), " + precision.describe();
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
        attention.commit();
    }

    @Override
    public void close() {
        memory.close();
    }
}
