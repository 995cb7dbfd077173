package org.transnormer.embedding;

import org.transnormer.tensor.Tensor;

/** The spec of SPEC section 3.7: any element types, sums in double, one rounding on write. */
public final class EmbeddingScalar implements Embedding {

    @Override
    public void forward(Tensor ids, Tensor table, double scale, Tensor y) {
        EmbeddingArguments.forward(ids, table, y);
        Embedding.checkIds(ids, table.dim(0));
        for (long t = 0; t < ids.dim(0); t++) {
            for (long j = 0; j < table.dim(1); j++) {
                y.set(t, j, scale * table.get(ids.getInt(t), j));
            }
        }
    }

    @Override
    public void add(Tensor ids, Tensor table, Tensor y) {
        EmbeddingArguments.forward(ids, table, y);
        Embedding.checkIds(ids, table.dim(0));
        for (long t = 0; t < ids.dim(0); t++) {
            for (long j = 0; j < table.dim(1); j++) {
                y.set(t, j, y.get(t, j) + table.get(ids.getInt(t), j));
            }
        }
    }

    @Override
    public void backward(Tensor ids, Tensor dy, double scale, int padding, Tensor dtable) {
        EmbeddingArguments.backward(ids, dy, dtable);
        Embedding.checkIds(ids, dtable.dim(0));
        double[] sum = new double[Math.toIntExact(dtable.dim(0))];
        for (long j = 0; j < dtable.dim(1); j++) {
            for (int i = 0; i < sum.length; i++) {
                sum[i] = dtable.get(i, j);
            }
            for (long t = 0; t < ids.dim(0); t++) {
                int i = ids.getInt(t);
                if (i != padding) {
                    sum[i] += scale * dy.get(t, j);
                }
            }
            for (int i = 0; i < sum.length; i++) {
                dtable.set(i, j, sum[i]);
            }
        }
    }
}
