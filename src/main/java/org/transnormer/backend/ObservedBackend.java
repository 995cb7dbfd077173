package org.transnormer.backend;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.OptionalDouble;
import org.transnormer.activation.Activation;
import org.transnormer.adamw.AdamW;
import org.transnormer.adamw.GradientNorm;
import org.transnormer.embedding.Embedding;
import org.transnormer.lightning.ComposedAttention;
import org.transnormer.lightning.FeatureAttention;
import org.transnormer.lightning.LightningAttention;
import org.transnormer.linear.Linear;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.product.Product;
import org.transnormer.srmsnorm.LayerNorm;
import org.transnormer.srmsnorm.RmsNorm;
import org.transnormer.srmsnorm.SrmsNorm;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.Tensor;

/**
 * Another backend, each of whose leaf calls is timed and reported. The leaves do not call each other through a backend,
 * so the times do not overlap. It costs a reflective call each; the results are the other backend's.
 */
public final class ObservedBackend implements Backend {

    /** Sees each call after it returned, and before if it wants to. */
    @FunctionalInterface
    public interface Observer {
        /** A leaf is about to be called; this takes no part in its time. */
        default void calling(Object[] arguments) {
        }

        /**
         * @param component simple name of the leaf's interface
         * @param method its method
         * @param arguments as they were given
         * @param elapsed the time it takes
         */
        void called(String component, String method, Object[] arguments, Elapsed elapsed);
    }

    /** The time between two marks of the backend that does the work, which may not be over yet. */
    public record Elapsed(Mark from, Mark to) {
        /** Waits for the work. */
        public double nanos() {
            return to.nanosSince(from);
        }

        /** Frees the marks, whether or not the time was asked for. */
        public void release() {
            from.release();
            to.release();
        }
    }

    private final Backend backend;
    private final Observer observer;
    private final Leaves leaves;

    /** @param backend does the work; closed with this one */
    public ObservedBackend(Backend backend, Observer observer) {
        this.backend = backend;
        this.observer = observer;
        Leaves own = backend.leaves();
        Lrpe lrpe = observed(Lrpe.class, own.lrpe());
        LightningAttention lightning = observed(LightningAttention.class, own.lightning());
        Activation activation = observed(Activation.class, own.activation());
        FeatureAttention attention = own.attention() instanceof ComposedAttention composed
                ? composed.outOf(activation, lrpe, lightning)
                : observed(FeatureAttention.class, own.attention());
        leaves = new Leaves(observed(SrmsNorm.class, own.srmsNorm()), observed(RmsNorm.class, own.rmsNorm()),
                observed(LayerNorm.class, own.layerNorm()), lrpe, lightning, attention,
                observed(Linear.class, own.linear()), activation, observed(Product.class, own.product()),
                observed(Embedding.class, own.embedding()), observed(CrossEntropy.class, own.crossEntropy()),
                observed(AdamW.class, own.adamW()), observed(GradientNorm.class, own.gradientNorm()));
    }

    private <T> T observed(Class<T> component, Object leaf) {
        return component.cast(Proxy.newProxyInstance(component.getClassLoader(), new Class<?>[] {component},
                (proxy, method, arguments) -> {
                    if (isComposed(leaf, method)) {
                        return InvocationHandler.invokeDefault(proxy, method, arguments);
                    }
                    observer.calling(arguments);
                    Mark start = backend.mark();
                    try {
                        return method.invoke(leaf, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    } finally {
                        observer.called(component.getSimpleName(), method.getName(), arguments,
                                new Elapsed(start, backend.mark()));
                    }
                }));
    }

    /** Whether a leaf leaves a method to its interface, which composes it: then its parts are what is observed. */
    private static boolean isComposed(Object leaf, Method method) throws NoSuchMethodException {
        return method.isDefault()
                && leaf.getClass().getMethod(method.getName(), method.getParameterTypes()).isDefault();
    }

    @Override
    public String describe() {
        return backend.describe();
    }

    @Override
    public Precision precision() {
        return backend.precision();
    }

    @Override
    public Memory memory() {
        return backend.memory();
    }

    @Override
    public Leaves leaves() {
        return leaves;
    }

    @Override
    public void zero(Tensor x) {
        Mark start = backend.mark();
        backend.zero(x);
        observer.called("Backend", "zero", new Object[] {x}, new Elapsed(start, backend.mark()));
    }

    @Override
    public void copy(Tensor from, Tensor to) {
        Mark start = backend.mark();
        backend.copy(from, to);
        observer.called("Backend", "copy", new Object[] {from, to}, new Elapsed(start, backend.mark()));
    }

    @Override
    public Tensor readable(Tensor x) {
        return backend.readable(x);
    }

    @Override
    public long logitsAtATime() {
        return backend.logitsAtATime();
    }

    @Override
    public OptionalDouble peakFlops() {
        return backend.peakFlops();
    }

    @Override
    public long capacity() {
        return backend.capacity();
    }

    @Override
    public long deviceBytes() {
        return backend.deviceBytes();
    }

    @Override
    public Mark mark() {
        return backend.mark();
    }

    @Override
    public void commit() {
        backend.commit();
    }

    @Override
    public void close() {
        backend.close();
    }
}
