package org.transnormer.embedding;

import java.util.Arrays;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/** What every twin checks at its entry: all but the contents of ids. */
final class EmbeddingArguments {
    private EmbeddingArguments() {
    }

    static void forward(Tensor ids, Tensor table, Tensor y) {
        shapes(ids, "table", table, "y", y);
    }

    static void backward(Tensor ids, Tensor dy, Tensor dtable) {
        shapes(ids, "dtable", dtable, "dy", dy);
    }

    static void type(String role, Tensor t, DType... allowed) {
        if (!Arrays.asList(allowed).contains(t.dtype())) {
            throw new IllegalArgumentException("embedding: %s is %s, want %s".formatted(role, t,
                    Arrays.toString(allowed)));
        }
    }

    private static void shapes(Tensor ids, String tableRole, Tensor table, String rowsRole, Tensor rows) {
        type("ids", ids, DType.I32);
        if (ids.rank() != 1) {
            throw new IllegalArgumentException("embedding: ids is %s, want one dimension".formatted(ids));
        }
        if (table.rank() != 2) {
            throw new IllegalArgumentException("embedding: %s is %s, want a matrix".formatted(tableRole, table));
        }
        if (rows.rank() != 2 || rows.dim(0) != ids.dim(0) || rows.dim(1) != table.dim(1)) {
            throw new IllegalArgumentException("embedding: %s is %s, want [%d, %d]"
                    .formatted(rowsRole, rows, ids.dim(0), table.dim(1)));
        }
    }
}
