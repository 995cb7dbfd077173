package org.transnormer.model;

import org.transnormer.backend.Backend;
import org.transnormer.embedding.Embedding;
import org.transnormer.lightning.Sequences;
import org.transnormer.parallel.RowSums;
import org.transnormer.tensor.Tensor;

/**
 * What the first layer reads: x = c · E[ids], and + P[positions] where positions are absolute. SPEC sections 2.1, 7.2.
 *
 * <p>Under tensor parallelism a rank has some rows of E: it adds the tokens whose rows these are, and takes their
 * gradients; all have the whole of P.
 */
final class InputEmbedding {
    private final Backend backend;
    private final RowSums sums;
    private final ModelConfig config;
    private final Parameter table;
    private final Parameter positions;
    private final long first;

    /** @param trainedTokens most tokens of a backward; 0 outside training */
    InputEmbedding(Backend backend, RowSums sums, ModelConfig config, Weights weights,
            long trainedTokens) {
        this.backend = backend;
        this.sums = sums;
        this.config = config;
        this.table = weights.embedding();
        this.positions = weights.positions();
        this.first = weights.shards().firstToken();
        if (trainedTokens > 0) {
            reserve(trainedTokens, table);
            if (positions != null) {
                reserve(trainedTokens, positions);
            }
        }
    }

    private void reserve(long tokens, Parameter rows) {
        backend.embedding().reserve(tokens, rows.value().dim(0), rows.value().dim(1));
    }

    /** @param x (T, d) */
    void forward(Batch batch, Tensor x) {
        if (sums.areWhole()) {
            backend.embedding().forward(batch.ids(), table.value(), config.embeddingScale(), x);
        } else {
            Tensor ids = batch.ids();
            sums.write(x, (from, to, _) -> backend.embedding().forwardPart(RowSums.part(ids, from, to), first,
                    table.value(), config.embeddingScale(), RowSums.part(x, from, to)));
        }
        if (positions != null) {
            sums.await();
            checkPositions(batch.sequences());
            backend.embedding().add(batch.sequences().positions(), positions.value(), x);
        }
    }

    /** @param dx gradient of x, (T, d) */
    void backward(Batch batch, Tensor dx) {
        if (sums.areWhole()) {
            backend.embedding().backward(batch.ids(), dx, config.embeddingScale(), config.padding(), table.gradient());
        } else {
            backend.embedding().backwardPart(batch.ids(), first, dx, config.embeddingScale(), config.padding(),
                    table.gradient());
        }
        if (positions != null) {
            backend.embedding().backward(batch.sequences().positions(), dx, 1, Embedding.NO_PADDING,
                    positions.gradient());
        }
    }

    /** Only the table of absolute positions ends. */
    private void checkPositions(Sequences sequences) {
        for (int i = 0; i < sequences.count(); i++) {
            config.checkSequence(sequences.start(i) + sequences.length(i));
        }
    }
}
