package org.transnormer.data;

import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.Tensor;

/**
 * Fills batches of one fixed size. A batch is ids and aligned targets, both (tokens()) I32 on the host, and the
 * sequences they fall into: targets_t is what follows ids_t, sequences never cross from one document into another, and
 * together they cover all tokens. Where there is not text enough, padding ids with ignored targets follow, as a
 * sequence of their own. SPEC section 6.4.
 */
public interface BatchSource {

    /** Tokens of a batch, padding included. */
    long tokens();

    /** Most sequences a batch can have. */
    int maxSequences();

    /** State slots that the sequences refer to, 0 to slots() - 1; 0 if each of them starts and ends in its batch. */
    int slots();

    /**
     * Fills the next batch, overwriting everything given.
     *
     * @return number of targets that count; 0 if there are no more batches, and then the sequences are empty
     */
    long next(Tensor ids, Tensor targets, Sequences sequences);
}
