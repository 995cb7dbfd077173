package org.transnormer.testing;

/** Distributions that contracts draw tensors from; a report names one, so a failing case is one line. */
public enum Values {
    NORMAL,
    UNIFORM,
    /** Normal around 100: cancellation. */
    OFFSET,
    /** Scale 1e6. */
    LARGE,
    /** Scale 1e-6. */
    TINY,
    /** One entry in eight is not zero. */
    SPARSE,
    CONSTANT
}
