package org.transnormer.backend;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.HashMap;
import java.util.Map;
import java.util.OptionalDouble;
import org.transnormer.activation.Activation;
import org.transnormer.activation.ActivationCuda;
import org.transnormer.activation.ActivationFunction;
import org.transnormer.adamw.AdamW;
import org.transnormer.adamw.AdamWCuda;
import org.transnormer.adamw.GradientNorm;
import org.transnormer.adamw.GradientNormCuda;
import org.transnormer.cuda.CublasLt;
import org.transnormer.cuda.DeviceMemory;
import org.transnormer.embedding.Embedding;
import org.transnormer.embedding.EmbeddingCuda;
import org.transnormer.lightning.ComposedAttention;
import org.transnormer.lightning.FeatureAttention;
import org.transnormer.lightning.FeatureAttentionCuda;
import org.transnormer.lightning.LightningAttention;
import org.transnormer.lightning.LightningCuda;
import org.transnormer.lightning.Sequences;
import org.transnormer.linear.Linear;
import org.transnormer.linear.LinearCuda;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.loss.CrossEntropyCuda;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.lrpe.LrpeCuda;
import org.transnormer.product.Product;
import org.transnormer.product.ProductCuda;
import org.transnormer.srmsnorm.LayerNorm;
import org.transnormer.srmsnorm.LayerNormCuda;
import org.transnormer.srmsnorm.RmsNorm;
import org.transnormer.srmsnorm.RmsNormCuda;
import org.transnormer.srmsnorm.SrmsNorm;
import org.transnormer.srmsnorm.SrmsNormCuda;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * {@link CudaBackend} where there is no GPU: what is constructed on it is counted, and its leaves say what they are called
 * for and do nothing. It announces the scratch memory of the CUDA twins and composes what they compose, so a training run
 * has the memory and a training step the calls that it has on a GPU. SPEC section 7.6.
 */
public final class PlanBackend implements Backend {

    /** Sees each call of a leaf, and of zero and copy as those of a leaf "Backend"; not the announcements. */
    @FunctionalInterface
    public interface Calls {
        /** Nobody looks. */
        Calls NONE = (component, method, arguments) -> {};

        /**
         * A leaf is called.
         *
         * @param component simple name of the leaf's interface
         * @param method its method
         * @param arguments as they were given
         */
        void called(String component, String method, Object[] arguments);
    }

    private static final String RESERVE = "reserve";

    private final Precision precision;
    private final boolean isHopper;
    private final long capacity;
    private final Calls calls;
    private final PlanMemory memory = PlanMemory.forSteps(DeviceMemory.ALIGNMENT);
    private final Workspace workspace = new Workspace(memory);
    private final ComposedAttention composed;
    private final Leaves leaves;

    /**
     * @param isHopper whether the GPU has compute capability 9.0
     * @param capacity bytes of its memory
     */
    public PlanBackend(Precision precision, boolean isHopper, long capacity, Calls calls) {
        if (!precision.equals(Precision.F32) && !precision.equals(Precision.BF16)) {
            throw new IllegalArgumentException("a GPU computes in F32 or BF16, not in " + precision.describe());
        }
        this.precision = precision;
        this.isHopper = isHopper;
        this.capacity = capacity;
        this.calls = calls;
        workspace.reserve(CublasLt.WORKSPACE);
        GradientNormCuda.announce(workspace);
        Lrpe lrpe = leaf(Lrpe.class, LrpeCuda.class);
        LightningAttention lightning = leaf(LightningAttention.class, LightningCuda.class);
        Activation activation = leaf(Activation.class, ActivationCuda.class);
        composed = new ComposedAttention(activation, lrpe, lightning, memory);
        leaves = new Leaves(leaf(SrmsNorm.class, SrmsNormCuda.class), leaf(RmsNorm.class, RmsNormCuda.class),
                leaf(LayerNorm.class, LayerNormCuda.class), lrpe, lightning, new Attention(lightning),
                leaf(Linear.class, LinearCuda.class), activation, leaf(Product.class, ProductCuda.class),
                leaf(Embedding.class, EmbeddingCuda.class), leaf(CrossEntropy.class, CrossEntropyCuda.class),
                leaf(AdamW.class, AdamWCuda.class), leaf(GradientNorm.class, GradientNormCuda.class));
    }

