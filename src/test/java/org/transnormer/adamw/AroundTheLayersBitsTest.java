package org.transnormer.adamw;

import org.junit.jupiter.api.Test;
import org.transnormer.embedding.Embedding;
import org.transnormer.embedding.EmbeddingVector;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.loss.CrossEntropyVector;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;
import org.transnormer.testing.SameBits;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/**
 * What a training step does around the layers (embedding, loss, gradient norm, AdamW) gives the same bits at any vector
 * width, interpreted or compiled.
 */
class AroundTheLayersBitsTest {
    private static final int TOKENS = 5;
    private static final int VOCABULARY = 1003;
    private static final int WIDTH = 37;

    @Test
    void bitsAreTheSameEverywhere() {
        SameBits.assertEverywhere(AroundTheLayersBitsTest.class, compute());
    }

    public static void main(String[] args) {
        System.out.print(compute());
    }

    private static String compute() {
        StringBuilder lines = new StringBuilder();
        try (Workers workers = new Workers(1); TestTensors tensors = new TestTensors(1)) {
            Tensor ids = tensors.zeros("ids", DType.I32, TOKENS);
            Tensor table = tensors.random("table", DType.F32, Values.NORMAL, 7, WIDTH);
            Tensor narrow = tensors.copy(table, DType.BF16);
            Tensor y = tensors.zeros("y", DType.F32, TOKENS, WIDTH);
            Tensor gradient = tensors.random("gradient", DType.F32, Values.NORMAL, 7, WIDTH);
            for (int t = 0; t < TOKENS; t++) {
                ids.setInt(t, t % 3);
            }
            Embedding embedding = new EmbeddingVector(workers);
            embedding.forward(ids, narrow, Math.sqrt(WIDTH), y);
            embedding.add(ids, narrow, y);
            embedding.add(ids, table, y);
            embedding.backward(ids, y, 0.3, 1, gradient);
            lines.append(SameBits.checksum(y)).append(SameBits.checksum(gradient));

            Tensor logits = tensors.random("dlogits", DType.F32, Values.NORMAL, TOKENS, VOCABULARY + 5);
            Tensor max = tensors.zeros("max", DType.F64, TOKENS);
            Tensor sum = tensors.zeros("sum", DType.F64, TOKENS);
            Tensor target = tensors.zeros("target", DType.F64, TOKENS);
            Tensor scale = tensors.zeros("scale", DType.F64, 1);
            Tensor losses = tensors.zeros("losses", DType.F64, TOKENS);
            scale.set(0, 0.2);
            CrossEntropy loss = new CrossEntropyVector(workers);
            loss.partial(logits, ids, 0, VOCABULARY, max, sum, target);
            loss.apply(logits, ids, 0, VOCABULARY, max, sum, target, scale, losses, logits);
            lines.append(SameBits.checksum(sum)).append(SameBits.checksum(losses)).append(SameBits.checksum(logits));

            Tensor total = tensors.zeros("total", DType.F64, 1);
            new GradientNormVector(workers, new Workspace(tensors.memory())).partial(gradient, total);
            Tensor m = tensors.random("m", DType.F32, Values.NORMAL, 7, WIDTH);
            Tensor v = tensors.random("v", DType.F32, Values.UNIFORM, 7, WIDTH);
            Tensor scalars = tensors.zeros("scalars", DType.F64, 4);
            for (int i = 0; i < 4; i++) {
                scalars.set(i, 0.3);
            }
            for (int i = 0; i < v.size(); i++) {
                v.setFlat(i, Math.abs(v.getFlat(i)));
            }
            new AdamWVector(workers).step(table, narrow, gradient, m, v, new AdamW.Constants(0.9, 0.95, 1e-8, 0.1),
                    true, scalars);
            lines.append(SameBits.checksum(total)).append(SameBits.checksum(table)).append(SameBits.checksum(narrow))
                    .append(SameBits.checksum(m)).append(SameBits.checksum(v));
        }
        return lines.toString();
    }
}
