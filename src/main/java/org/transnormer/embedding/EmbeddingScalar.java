package org.transnormer.embedding;

import org.transnormer.tensor.Tensor;

/** The spec of SPEC section 3.7: any element types, sums in double, one rounding on write. */
public final class EmbeddingScalar implements Embedding {

    @Override
    public void forward(Tensor ids, Tensor table, double scale, Tensor y) {
        EmbeddingArguments.forward(ids, table, y);
        Embedding.checkIds(ids, table.dim(0));
        forwardPart(ids, 0, table, scale, y);
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
        backwardPart(ids, 0, dy, scale, padding, dtable);
    }

    @Override
    public void forwardPart(Tensor ids, long first, Tensor table, double scale, Tensor y) {
        EmbeddingArguments.forward(ids, table, y);
        for (long t = 0; t < ids.dim(0); t++) {
            long i = ids.getInt(t) - first;
            boolean here = i >= 0 && i < table.dim(0);
            for (long j = 0; j < table.dim(1); j++) {
                y.set(t, j, here ? scale * table.get(i, j) : 0);
            }
        }
    }

    @Override
    public void backwardPart(Tensor ids, long first, Tensor dy, double scale, int padding, Tensor dtable) {
        EmbeddingArguments.backward(ids, dy, dtable);
        double[] sum = new double[Math.toIntExact(dtable.dim(1))];
        for (long i = 0; i < dtable.dim(0); i++) {
            for (int j = 0; j < sum.length; j++) {
                sum[j] = dtable.get(i, j);
            }
            for (long t = 0; t < ids.dim(0); t++) {
                if (ids.getInt(t) != padding && ids.getInt(t) - first == i) {
                    for (int j = 0; j < sum.length; j++) {
                        sum[j] += scale * dy.get(t, j);
                    }
                }
            }
            for (int j = 0; j < sum.length; j++) {
                dtable.set(i, j, sum[j]);
            }
        }
    }
}