    /** What the twin leaves to its interface, which composes it, is composed here too. */
    private <T> T leaf(Class<T> component, Class<? extends T> twin) {
        Map<Method, Boolean> isComposed = new HashMap<>();
        return component.cast(Proxy.newProxyInstance(component.getClassLoader(), new Class<?>[] {component},
                (proxy, method, arguments) -> {
                    if (method.getName().equals(RESERVE)) {
                        reserve(component.getSimpleName(), arguments);
                    } else if (isComposed.computeIfAbsent(method, m -> isComposed(twin, m))) {
                        return InvocationHandler.invokeDefault(proxy, method, arguments);
                    } else {
                        calls.called(component.getSimpleName(), method.getName(), arguments);
                    }
                    return null;
                }));
    }

    private static boolean isComposed(Class<?> twin, Method method) {
        try {
            return method.isDefault() && twin.getMethod(method.getName(), method.getParameterTypes()).isDefault();
        } catch (NoSuchMethodException e) {
            throw new IllegalStateException(e);
        }
    }

    private void reserve(String component, Object[] a) {
        switch (component) {
            case "RmsNorm" -> RmsNormCuda.announce(workspace, (long) a[0]);
            case "LayerNorm" -> LayerNormCuda.announce(workspace, (long) a[0]);
            case "Lrpe" -> LrpeCuda.announce(workspace, (long) a[0], (int) a[1], (int) a[2]);
            case "LightningAttention" ->
                    LightningCuda.announce(workspace, isHopper, (long) a[0], (int) a[2], (int) a[3], (int) a[4]);
            case "Linear" -> LinearCuda.announce(workspace, (long) a[0], (long) a[1], (long) a[2]);
            case "Embedding" -> EmbeddingCuda.announce(workspace, (long) a[0], (long) a[1], (long) a[2]);
            default -> {
                // SRMSNorm has no scratch memory
            }
        }
    }

    /** As {@link FeatureAttentionCuda} has it for sequences of several tokens. */
    private final class Attention implements FeatureAttention {
        private final LightningAttention lightning;

        Attention(LightningAttention lightning) {
            this.lightning = lightning;
        }

        @Override
        public void forward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor theta, Tensor rates,
                Sequences sequences, Tensor mask, Tensor initial, Tensor o, Tensor last) {
            if (FeatureAttentionCuda.fuses(f, theta)) {
                calls.called("FeatureAttention", "forward",
                        new Object[] {q, k, v, f, theta, rates, sequences, mask, initial, o, last});
            } else {
                composed.forward(q, k, v, f, theta, rates, sequences, mask, initial, o, last);
            }
        }

        @Override
        public void backward(Tensor q, Tensor k, Tensor v, ActivationFunction f, Tensor theta, Tensor rates,
                Sequences sequences, Tensor mask, Tensor initial, Tensor dout, Tensor dlast, Tensor dq, Tensor dk,
                Tensor dv, Tensor dtheta, Tensor dinitial) {
            if (FeatureAttentionCuda.fuses(f, theta)) {
                calls.called("FeatureAttention", "backward", new Object[] {q, k, v, f, theta, rates, sequences, mask,
                    initial, dout, dlast, dq, dk, dv, dtheta, dinitial});
            } else {
                composed.backward(q, k, v, f, theta, rates, sequences, mask, initial, dout, dlast, dq, dk, dv, dtheta,
                        dinitial);
            }
        }

        @Override
        public void reserve(DType dtype, long tokens, int sequences, int heads, int d, int dv, boolean withLrpe,
                boolean training) {
            if (withLrpe) {
                composed.reserve(dtype, tokens, sequences, heads, d, dv, true, training);
            }
            lightning.reserve(tokens, sequences, heads, d, dv);
        }
    }

    @Override
    public String describe() {
        return "planned (no GPU is used), " + precision.describe();
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
    public void zero(Tensor x) {
        calls.called("Backend", "zero", new Object[] {x});
    }

    @Override
    public void copy(Tensor from, Tensor to) {
        calls.called("Backend", "copy", new Object[] {from, to});
    }

    @Override
    public Tensor readable(Tensor x) {
        return x;
    }

    @Override
    public long logitsAtATime() {
        return CudaBackend.LOGITS_AT_A_TIME;
    }

    @Override
    public OptionalDouble peakFlops() {
        return OptionalDouble.empty();
    }

    @Override
    public long capacity() {
        return capacity;
    }

    @Override
    public long deviceBytes() {
        return 0;
    }

    /** No time passes here. */
    @Override
    public Mark mark() {
        return new Mark.Clock(0);
    }

    @Override
    public void commit() {
        workspace.commit();
        composed.commit();
    }

    @Override
    public void close() {
        memory.close();
    }
}
