package org.transnormer.backend;

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

/** One twin of every leaf component: what a backend consists of beside its memory. SPEC section 1. */
public record Leaves(Norm srmsNorm, Norm rmsNorm, Norm layerNorm, Lrpe lrpe, LightningAttention lightning,
        FeatureAttention attention, Linear linear, Activation activation, Product product, Embedding embedding,
        CrossEntropy crossEntropy, AdamW adamW, GradientNorm gradientNorm) {

    /** The norm of a type. */
    public Norm norm(NormType type) {
        return switch (type) {
            case SRMSNORM -> srmsNorm;
            case RMSNORM -> rmsNorm;
            case LAYERNORM -> layerNorm;
        };
    }
}
