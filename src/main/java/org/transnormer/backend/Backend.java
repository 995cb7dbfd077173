package org.transnormer.backend;

import java.util.List;
import java.util.OptionalDouble;
import java.util.function.Supplier;
import org.transnormer.activation.Activation;
import org.transnormer.adamw.AdamW;
import org.transnormer.adamw.GradientNorm;
import org.transnormer.embedding.Embedding;
import org.transnormer.lightning.FeatureAttention;
import org.transnormer.lightning.LightningAttention;
import org.transnormer.linear.Linear;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.lrpe.Lrpe;
import org.transnormer.product.Product;
import org.transnormer.srmsnorm.Norm;
import org.transnormer.srmsnorm.NormType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.Tensor;

/**
 * Memory and one instance of every leaf component. Model, trainer and parallel schemes are written once, against this
 * interface. Component calls only enqueue work; the host reads results at named points (loss, token). SPEC section 1.
 */
public sealed interface Backend extends AutoCloseable
        permits CudaBackend, HostBackend, ObservedBackend, PlanBackend {

    /** What runs, for people: backend, precision, threads, vector width. */
    String describe();

    Precision precision();

    Memory memory();

    /** The twins that compute. */
    Leaves leaves();

    default Norm norm(NormType type) {
        return leaves().norm(type);
    }

    default Lrpe lrpe() {
        return leaves().lrpe();
    }

    default LightningAttention lightning() {
        return leaves().lightning();
    }

    default FeatureAttention attention() {
        return leaves().attention();
    }

    default Linear linear() {
        return leaves().linear();
    }

    default Activation activation() {
        return leaves().activation();
    }

    default Product product() {
        return leaves().product();
    }

    default Embedding embedding() {
        return leaves().embedding();
    }

    default CrossEntropy crossEntropy() {
        return leaves().crossEntropy();
    }

    default AdamW adamW() {
        return leaves().adamW();
    }

    default GradientNorm gradientNorm() {
        return leaves().gradientNorm();
    }

    /** Sets every element of a contiguous tensor to zero. */
    void zero(Tensor x);

    /** Copies a contiguous tensor into another of the same size, rounding each element once where it is narrower. */
    void copy(Tensor from, Tensor to);

    /**
     * A tensor that the host can read now: {@code x} itself, or a copy of it once it is computed, valid until the next
     * call.
     */
    Tensor readable(Tensor x);

    /**
     * Prepares work that will be done again and again on the same tensors with other values in them. It was done once
     * before, so that nothing in it allocates.
     *
     * @param inputs what the host fills each time before, without gaps
     * @param work calls of this backend's components that read nothing on the host
     * @param output what the host reads each time after, without gaps
     * @return does the work, and gives the output as the host reads it, valid until the next time
     */
    default Supplier<Tensor> record(List<Tensor> inputs, Runnable work, Tensor output) {
        return () -> {
            inputs.forEach(Tensor::upload);
            work.run();
            return readable(output);
        };
    }

    /** Logits that exist at a time, in elements: few where caches are to hold them, many where products should be large. */
    long logitsAtATime();

    /** Operations per second that the data sheet promises for this precision; empty where none is known. */
    OptionalDouble peakFlops();

    /** Bytes of memory that there are for a plan: all of the machine's, or those that are free on a device. */
    long capacity();

    /** Bytes of a device's memory that are taken, more than the plan counts; 0 where there is no device. */
    long deviceBytes();

    /** A point in the work that is enqueued now, to take the time of what lies between two. */
    Mark mark();

    /**
     * Takes the scratch memory that the compositions built on this backend have announced, so that no later call
     * allocates. Called once, when everything is constructed.
     */
    void commit();

    /** Stops threads and frees the memory. Idempotent. */
    @Override
    void close();
}
